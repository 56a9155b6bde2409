//! HdrHistogram's interval log, which its plotters and `HistogramLogProcessor` read: a histogram a line, in the order of time.
//!
//! ```text
//! #[Histogram log format version 1.3]
//! #[StartTime: 1780000000.250 (seconds since epoch), 2026-05-28T20:26:40Z]
//! "StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"
//! Tag=wal,0.000,1.000,12.345,HISTFAAAA...
//! ```
//!
//! Timestamps count from the start, in seconds. Histograms hold nanoseconds; `Interval_Max` is in milliseconds, as Java's
//! `HistogramLogWriter` has it, and of no meaning to readers. A tag separates what was measured at the same time.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use crate::latencies::Latencies;
use crate::timeline::Timeline;

const NANOS_PER_MILLI: f64 = 1e6;

/// Writes timelines that share a start, each under its tag. Characters that would end a tag (commas, blanks, line ends) become
/// underscores. Intervals without a latency are left out, as HdrHistogram's own recorders do for pauses.
pub fn write(out: &mut impl Write, start: SystemTime, timelines: &[(&str, &Timeline)]) -> io::Result<()> {
    let tracks: Vec<_> = timelines.iter().map(|(tag, timeline)| (*tag, Duration::ZERO, *timeline)).collect();
    write_from(out, start, &tracks)
}

/// The same for timelines of which each begins some time after the start.
pub fn write_from(
    out: &mut impl Write,
    start: SystemTime,
    tracks: &[(&str, Duration, &Timeline)],
) -> io::Result<()> {
    let since_epoch = start.duration_since(UNIX_EPOCH).unwrap_or_default();
    writeln!(out, "#[Histogram log format version 1.3]")?;
    writeln!(out, "#[StartTime: {:.3} (seconds since epoch)]", since_epoch.as_secs_f64())?;
    writeln!(
        out,
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
    )?;

    let mut lines = Vec::new();
    for (tag, from, timeline) in tracks {
        let tag: String = tag.chars().map(|c| if c == ',' || c.is_whitespace() { '_' } else { c }).collect();
        let interval = timeline.interval().as_secs_f64();
        for (number, latencies) in timeline.intervals().enumerate().filter(|(_, one)| one.count() > 0) {
            let begin = from.as_secs_f64() + number as f64 * interval;
            let max = latencies.longest().as_nanos() as f64 / NANOS_PER_MILLI;
            let line = format!("Tag={tag},{begin:.3},{interval:.3},{max:.3},{}", latencies.to_hdr());
            lines.push((begin, line));
        }
    }
    // Readers expect time to go forwards over all tags.
    lines.sort_by(|one, other| one.0.total_cmp(&other.0));
    for (_, line) in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// What was measured; empty without one.
    pub tag: String,
    /// Since the log's start.
    pub begin: Duration,
    /// How long it lasts.
    pub length: Duration,
    /// What it has seen.
    pub latencies: Latencies,
}

/// Reads a log, ours or another implementation's, of nanoseconds. A message in words when it is none.
pub fn read(log: &[u8]) -> Result<Vec<Interval>, String> {
    // The legend is no comment: readers skip it by its quotation mark.
    let text = std::str::from_utf8(log).map_err(|error| error.to_string())?;
    let body: String =
        text.lines().filter(|line| !line.starts_with('"')).map(|line| format!("{line}\n")).collect();
    let mut intervals = Vec::new();
    for entry in IntervalLogIterator::new(body.as_bytes()) {
        let entry = entry.map_err(|error| format!("{error:?}"))?;
        if let LogEntry::Interval(found) = entry {
            intervals.push(Interval {
                tag: found.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default(),
                begin: found.start_timestamp(),
                length: found.duration(),
                latencies: Latencies::from_hdr(found.encoded_histogram())?,
            });
        }
    }
    Ok(intervals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(of: u64) -> Timeline {
        let mut timeline = Timeline::new();
        for number in 0..2500 {
            let latency = Duration::from_micros(of + number % 97);
            // The third second is a pause.
            let second = if number < 2000 { number / 1000 } else { 3 };
            timeline.record_at(Duration::from_secs(second), latency);
        }
        timeline
    }

    fn written(timelines: &[(&str, &Timeline)]) -> String {
        let mut log = Vec::new();
        write(&mut log, UNIX_EPOCH + Duration::from_millis(1_780_000_000_250), timelines).unwrap();
        String::from_utf8(log).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let (fast, slow) = (timeline(100), timeline(9_000));
        let log = written(&[("fast", &fast), ("slow, with blanks", &slow)]);
        let read = read(log.as_bytes()).unwrap();
        let shape: Vec<(&str, u64)> = read.iter().map(|one| (&*one.tag, one.begin.as_secs())).collect();
        let slow_tag = "slow__with_blanks";
        let expected = [("fast", 0), (slow_tag, 0), ("fast", 1), (slow_tag, 1), ("fast", 3), (slow_tag, 3)];
        assert_eq!(shape, expected, "by time, then by tag; the pause is no line");
        assert_eq!(read[0].latencies, fast.intervals().next().unwrap());
        assert_eq!(read[5].latencies, slow.intervals().nth(3).unwrap());
        assert!(read.iter().all(|one| one.length == Duration::from_secs(1)));
    }

    #[test]
    fn the_head_is_what_other_readers_expect() {
        let log = written(&[("wal", &timeline(100))]);
        let head: Vec<&str> = log.lines().take(3).collect();
        let expected = [
            "#[Histogram log format version 1.3]",
            "#[StartTime: 1780000000.250 (seconds since epoch)]",
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"",
        ];
        assert_eq!(head, expected);
        let first = log.lines().nth(3).unwrap();
        assert!(first.starts_with("Tag=wal,0.000,1.000,0.19"), "{first}");
        // The compressed V2 encoding in base64 begins with its cookie.
        assert!(first.rsplit(',').next().unwrap().starts_with("HISTF"), "{first}");
    }

    #[test]
    fn a_timeline_may_begin_later() {
        let mut log = Vec::new();
        write_from(&mut log, UNIX_EPOCH, &[("late", Duration::from_millis(40_500), &timeline(100))]).unwrap();
        assert_eq!(read(&log).unwrap()[1].begin, Duration::from_millis(41_500));
    }

    #[test]
    fn damage_is_a_message() {
        let log = written(&[("wal", &timeline(100))]);
        assert!(read(log.replace("HISTF", "HISTX").as_bytes()).is_err());
        let torn = &log.as_bytes()[..log.len() - 20];
        assert!(read(torn).is_err());
    }
}
