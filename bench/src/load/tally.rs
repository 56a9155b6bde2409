//! What came of the requests.

use std::collections::BTreeMap;
use std::time::Duration;

use measure::{Latencies, Timeline};

use super::live::Live;

/// Failures are counted by their words, but a server may find ever new ones.
const MOST_WORDS: usize = 50;
const OTHERS: &str = "other failures";
/// What reads are counted by that were answered rightly with nothing.
pub(crate) const FOUND_NOTHING: &str =
    "of the reads found no key: --fill puts the key space before it is read";

/// Successes by kind and failures by their words.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    kinds: Vec<(&'static str, Timeline)>,
    /// What is told of and was not shown yet.
    recent: Latencies,
    failures: BTreeMap<String, u64>,
    /// Of the failures, answers that came and are wrong.
    pub(crate) wrong: u64,
    /// Connections that did not last until the end.
    pub(crate) lost_connections: u64,
    /// From the beginning of what counts until the last answer.
    pub(crate) lasted: Duration,
    /// The only one of the kinds that throughput and latency are told of, if so.
    pub(crate) headline: Option<usize>,
    /// Kinds that throughput and latency are not told of: parts of others, or what comes of others.
    pub(crate) aside: &'static [usize],
    /// How long those kinds took that came before counting began.
    before: BTreeMap<&'static str, Duration>,
    /// What only this load counts, by name.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// What streams brought.
    pub(crate) streamed: Option<Streamed>,
}

/// Bytes that came on streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Streamed {
    pub(crate) bytes: u64,
    /// From when the first was asked for to the last byte of all.
    pub(crate) lasted: Duration,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new(kinds: &[&'static str]) -> Tally {
        Tally {
            kinds: kinds.iter().map(|name| (*name, Timeline::new())).collect(),
            recent: Latencies::new(),
            failures: BTreeMap::new(),
            wrong: 0,
            lost_connections: 0,
            lasted: Duration::ZERO,
            headline: None,
            aside: &[],
            before: BTreeMap::new(),
            counts: BTreeMap::new(),
            streamed: None,
        }
    }

    /// One that was answered as it should be. Times are since the beginning of what counts.
    pub(crate) fn success(&mut self, kind: usize, started: Duration, answered: Duration) {
        let latency = answered.saturating_sub(started);
        self.kinds[kind].1.record_at(started, latency);
        if self.headline.is_none_or(|headline| headline == kind) && !self.aside.contains(&kind) {
            self.recent.record(latency);
        }
        self.lasted = self.lasted.max(answered);
    }

    /// Leaves what came since the last time to be shown.
    pub(super) fn show(&mut self, live: &Live) {
        live.leave(&mut self.recent);
    }

    /// One of a kind that comes before counting begins; `since` is from the first of its kind to this one's beginning.
    pub(crate) fn before(&mut self, kind: usize, since: Duration, latency: Duration) {
        let (name, timeline) = &mut self.kinds[kind];
        timeline.record_at(since, latency);
        let lasted = self.before.entry(*name).or_default();
        *lasted = (*lasted).max(since + latency);
    }

    /// How long a kind took, if it came before counting began.
    pub(crate) fn lasted_before(&self, kind: &str) -> Option<Duration> {
        self.before.get(kind).copied()
    }

    /// One that was not.
    pub(crate) fn failure(&mut self, words: &str, answered: Duration) {
        self.failures_of(words, 1);
        self.lasted = self.lasted.max(answered);
    }

    /// Some that had the same fate.
    pub(crate) fn failures_of(&mut self, words: &str, count: u64) {
        if let Some(known) = self.failures.get_mut(words) {
            *known += count;
        } else {
            let words = if self.failures.len() < MOST_WORDS { words } else { OTHERS };
            *self.failures.entry(words.to_owned()).or_default() += count;
        }
    }

    /// Takes in another thread's, which began at the same moment.
    pub(crate) fn merge(&mut self, other: &Tally) {
        for ((_, mine), (_, theirs)) in self.kinds.iter_mut().zip(&other.kinds) {
            mine.merge(theirs);
        }
        for (words, count) in &other.failures {
            self.failures_of(words, *count);
        }
        self.wrong += other.wrong;
        self.lost_connections += other.lost_connections;
        self.lasted = self.lasted.max(other.lasted);
        self.headline = self.headline.or(other.headline);
        if self.aside.is_empty() {
            self.aside = other.aside;
        }
        for (kind, lasted) in &other.before {
            let mine = self.before.entry(*kind).or_default();
            *mine = (*mine).max(*lasted);
        }
        for (what, count) in &other.counts {
            self.count(what, *count);
        }
        if let Some(theirs) = other.streamed {
            let mine = self.streamed.get_or_insert_default();
            mine.bytes += theirs.bytes;
            mine.lasted = mine.lasted.max(theirs.lasted);
        }
    }

    /// Counts what only this load has.
    pub(crate) fn count(&mut self, what: &'static str, more: u64) {
        *self.counts.entry(what).or_default() += more;
    }

    /// The kinds that throughput and latency are told of.
    fn told(&self) -> impl Iterator<Item = &Timeline> {
        let all = self.kinds.iter().enumerate();
        let told = |at: &usize| self.headline.is_none_or(|one| one == *at) && !self.aside.contains(at);
        all.filter(move |(at, _)| told(at)).map(|(_, (_, timeline))| timeline)
    }

    /// Names and latencies of the kinds.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&'static str, &Timeline)> {
        self.kinds.iter().map(|(name, timeline)| (*name, timeline))
    }

    /// Words and how often.
    pub(crate) fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    /// How many succeeded, of the kinds that are told of.
    pub(crate) fn successes(&self) -> u64 {
        self.told().map(|timeline| timeline.total().count()).sum()
    }

    /// How many did not.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// All kinds together, or the one that is told of.
    pub(crate) fn latencies(&self) -> Latencies {
        let mut all = Latencies::new();
        self.told().for_each(|timeline| all.merge(timeline.total()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_and_words_are_bounded() {
        let mut tally = Tally::new(&["a", "b"]);
        let ms = Duration::from_millis;
        tally.success(0, ms(10), ms(15));
        tally.success(1, ms(10), ms(1500));
        for number in 0..100 {
            tally.failure(&format!("failure {number}"), ms(20));
            tally.failure("failure 0", ms(20));
        }
        let mut whole = Tally::new(&["a", "b"]);
        whole.merge(&tally);
        whole.merge(&tally);
        assert_eq!((whole.successes(), whole.failed(), whole.lasted), (4, 400, ms(1500)));
        assert_eq!(whole.failures()["failure 0"], 202);
        assert_eq!(whole.failures().len(), MOST_WORDS + 1);
        assert_eq!(whole.failures()[OTHERS], 100);
        assert_eq!(whole.latencies().count(), 4);
    }
}
