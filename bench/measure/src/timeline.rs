//! Latencies by the time at which they were seen: what a single histogram hides is when.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::buckets::Buckets;
use crate::latencies::Latencies;

/// Intervals that are still held as dense histograms; answers that come later than this many intervals are added slowly.
const OPEN: usize = 4;

/// A histogram for each interval since a start, and one of them all.
///
/// A dense histogram takes a quarter of a megabyte, so only the newest intervals have one; those behind are kept as the buckets
/// that hold something, in two or three bytes each.
#[derive(Clone, Debug)]
pub struct Timeline {
    interval: Duration,
    total: Latencies,
    /// From the start on.
    closed: Vec<Buckets>,
    /// Those that follow.
    open: VecDeque<Latencies>,
}

impl Timeline {
    /// Without latencies yet; by the second.
    pub fn new() -> Timeline {
        Timeline::by(Duration::from_secs(1))
    }

    /// By another interval.
    ///
    /// # Panics
    ///
    /// When the interval is zero.
    pub fn by(interval: Duration) -> Timeline {
        assert!(!interval.is_zero(), "an interval has a length");
        Timeline { interval, total: Latencies::new(), closed: Vec::new(), open: VecDeque::new() }
    }

    /// One more. In an open loop the time is that of the intended start, and latency counts from there.
    pub fn record_at(&mut self, since_start: Duration, latency: Duration) {
        self.total.record(latency);
        let index = self.index_of(since_start);
        while self.closed.len() + self.open.len() <= index {
            self.extend();
        }
        match index.checked_sub(self.closed.len()) {
            Some(open) => self.open[open].record(latency),
            None => {
                let nanos = self.total.histogram().highest_equivalent(Latencies::nanos(latency));
                self.closed[index].merge([(nanos, 1)]);
            }
        }
    }

    /// Takes in what another one has seen since the same start.
    ///
    /// # Panics
    ///
    /// When the other has another interval.
    pub fn merge(&mut self, other: &Timeline) {
        assert_eq!(self.interval, other.interval, "only the same intervals can be added");
        self.total.merge(&other.total);
        while self.len() < other.len() {
            self.extend();
        }
        for index in 0..other.len() {
            let counts = other.counts(index);
            match index.checked_sub(self.closed.len()) {
                Some(open) => counts.into_iter().for_each(|(nanos, count)| {
                    self.open[open].record_many(Duration::from_nanos(nanos), count)
                }),
                None => self.closed[index].merge(counts),
            }
        }
    }

    /// Length of an interval.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// How many intervals there are, up to the last that has seen something.
    pub fn len(&self) -> usize {
        self.closed.len() + self.open.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything together.
    pub fn total(&self) -> &Latencies {
        &self.total
    }

    /// Interval by interval from the start; those without a latency are there too.
    pub fn intervals(&self) -> impl Iterator<Item = Latencies> + '_ {
        (0..self.len()).map(|index| {
            let mut latencies = Latencies::new();
            for (nanos, count) in self.counts(index) {
                latencies.record_many(Duration::from_nanos(nanos), count);
            }
            latencies
        })
    }

    /// What one interval has seen: nanoseconds and how often, in order. Nothing for intervals that are not there.
    pub fn counts(&self, index: usize) -> Vec<(u64, u64)> {
        match index.checked_sub(self.closed.len()) {
            None => self.closed[index].iter().collect(),
            Some(open) => self.open.get(open).map_or_else(Vec::new, |open| counts_of(open).collect()),
        }
    }

    fn index_of(&self, since_start: Duration) -> usize {
        (since_start.as_nanos() / self.interval.as_nanos()) as usize
    }

    /// One interval more at the end; the oldest dense one becomes sparse.
    fn extend(&mut self) {
        if self.open.len() < OPEN {
            return self.open.push_back(Latencies::new());
        }
        let mut oldest = self.open.pop_front().expect("there are some");
        self.closed.push(Buckets::of(counts_of(&oldest)));
        oldest.clear();
        self.open.push_back(oldest);
    }
}

/// Nanoseconds and how often, in order of nanoseconds.
fn counts_of(latencies: &Latencies) -> impl Iterator<Item = (u64, u64)> + '_ {
    let recorded = latencies.histogram().iter_recorded();
    recorded.map(|bucket| (bucket.value_iterated_to(), bucket.count_since_last_iteration()))
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline::new()
    }
}

impl PartialEq for Timeline {
    fn eq(&self, other: &Timeline) -> bool {
        self.interval == other.interval
            && self.len() == other.len()
            && (0..self.len()).all(|index| self.counts(index) == other.counts(index))
    }
}

#[derive(Serialize)]
struct Written<'t> {
    interval_seconds: f64,
    intervals: Intervals<'t>,
}

