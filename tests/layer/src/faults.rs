//! The settings, and how they are written: the same on the command line, in the control file and in reports.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};

/// What is wrong with the storage. The default is nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// Added to each operation that must reach the device.
    pub latency: Duration,
    /// Added to each sync and each durable write, on top of `latency`.
    pub sync_latency: Duration,
    /// Added to each read.
    pub read_latency: Duration,
    /// Up to this much more for each of them, evenly distributed.
    pub jitter: Duration,
    /// Syncs and durable writes a second.
    pub sync_rate: Option<f64>,
    /// Syncs and durable writes a second while there is credit. Without it, credit is spent at any speed.
    pub sync_peak: Option<f64>,
    /// Bytes a second that reach the device.
    pub byte_rate: Option<f64>,
    /// Bytes a second while there is credit.
    pub byte_peak: Option<f64>,
    /// With a peak: how long full credit lasts at the peak. Without: that many seconds' worth of the rate.
    pub burst: Duration,
    /// Nothing is written or synced for `length`, each `every`, the first time after `every` minus `length`.
    pub stall: Option<Stall>,
    /// Somebody else syncs on the same device, and syncs are served one after the other.
    pub neighbor: Option<Neighbor>,
    /// How many of the syncs are acknowledged at once and not done, from 0 to 1.
    pub drop_syncs: f64,
    /// Whether honored syncs also sync the backing directory's files. Without it the layer's cost is the planted one only.
    pub backing_sync: bool,
    /// Decides jitter, the neighbor's arrivals and which syncs are dropped.
    pub seed: u64,
}

/// A stall that repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stall {
    /// How long nothing moves.
    pub length: Duration,
    /// From the begin of one to the begin of the next.
    pub every: Duration,
}

/// Somebody else's syncs, which arrive independently of each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// Syncs a second on average.
    pub rate: f64,
    /// How long the device is busy with each.
    pub service: Duration,
}

/// Each setting with an example and what it does: for help texts.
pub const SETTINGS: &[(&str, &str, &str)] = &[
    ("latency", "2ms", "added to each operation that must reach the device"),
    ("sync-latency", "1ms", "added to each sync and durable write, on top of latency"),
    ("read-latency", "200us", "added to each read"),
    ("jitter", "500us", "up to this much more, evenly distributed"),
    ("sync-rate", "100/s", "at most that many syncs and durable writes"),
    ("sync-peak", "500/s", "that many while there is credit"),
    ("byte-rate", "20MiB/s", "at most that many bytes reach the device"),
    ("byte-peak", "100MiB/s", "that many while there is credit"),
    (
        "burst",
        "30s",
        "how long full credit lasts at the peak, or without a peak that many seconds' worth of the rate",
    ),
    ("stall", "1s/10s", "nothing moves for 1 s of each 10 s, beginning 9 s from now"),
    ("neighbor", "200/s:3ms", "somebody else's syncs are in the queue, each taking 3 ms"),
    ("drop-syncs", "1", "the share of syncs that are acknowledged and not done: 0 to 1"),
    ("backing-sync", "no", "whether honored syncs sync the backing files too"),
    ("seed", "1", "decides jitter, the neighbor and which syncs are dropped"),
];

impl Default for Faults {
    fn default() -> Self {
        Faults {
            latency: Duration::ZERO,
            sync_latency: Duration::ZERO,
            read_latency: Duration::ZERO,
            jitter: Duration::ZERO,
            sync_rate: None,
            sync_peak: None,
            byte_rate: None,
            byte_peak: None,
            burst: Duration::ZERO,
            stall: None,
            neighbor: None,
            drop_syncs: 0.0,
            backing_sync: true,
            seed: 1,
        }
    }
}

