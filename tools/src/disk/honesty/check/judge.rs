//! What the evidence means.

use std::time::Duration;

use measure::units;

use super::evidence::{Cache, Device, Evidence, Link};

/// Of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Plausible,
    Suspicious,
    CannotTell,
}

/// With its reasons, each a sentence.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) answer: Answer,
    pub(super) reasons: Vec<String>,
}

/// Half a turn of the fastest disks (15,000 a minute): a write over the same place takes a whole one.
const HALF_TURN: Duration = Duration::from_millis(2);
/// No device answers a request in less.
const MEMORY: Duration = Duration::from_micros(5);
/// A host that copies into its memory answers in less.
const HOST_MEMORY: Duration = Duration::from_micros(100);

/// Beyond so many flushes of others for each sync the difference is of two large numbers, and says nothing.
const MOST_OTHERS: u64 = 2;

/// Says what it means.
pub(super) fn judge(evidence: &Evidence) -> Verdict {
    let rules = [where_it_lies, mounted, reached, overruled, flushed, physics];
    let found = rules.iter().find_map(|rule| rule(evidence));
    let (answer, mut reasons) = match found {
        Some((answer, reason)) => (answer, vec![reason]),
        None => (Answer::Plausible, vec![plausible(evidence)]),
    };
    if answer != Answer::Suspicious {
        if let Some(file) = evidence.devices.iter().find_map(|device| device.backing_file.as_ref()) {
            reasons.push(format!("The device is the file {file}: check the directory where that lies, too."));
        }
        if answer == Answer::Plausible
            && let Some(name) = &evidence.virtualized
        {
            reasons.push(format!(
                "That is what can be seen from within {name}: what the host does with a flush cannot."
            ));
        }
    }
    Verdict { answer, reasons }
}

type Found = Option<(Answer, String)>;

/// File systems that the kernel's counters say nothing about.
fn where_it_lies(evidence: &Evidence) -> Found {
    let cannot = |reason: &str| Some((Answer::CannotTell, format!("{}: {reason}", evidence.file_system)));
    match evidence.file_system.as_str() {
        "tmpfs" | "ramfs" => cannot("memory, where nothing survives."),
        "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "glusterfs" | "lustre" | "9p" | "virtiofs" => {
            cannot("a sync is as honest as the server, or the host, that does it.")
        }
        "zfs" | "bcachefs" => {
            cannot("several devices with a log of its own; the counters do not say whose writes they count.")
        }
        "overlay" if evidence.options.iter().any(|option| option == "volatile") => {
            Some((Answer::Suspicious, "overlay, mounted with `volatile`: syncs do nothing.".to_owned()))
        }
        kind if kind.starts_with("fuse") => cannot("a sync is as honest as the process that serves it."),
        _ if evidence.devices.is_empty() => cannot("no device that the kernel names."),
        _ if evidence.devices.iter().any(|device| device.link == Link::Memory) => {
            Some((Answer::CannotTell, "The device is memory, where nothing survives.".to_owned()))
        }
        _ => None,
    }
}

/// Told by its options to leave out the flushes that the device needs.
fn mounted(evidence: &Evidence) -> Found {
    let off = evidence.options.iter().find(|option| matches!(option.as_str(), "nobarrier" | "barrier=0"))?;
    evidence.devices.iter().find(|device| device.cache == Cache::Volatile).map(|device| {
        let text = format!(
            "Mounted with {off}, while {} has a volatile write cache: syncs do not flush it.",
            device.name
        );
        (Answer::Suspicious, text)
    })
}

/// Syncs that return without the device having been written to.
fn reached(evidence: &Evidence) -> Found {
    let writes: Option<u64> = evidence.devices.iter().map(|device| Some(device.counts?.writes)).sum();
    let syncs = evidence.probe.syncs;
    let Some(writes) = writes else {
        return Some((
            Answer::CannotTell,
            "The kernel does not say what it counted on the device.".to_owned(),
        ));
    };
    if writes < syncs / 2 {
        let text = format!(
            "{syncs} syncs returned, and the device was written to {writes} times: something (eatmydata, a sandbox, a layer) \
             answers in its place."
        );
        return Some((Answer::Suspicious, text));
    }
    // Others' writes stand in for ones that were never made: what is left of them has to do.
    let others: u64 = evidence.devices.iter().map(|device| device.others.writes).sum();
    let own = writes.saturating_sub(others);
    if own < syncs / 2 {
        let text = format!(
            "During {syncs} syncs the device was written to {} times, and others write to it {} times in as long: whether the \
             syncs did cannot be seen. Run it again while they are quiet.",
            count(writes),
            count(others)
        );
        return Some((Answer::CannotTell, text));
    }
    (evidence.probe.sync < MEMORY).then(|| {
        let text = format!(
            "A sync takes {}, no more than a copy in memory ({}): no device answers so fast.",
            micros(evidence.probe.sync),
            micros(evidence.probe.copy)
        );
        (Answer::Suspicious, text)
    })
}

/// An administrator told the kernel that the cache is none.
fn overruled(evidence: &Evidence) -> Found {
    let found = |device: &&Device| device.own_word == Cache::Volatile && device.cache == Cache::Safe;
    evidence.devices.iter().find(found).map(|device| {
        let text = format!(
            "{} says that its write cache is on, and the kernel was told not to flush it (queue/write_cache is `write \
             through`).",
            device.name
        );
        (Answer::Suspicious, text)
    })
}