/// One dense histogram at a time: those of a day would take gigabytes.
struct Intervals<'t>(&'t Timeline);

impl Serialize for Intervals<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.intervals())
    }
}

impl Serialize for Timeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { interval_seconds: self.interval.as_secs_f64(), intervals: Intervals(self) }
            .serialize(serializer)
    }
}

#[derive(Deserialize)]
struct Read {
    interval_seconds: f64,
    intervals: ReadIntervals,
}

/// What was read, dense only while it is read.
#[derive(Default)]
struct ReadIntervals {
    total: Latencies,
    closed: Vec<Buckets>,
}

impl<'de> Deserialize<'de> for ReadIntervals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ReadIntervals, D::Error> {
        struct OneByOne;

        impl<'de> Visitor<'de> for OneByOne {
            type Value = ReadIntervals;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of histograms")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ReadIntervals, A::Error> {
                let mut read = ReadIntervals::default();
                while let Some(latencies) = list.next_element::<Latencies>()? {
                    read.total.merge(&latencies);
                    read.closed.push(Buckets::of(counts_of(&latencies)));
                }
                Ok(read)
            }
        }

        deserializer.deserialize_seq(OneByOne)
    }
}

impl<'de> Deserialize<'de> for Timeline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timeline, D::Error> {
        let Read { interval_seconds, intervals } = Read::deserialize(deserializer)?;
        let interval = Duration::try_from_secs_f64(interval_seconds)
            .ok()
            .filter(|interval| !interval.is_zero())
            .ok_or_else(|| serde::de::Error::custom("interval_seconds is no length"))?;
        let ReadIntervals { total, closed } = intervals;
        Ok(Timeline { total, closed, ..Timeline::by(interval) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn every_latency_is_in_its_second() {
        let mut timeline = Timeline::new();
        timeline.record_at(at(0.2), MILLI);
        timeline.record_at(at(0.9), 2 * MILLI);
        timeline.record_at(at(3.0), 5 * MILLI);
        let counts: Vec<u64> = timeline.intervals().map(|second| second.count()).collect();
        assert_eq!(counts, [2, 0, 0, 1]);
        assert_eq!(timeline.total().count(), 3);
    }

    #[test]
    fn one_that_comes_late_is_still_in_its_second() {
        let mut timeline = Timeline::new();
        timeline.record_at(at(0.0), MILLI);
        timeline.record_at(at(20.0), MILLI);
        timeline.record_at(at(0.5), MILLI);
        timeline.record_at(at(0.6), 7 * MILLI);
        let first = timeline.intervals().next().expect("a first second");
        assert_eq!(first.count(), 3);
        assert_eq!(timeline.counts(0).len(), 2, "equal latencies share a bucket, sparse or dense");
        let sum: u64 = timeline.intervals().map(|second| second.count()).sum();
        assert_eq!(sum, timeline.total().count());
    }

    #[test]
    fn threads_add_up() {
        let (mut whole, mut one, mut two) = (Timeline::new(), Timeline::new(), Timeline::new());
        for number in 0..1000_u32 {
            let (when, latency) = (at(f64::from(number) / 50.0), MILLI * (number % 13 + 1));
            whole.record_at(when, latency);
            if number % 3 == 0 { &mut one } else { &mut two }.record_at(when, latency);
        }
        one.merge(&two);
        assert_eq!(one, whole);
        assert_eq!(one.total(), whole.total());
    }

    #[test]
    fn json_and_back() {
        let mut timeline = Timeline::by(Duration::from_millis(500));
        for number in 0..20 {
            timeline.record_at(at(f64::from(number)), MILLI * (number as u32 + 1));
        }
        let text = serde_json::to_string(&timeline).unwrap();
        let back: Timeline = serde_json::from_str(&text).unwrap();
        assert_eq!(back, timeline);
        assert_eq!(back.total(), timeline.total());
        let broken = text.replace("\"interval_seconds\":0.5", "\"interval_seconds\":-1");
        assert!(serde_json::from_str::<Timeline>(&broken).is_err());
    }

    /// Bytes of memory that this process has held at most.
    fn most_memory() -> u64 {
        crate::machine::status_bytes("self", "VmHWM").unwrap()
    }

    #[test]
    fn json_of_a_long_run_takes_the_memory_of_an_interval() {
        let mut timeline = Timeline::new();
        (0..500).for_each(|second| timeline.record_at(at(f64::from(second)), MILLI));
        let before = most_memory();
        let text = serde_json::to_string(&timeline).unwrap();
        let back: Timeline = serde_json::from_str(&text).unwrap();
        // Five hundred dense histograms are more than a hundred megabytes.
        let grown = most_memory() - before;
        assert!(grown < 40 << 20, "{} MiB", grown >> 20);
        assert_eq!(back, timeline);
    }
}
