//! Flags and calls that have a server bring its state to disk, forget history and move its file about all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::etcdserverpb::{CompactionRequest, DefragmentRequest};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::Clients;

/// Graven's own flags for it: segments of the least length for requests of the usual size, and a checkpoint as soon as
/// some pages have changed.
pub const BUSY: [&str; 4] = ["--wal-segment-bytes", "3276800", "--checkpoint-bytes", "131072"];

/// Runs until the server is gone or the value is dropped.
#[derive(Debug)]
pub struct Upkeep {
    task: JoinHandle<()>,
    rounds: Arc<AtomicUsize>,
}

impl Upkeep {
    /// Defragments one time after the other. Between two of them history is compacted a step further, up to `until`.
    pub async fn start(endpoint: &str, compacted: i64, until: i64) -> anyhow::Result<Upkeep> {
        let mut clients = Clients::connect(endpoint).await?;
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rounds);
        let task = tokio::spawn(async move {
            let mut at = compacted;
            let step = ((until - compacted) / 8).max(1);
            loop {
                if at < until {
                    at = (at + step).min(until);
                    let compaction = CompactionRequest { revision: at, physical: false };
                    if is_gone(clients.kv.compact(compaction).await) {
                        return;
                    }
                }
                if is_gone(clients.maintenance.defragment(DefragmentRequest {}).await) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Upkeep { task, rounds })
    }

    /// How many times the file was defragmented.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether nobody answers any more. A refusal is an answer: the revision may be compacted already.
fn is_gone<T>(answer: Result<T, tonic::Status>) -> bool {
    answer.is_err_and(|status| matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled))
}