/// Flushes that were counted, where they are needed.
fn flushed(evidence: &Evidence) -> Found {
    let volatile: Vec<_> = evidence.devices.iter().filter(|device| device.cache == Cache::Volatile).collect();
    let syncs = evidence.probe.syncs;
    if volatile.is_empty() {
        return None;
    }
    let flushes: Option<Vec<_>> = volatile.iter().map(|device| device.counts?.flushes).collect();
    let Some(flushes) = flushes else {
        let text =
            "The device has a volatile write cache, and this kernel does not count flushes (from 5.5 on).";
        return Some((Answer::CannotTell, text.to_owned()));
    };
    let enough = syncs - syncs / 10;
    // Others on the device can only add to the count; of several paths or mirrors one is enough.
    let most = flushes.iter().copied().max().unwrap_or(0);
    if most < enough {
        let text = format!(
            "{} has a volatile write cache, and {syncs} syncs flushed it {most} times: what a sync acknowledged may still \
             be in there.",
            volatile[0].name
        );
        return Some((Answer::Suspicious, text));
    }
    // Which is why they must not stand in for flushes that were never sent.
    let is_sure = |(device, flushes): (&&Device, &u64)| {
        let others = device.others.flushes.unwrap_or(0);
        others <= syncs * MOST_OTHERS && flushes.saturating_sub(others) >= enough
    };
    if volatile.iter().zip(&flushes).any(is_sure) {
        return None;
    }
    let others = volatile.iter().filter_map(|device| device.others.flushes).max().unwrap_or(0);
    let text = format!(
        "{} was flushed {} times during {syncs} syncs, and others flush it some {} times in as long: whether the syncs did \
         cannot be seen. Run it again while they are quiet.",
        volatile[0].name,
        count(most),
        count(others)
    );
    Some((Answer::CannotTell, text))
}

/// What is too fast, or suspiciously cheap.
fn physics(evidence: &Evidence) -> Found {
    let sync = evidence.probe.sync;
    let virtualized = evidence.virtualized.is_some();
    let turning = evidence.devices.iter().find(|device| device.rotational);
    if let Some(device) = turning.filter(|_| !virtualized && sync < HALF_TURN) {
        return Some(match device.link {
            Link::Ata | Link::Usb => {
                let text = format!(
                    "{} turns, and a write over the same place with a sync takes {}, less than half a turn: the disk \
                     acknowledges from its cache.",
                    device.name,
                    micros(sync)
                );
                (Answer::Suspicious, text)
            }
            _ => {
                let text = format!(
                    "{} turns, and a sync takes {}, less than half a turn: a controller's memory answers. That is honest \
                     if a battery keeps it.",
                    device.name,
                    micros(sync)
                );
                (Answer::CannotTell, text)
            }
        });
    }
    if evidence.devices.iter().any(|device| device.cache == Cache::Unknown) {
        return Some((
            Answer::CannotTell,
            "The kernel does not say whether the device has a volatile cache.".to_owned(),
        ));
    }
    let volatile = evidence.devices.iter().any(|device| device.cache == Cache::Volatile);
    if let Some(direct) = evidence.probe.direct.filter(|direct| volatile && sync < direct.mul_f64(1.25)) {
        let text = format!(
            "The device has a volatile write cache, and a write with a sync ({}) takes no longer than one without ({}): \
             either power-loss protection makes flushes free (see the data sheet), or they are ignored.",
            micros(sync),
            micros(direct)
        );
        return Some((Answer::CannotTell, text));
    }
    if volatile {
        return None;
    }
    if evidence.devices.iter().any(|device| device.link == Link::Usb) {
        let text = "The device says nothing of a cache, which behind USB often means that nobody asked it: no flush is sent.";
        return Some((Answer::CannotTell, text.to_owned()));
    }
    (virtualized && sync < HOST_MEMORY).then(|| {
        let text = format!(
            "The virtual disk announces no write cache, so that no flush is sent, and a sync takes {}: right if the host \
             writes through to a fast device, wrong if it copies into its memory.",
            micros(sync)
        );
        (Answer::CannotTell, text)
    })
}

fn plausible(evidence: &Evidence) -> String {
    let syncs = evidence.probe.syncs;
    match evidence.devices.iter().find(|device| device.cache == Cache::Volatile) {
        Some(device) => {
            let flushes = device.counts.and_then(|counts| counts.flushes).unwrap_or(0);
            let write = match evidence.probe.direct {
                Some(direct) => format!(", longer than a write without it ({})", micros(direct)),
                None => String::new(),
            };
            let others = match device.others.flushes {
                Some(others @ 1..) => format!(" (some {} of them for others)", count(others)),
                _ => String::new(),
            };
            format!(
                "{syncs} syncs flushed the volatile cache of {} {} times{others}; a sync takes {}{write}.",
                device.name,
                count(flushes),
                micros(evidence.probe.sync)
            )
        }
        None => format!(
            "The device has no volatile write cache (none, power-loss protection, or it is off), so that a write that is done \
             is durable; {syncs} syncs wrote to it, each in {}.",
            micros(evidence.probe.sync)
        ),
    }
}

fn micros(time: Duration) -> String {
    units::micros(time.as_nanos() as f64 / 1000.0)
}

fn count(count: u64) -> String {
    units::number(count as f64)
}