impl Faults {
    /// Changes one setting; `none` takes a limit, stall or neighbor away.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let wrong = |why: &str| Error::Setting(format!("{name} {value}: {why}"));
        let time = || duration(value).ok_or_else(|| wrong("is not a duration like 2ms"));
        let limit = || match value {
            "none" => Ok(None),
            _ => rate(value).map(Some).ok_or_else(|| wrong("is not a rate like 100/s or 20MiB/s")),
        };
        let mut next = self.clone();
        match name {
            "latency" => next.latency = time()?,
            "sync-latency" => next.sync_latency = time()?,
            "read-latency" => next.read_latency = time()?,
            "jitter" => next.jitter = time()?,
            "sync-rate" => next.sync_rate = limit()?,
            "sync-peak" => next.sync_peak = limit()?,
            "byte-rate" => next.byte_rate = limit()?,
            "byte-peak" => next.byte_peak = limit()?,
            "burst" => next.burst = time()?,
            "stall" if value == "none" => next.stall = None,
            "stall" => {
                let parts = value.split_once('/').and_then(|(a, b)| Some((duration(a)?, duration(b)?)));
                let (length, every) = parts.ok_or_else(|| wrong("is not a stall like 1s/10s"))?;
                if length.is_zero() || length >= every {
                    return Err(wrong("a stall is shorter than what it repeats after"));
                }
                next.stall = Some(Stall { length, every });
            }
            "neighbor" if value == "none" => next.neighbor = None,
            "neighbor" => {
                let parts = value.split_once(':').and_then(|(a, b)| Some((rate(a)?, duration(b)?)));
                let (rate, service) = parts.ok_or_else(|| wrong("is not a neighbor like 200/s:3ms"))?;
                if rate * service.as_secs_f64() > 0.95 {
                    return Err(wrong("keeps the device busy for more than 95 % of the time"));
                }
                next.neighbor = Some(Neighbor { rate, service });
            }
            "drop-syncs" => {
                let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                next.drop_syncs = share.ok_or_else(|| wrong("is not a share from 0 to 1"))?;
            }
            "backing-sync" => {
                next.backing_sync = match value {
                    "yes" => true,
                    "no" => false,
                    _ => return Err(wrong("is neither yes nor no")),
                }
            }
            "seed" => next.seed = value.parse().map_err(|_| wrong("is not a number"))?,
            _ => return Err(Error::Setting(format!("{name} is not a setting"))),
        }
        *self = next;
        Ok(())
    }
}

impl fmt::Display for Faults {
    /// Lines that [`Faults::set`] takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = |rate: Option<f64>| rate.map_or("none".to_owned(), |rate| format!("{rate}/s"));
        writeln!(f, "latency {:?}", self.latency)?;
        writeln!(f, "sync-latency {:?}", self.sync_latency)?;
        writeln!(f, "read-latency {:?}", self.read_latency)?;
        writeln!(f, "jitter {:?}", self.jitter)?;
        writeln!(f, "sync-rate {}", limit(self.sync_rate))?;
        writeln!(f, "sync-peak {}", limit(self.sync_peak))?;
        writeln!(f, "byte-rate {}", limit(self.byte_rate))?;
        writeln!(f, "byte-peak {}", limit(self.byte_peak))?;
        writeln!(f, "burst {:?}", self.burst)?;
        match self.stall {
            Some(Stall { length, every }) => writeln!(f, "stall {length:?}/{every:?}")?,
            None => writeln!(f, "stall none")?,
        }
        match self.neighbor {
            Some(Neighbor { rate, service }) => writeln!(f, "neighbor {rate}/s:{service:?}")?,
            None => writeln!(f, "neighbor none")?,
        }
        writeln!(f, "drop-syncs {}", self.drop_syncs)?;
        writeln!(f, "backing-sync {}", if self.backing_sync { "yes" } else { "no" })?;
        writeln!(f, "seed {}", self.seed)
    }
}

/// The number at the begin of a text, and its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    Some((number, &text[end..]))
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        // Debug of a Duration says it with the Greek letter.
        "ns" => number * 1e-9,
        "us" | "\u{b5}s" => number * 1e-6,
        "ms" => number * 1e-3,
        "s" => number,
        "m" => number * 60.0,
        "" if number == 0.0 => 0.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn rate(text: &str) -> Option<f64> {
    let (number, unit) = split(text.strip_suffix("/s").unwrap_or(text))?;
    let factor = match unit {
        "" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number * factor).filter(|rate| *rate > 0.0)
}

/// Bytes like `64MiB`.
pub(crate) fn size(text: &str) -> Option<u64> {
    if text.contains('/') {
        return None;
    }
    rate(text).map(|bytes| bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_set() {
        let mut faults = Faults::default();
        for (name, example, _) in SETTINGS {
            faults.set(name, example).unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(faults.latency, Duration::from_millis(2));
        assert_eq!(faults.byte_rate, Some(20.0 * 1024.0 * 1024.0));
        let mut again = Faults::default();
        for line in faults.to_string().lines() {
            let (name, value) = line.split_once(' ').unwrap();
            again.set(name, value).unwrap();
        }
        assert_eq!(again, faults);
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let mut faults = Faults::default();
        for (name, value) in [
            ("latency", "2"),
            ("latency", "-2ms"),
            ("latency", ""),
            ("latency", "1e400s"),
            ("sync-rate", "0/s"),
            ("sync-rate", "nan"),
            ("stall", "10s/1s"),
            ("stall", "1s"),
            ("neighbor", "1000/s:3ms"),
            ("drop-syncs", "2"),
            ("backing-sync", "maybe"),
            ("speed", "1"),
        ] {
            assert!(faults.set(name, value).is_err(), "{name} {value}");
        }
        assert_eq!(faults, Faults::default());
    }
}
