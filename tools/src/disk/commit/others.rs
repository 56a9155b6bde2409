//! What other processes of this machine do to the device meanwhile.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Others that write less in a second are not felt.
const FELT_BYTES: u64 = 2 << 20;
/// Nor fewer cache flushes.
const FELT_FLUSHES: u64 = 20;

/// Counters of the device below a directory. Layers without a device of the kernel's have none, and then nothing is known.
pub(super) struct Others {
    stat: Option<PathBuf>,
    last: Counted,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counted {
    device_bytes: u64,
    flushes: u64,
    own_bytes: u64,
}

impl Others {
    pub(super) fn on_device_of(dir: &Path) -> Others {
        let stat = fs::metadata(dir).ok().map(|found| {
            let (major, minor) = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
            PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"))
        });
        let mut others = Others { stat: stat.filter(|path| path.exists()), last: Counted::default() };
        others.last = others.read().unwrap_or_default();
        others
    }

    /// Whether they were felt since the last call of this, in which we made so many durable writes.
    pub(super) fn were_felt(&mut self, syncs: u64) -> bool {
        let Some(now) = self.read() else { return false };
        let before = std::mem::replace(&mut self.last, now);
        let bytes = now.device_bytes.saturating_sub(before.device_bytes);
        let own = now.own_bytes.saturating_sub(before.own_bytes);
        let flushes = now.flushes.saturating_sub(before.flushes);
        bytes.saturating_sub(own) > FELT_BYTES + own / 10 || flushes > syncs + syncs / 10 + FELT_FLUSHES
    }

    fn read(&self) -> Option<Counted> {
        let text = fs::read_to_string(self.stat.as_ref()?).ok()?;
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let own = fs::read_to_string("/proc/self/io").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()?;
        // Sectors written are the seventh number, flushes the sixteenth (since Linux 5.5).
        Some(Counted {
            device_bytes: numbers.get(6)? * 512,
            flushes: numbers.get(15).copied().unwrap_or(0),
            own_bytes: own,
        })
    }
}
