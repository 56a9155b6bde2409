//! What other processes of this machine do to the device meanwhile.

use std::path::Path;

use measure::disks::{Counts, Stack};

/// Others that write less in a second are not felt.
const FELT_BYTES: u64 = 2 << 20;
/// Nor fewer cache flushes.
const FELT_FLUSHES: u64 = 20;

/// Counters of the disks below a directory. Layers without a device of the kernel's have none, and then nothing is known.
pub(super) struct Others {
    stack: Stack,
    last: Option<Seen>,
}

struct Seen {
    /// Of each disk.
    counts: Vec<Counts>,
    own_bytes: u64,
}

impl Others {
    pub(super) fn on_device_of(dir: &Path) -> Others {
        Others::on(Stack::below(dir))
    }

    fn on(stack: Stack) -> Others {
        let mut others = Others { stack, last: None };
        others.last = others.read();
        others
    }

    /// Whether they were felt since the last call of this, in which we made so many durable writes.
    pub(super) fn were_felt(&mut self, syncs: u64) -> bool {
        let Some(now) = self.read() else { return false };
        let own_now = now.own_bytes;
        let before = self.last.replace(now);
        let (Some(before), Some(now)) = (before, &self.last) else { return false };
        let own = own_now.saturating_sub(before.own_bytes);
        // Of a mirror each disk takes all that is written, of stripes each its part: none takes more than we write.
        now.counts.iter().zip(&before.counts).any(|(now, before)| felt(now.since(*before), own, syncs))
    }

    fn read(&self) -> Option<Seen> {
        Some(Seen { counts: self.stack.counts()?, own_bytes: measure::machine::own_written_bytes()? })
    }
}

fn felt(seen: Counts, own_bytes: u64, syncs: u64) -> bool {
    seen.written_bytes.saturating_sub(own_bytes) > FELT_BYTES + own_bytes / 10
        || seen.flushes.unwrap_or(0) > syncs + syncs / 10 + FELT_FLUSHES
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A partition of a disk on which somebody writes to the next one.
    fn disk() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let disk = root.path().join("sys/block/sda");
        fs::create_dir_all(disk.join("sda1")).unwrap();
        fs::write(disk.join("sda1/partition"), "1").unwrap();
        stat(&disk.join("sda1"), 8, 0);
        stat(&disk, 8, 0);
        fs::create_dir_all(root.path().join("sys/dev/block")).unwrap();
        std::os::unix::fs::symlink(disk.join("sda1"), root.path().join("sys/dev/block/8:1")).unwrap();
        (root, disk)
    }

    fn stat(device: &Path, sectors: u64, flushes: u64) {
        fs::write(device.join("stat"), format!("1 2 3 4 5 6 {sectors} 8 9 10 11 12 13 14 15 {flushes} 9"))
            .unwrap();
    }

    #[test]
    fn a_neighbor_on_another_partition_is_felt() {
        let (root, disk) = disk();
        // What this test's process writes meanwhile is far less.
        const MUCH: u64 = (1 << 30) / 512;
        let mut others = Others::on(Stack::of(root.path(), (8, 1), None));
        assert!(!others.were_felt(0), "nothing has changed");
        stat(&disk, MUCH, 0);
        assert!(others.were_felt(100), "a gigabyte that is not ours");
        assert!(!others.were_felt(100), "it was felt then, and is not now");
        stat(&disk, MUCH, 110);
        assert!(!others.were_felt(100), "the flushes are ours");
        stat(&disk, MUCH, 310);
        assert!(others.were_felt(100), "and these are not");
    }

    #[test]
    fn without_a_device_nothing_is_known() {
        let mut others = Others::on(Stack::default());
        assert!(!others.were_felt(0) && !others.were_felt(0));
    }
}
