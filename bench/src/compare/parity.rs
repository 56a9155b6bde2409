//! Does every server make puts durable before it answers? Figures of one that does and one that does not compare nothing.
//!
//! In every round one client puts for a moment, and rests for a moment, in turns. A put that is durable has cost the
//! device at least one operation that the next put had to wait for: with a single client nothing is shared. So the counters
//! of the disks below decide: writes, and where they have a volatile cache that takes no forced writes, flushes. Forced writes
//! are counted like others, so that on a disk that takes them it is seen that every put reaches the disk, and not that it gets
//! through the cache. What others do on the device is seen in the rests and subtracted; where it is too much or too
//! restless, or where flushes are not counted, the answer is that we do not know, and it is said. Where there is no device to look at (tmpfs, network), the time of a put can still convict, but not acquit:
//! nobody syncs faster than the storage below.

use measure::machine::{Counters, WriteCache};
use serde::{Deserialize, Serialize};

/// Of a put's operations that must be seen. Not all: the block layer joins flushes of several processes.
const ENOUGH: f64 = 0.8;
/// What the rests may differ by, for each put, before the counters can't acquit.
const RESTLESS: f64 = 0.5;
/// What others may do meanwhile, for each put, before the counters can't convict.
const BUSY: f64 = 0.25;
/// Of a durable write's time in the fastest probe; a put that takes less did not wait for one.
const TOO_FAST: f64 = 0.25;

/// A moment of rest and a moment of puts of the same length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Turn {
    pub(super) puts: u64,
    /// Median of a put, in microseconds.
    pub(super) p50_us: f64,
    /// The device's operations meanwhile; none without a device.
    pub(super) during: Option<Counters>,
    /// The same at rest, for as long.
    pub(super) rest: Option<Counters>,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// Every put waited for the device.
    Syncs,
    /// Puts are answered before they are durable.
    DoesNotSync,
    /// It could not be found out.
    Unknown,
}

/// What was found, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Durability {
    pub(super) verdict: Verdict,
    /// One sentence.
    pub(super) how: String,
    /// For each put, without those of the rests; none without a device.
    pub(super) writes_each: Option<f64>,
    pub(super) flushes_each: Option<f64>,
}

/// Judges a server by its turns in all rounds and the time of a durable write in the fastest of all probes.
pub(super) fn judge(turns: &[Turn], cache: WriteCache, fastest_us: f64) -> Durability {
    let counted: Vec<(f64, Counters, Counters)> = turns
        .iter()
        .filter(|turn| turn.puts > 0)
        .filter_map(|turn| Some((turn.puts as f64, turn.during?, turn.rest?)))
        .collect();
    let each = |which: fn(&Counters) -> u64| {
        let more =
            counted.iter().map(|(puts, during, rest)| (which(during) as f64 - which(rest) as f64) / puts);
        median(more.collect())
    };
    let (writes, flushes) = (each(|counters| counters.writes), each(|counters| counters.flushes));
    let put_us = median(turns.iter().filter(|turn| turn.puts > 0).map(|turn| turn.p50_us).collect());
    let found = |verdict, how| Durability { verdict, how, writes_each: writes, flushes_each: flushes };

    let (seen, what, which): (_, _, fn(&Counters) -> u64) = match cache {
        WriteCache::Volatile => (flushes, "flushes of", |counters| counters.flushes),
        WriteCache::Forced => (writes, "writes that reach", |counters| counters.writes),
        WriteCache::Safe => (writes, "writes of", |counters| counters.writes),
        WriteCache::Unknown => (None, "", |counters| counters.writes),
    };
    if let Some(seen) = seen {
        let others: Vec<f64> = counted.iter().map(|(puts, _, rest)| which(rest) as f64 / puts).collect();
        let how = format!("{seen:.2} {what} the device for each put of a single client, others' subtracted");
        if seen >= ENOUGH && spread(&others) <= RESTLESS {
            return found(Verdict::Syncs, how);
        }
        // Many flushes of others swallow ours: the block layer makes one of those that wait together.
        if seen < ENOUGH && median(others).is_some_and(|others| others <= BUSY) {
            return found(Verdict::DoesNotSync, how);
        }
    }
    match put_us {
        // Others on the device may have been calmer while it put than while it was probed: then this says nothing.
        _ if seen.is_some() => found(
            Verdict::Unknown,
            "others use the device too much to tell whose operations they are".to_owned(),
        ),
        Some(put_us) if put_us < fastest_us * TOO_FAST => found(
            Verdict::DoesNotSync,
            format!(
                "a put of a single client takes {put_us:.0} us, a durable write here at best {fastest_us:.0} us"
            ),
        ),
        _ => found(
            Verdict::Unknown,
            "the folder is on no block device whose syncs could be counted".to_owned(),
        ),
    }
}

