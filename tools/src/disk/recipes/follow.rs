//! One recipe, as fio carries it out.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

use measure::{Error, Latencies, Result, Stop};
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, fdatasync};
use rustix::io::write;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// Length of the file; what is left after the last whole write is not written.
    pub(super) total: u64,
    /// Of one write.
    pub(super) bytes: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    /// Of each fdatasync.
    pub(super) sync: Latencies,
    /// From the first write to the end of the last sync.
    pub(super) took: Duration,
    /// Whether every write was made.
    pub(super) complete: bool,
}

/// Writes a file in `dir` and removes it.
pub(super) fn follow(job: Job, dir: &Path, longest: Duration, stop: &Stop) -> Result<Followed> {
    let path = dir.join("recipe");
    let io = |what| Error::io(what, &path);
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(io("create"))?;
    // fio goes on without, too.
    let _ = fallocate(&file, FallocateFlags::empty(), 0, job.total);
    let _ = fadvise(&file, 0, None, Advice::Sequential);
    let mut bytes = vec![0_u8; job.bytes];
    let mut sync = Latencies::new();
    let begun = Instant::now();
    let mut complete = true;
    for number in 0..job.total / job.bytes as u64 {
        stop.check()?;
        if begun.elapsed() > longest {
            complete = false;
            break;
        }
        // No two writes are the same, so that nothing can be saved by noticing that they are.
        scramble(&mut bytes, number);
        let written = write(&file, &bytes).map_err(|error| io("write")(error.into()))?;
        if written != bytes.len() {
            return Err(Error::Wrong(format!(
                "a write to {} wrote {written} of {} bytes",
                path.display(),
                bytes.len()
            )));
        }
        let before = Instant::now();
        fdatasync(&file).map_err(|error| io("sync")(error.into()))?;
        sync.record(before.elapsed());
    }
    let took = begun.elapsed();
    drop(file);
    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    Ok(Followed { sync, took, complete })
}

fn scramble(bytes: &mut [u8], number: u64) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for piece in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        piece.copy_from_slice(&state.to_le_bytes()[..piece.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_whole_write_is_synced_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let job = Job { total: 50_000, bytes: 2300 };
        let followed = follow(job, dir.path(), Duration::from_secs(60), &Stop::default()).unwrap();
        assert_eq!((followed.sync.count(), followed.complete), (21, true));
        assert!(followed.took >= followed.sync.quantile(1.0));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_slow_disk_does_not_get_to_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let job = Job { total: 1 << 30, bytes: 512 };
        let followed = follow(job, dir.path(), Duration::from_millis(3), &Stop::default()).unwrap();
        assert!(!followed.complete);
    }
}