/// The verdict on all servers together, in words, if it is not that all of them sync.
pub(super) fn complaint(servers: &[(&str, &Durability)]) -> Option<(Verdict, String)> {
    let named = |verdict| {
        let those: Vec<&str> =
            servers.iter().filter(|(_, found)| found.verdict == verdict).map(|(name, _)| *name).collect();
        (!those.is_empty()).then(|| those.join(", "))
    };
    if let Some(names) = named(Verdict::DoesNotSync) {
        let what = "answers puts before they are durable: figures beside servers that sync mean nothing";
        return Some((Verdict::DoesNotSync, format!("{names}: {what}")));
    }
    let names = named(Verdict::Unknown)?;
    let what = "durability parity unknown: whether every put is synced could not be found out";
    Some((Verdict::Unknown, format!("{names}: {what}")))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Between the first and the last quarter.
fn spread(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at =
        |share: f64| values.get(((values.len() - 1) as f64 * share) as usize).copied().unwrap_or(f64::MAX);
    if values.is_empty() { f64::MAX } else { at(0.75) - at(0.25) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(puts: u64, during: (u64, u64), rest: (u64, u64)) -> Turn {
        let counters = |(writes, flushes)| Some(Counters { writes, flushes });
        Turn { puts, p50_us: 200.0, during: counters(during), rest: counters(rest) }
    }

    fn verdict(turns: &[Turn], cache: WriteCache) -> Verdict {
        judge(turns, cache, 100.0).verdict
    }

    #[test]
    fn a_put_that_costs_the_device_nothing_is_found() {
        let honest = [turn(1000, (1500, 1010), (20, 10)), turn(900, (1400, 920), (30, 15))];
        assert_eq!(verdict(&honest, WriteCache::Volatile), Verdict::Syncs);
        assert_eq!(verdict(&honest, WriteCache::Forced), Verdict::Syncs);
        let lies = [turn(5000, (40, 12), (20, 10)), turn(5000, (10, 5), (30, 15))];
        assert_eq!(verdict(&lies, WriteCache::Volatile), Verdict::DoesNotSync);
        assert_eq!(verdict(&lies, WriteCache::Forced), Verdict::DoesNotSync);
        // Written to the device, but into a cache that forgets.
        let half = [turn(1000, (1500, 10), (20, 10))];
        assert_eq!(verdict(&half, WriteCache::Volatile), Verdict::DoesNotSync);
        // A forced write looks like any other: what is said is what was seen.
        let found = judge(&half, WriteCache::Forced, 100.0);
        assert_eq!(found.verdict, Verdict::Syncs);
        assert!(found.how.contains("writes that reach the device"), "{}", found.how);
    }

    #[test]
    fn neighbors_make_it_unknown_rather_than_wrong() {
        // A steady one is subtracted.
        let steady = [turn(1000, (1700, 1650), (700, 640)), turn(1000, (1720, 1660), (690, 650))];
        assert_eq!(verdict(&steady, WriteCache::Volatile), Verdict::Syncs);
        // One that keeps the device flushing: what is added to it does not show.
        let full = [turn(1000, (900, 700), (880, 690)), turn(1000, (910, 720), (890, 700))];
        assert_eq!(verdict(&full, WriteCache::Volatile), Verdict::Unknown);
        let restless = [
            turn(1000, (1500, 1500), (100, 100)),
            turn(1000, (1500, 1500), (2000, 2000)),
            turn(1000, (1500, 1500), (4000, 4000)),
            turn(1000, (1500, 1500), (100, 100)),
        ];
        let found = judge(&restless, WriteCache::Volatile, 100.0);
        assert_eq!(found.verdict, Verdict::Unknown);
        assert!(found.how.contains("others"), "{}", found.how);
        // Nor is one convicted by the time of its puts: probes and puts see different moments of a busy device.
        assert_eq!(judge(&restless, WriteCache::Volatile, 10_000.0).verdict, Verdict::Unknown);
    }

    #[test]
    fn without_a_device_speed_convicts_but_does_not_acquit() {
        let bare = Turn { puts: 100, p50_us: 20.0, during: None, rest: None };
        assert_eq!(judge(&[bare], WriteCache::Volatile, 100.0).verdict, Verdict::DoesNotSync);
        assert_eq!(judge(&[bare], WriteCache::Volatile, 50.0).verdict, Verdict::Unknown);
        assert_eq!(judge(&[], WriteCache::Volatile, 50.0).verdict, Verdict::Unknown);
    }

    #[test]
    fn where_flushes_are_not_counted_nobody_is_judged_by_them() {
        // As a volume that counts none looks, with an honest server.
        let uncounted = [turn(1000, (1500, 0), (20, 0)), turn(900, (1400, 0), (30, 0))];
        assert_eq!(verdict(&uncounted, WriteCache::Unknown), Verdict::Unknown);
        assert_eq!(verdict(&uncounted, WriteCache::Safe), Verdict::Syncs);
        // The time of a put still convicts.
        assert_eq!(judge(&uncounted, WriteCache::Unknown, 10_000.0).verdict, Verdict::DoesNotSync);
    }

    #[test]
    fn what_is_not_known_of_all_is_said() {
        let of = |verdict| Durability { verdict, how: String::new(), writes_each: None, flushes_each: None };
        let (good, bad, unknown) = (of(Verdict::Syncs), of(Verdict::DoesNotSync), of(Verdict::Unknown));
        assert_eq!(complaint(&[("a", &good), ("b", &good)]), None);
        let (verdict, words) = complaint(&[("a", &unknown), ("b", &bad)]).unwrap();
        assert_eq!(verdict, Verdict::DoesNotSync);
        assert!(words.starts_with("b: "), "{words}");
        assert_eq!(complaint(&[("a", &good), ("b", &unknown)]).unwrap().0, Verdict::Unknown);
    }
}
