//! What the driver tells the rest of the process about itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Shared counters and gauges: always current, each read on its own. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Status {
    cells: Arc<Cells>,
}

#[derive(Debug, Default)]
pub(crate) struct Cells {
    pub(crate) member_id: AtomicU64,
    pub(crate) cluster_id: AtomicU64,
    pub(crate) term: AtomicU64,
    pub(crate) leader: AtomicU64,
    pub(crate) is_learner: AtomicBool,
    pub(crate) commit: AtomicU64,
    pub(crate) applied: AtomicU64,
    pub(crate) applied_term: AtomicU64,
    pub(crate) leader_changes: AtomicU64,
    pub(crate) proposals_applied: AtomicU64,
    pub(crate) proposals_pending: AtomicU64,
    pub(crate) proposals_failed: AtomicU64,
    pub(crate) turns_by_callers: AtomicU64,
    pub(crate) late_ticks: AtomicU64,
    pub(crate) reads_pending: AtomicU64,
    pub(crate) messages_dropped: AtomicU64,
    wal: Mutex<Option<wal::Stats>>,
}

impl Status {
    pub(crate) fn cells(&self) -> &Cells {
        &self.cells
    }

    pub(crate) fn wal_cell(&self) -> MutexGuard<'_, Option<wal::Stats>> {
        self.cells.wal.lock().expect("nobody panics while it holds the counters")
    }

    pub(crate) fn note_late_tick(&self) {
        self.cells.late_ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// Counters of the write-ahead log, as of the last tick.
    pub fn wal(&self) -> Option<wal::Stats> {
        self.wal_cell().clone()
    }

    /// This member.
    pub fn member_id(&self) -> u64 {
        self.cells.member_id.load(Ordering::Relaxed)
    }

    /// Its cluster.
    pub fn cluster_id(&self) -> u64 {
        self.cells.cluster_id.load(Ordering::Relaxed)
    }

    /// Current term.
    pub fn term(&self) -> u64 {
        self.cells.term.load(Ordering::Acquire)
    }

    /// Member id of the leader; 0 while there is none.
    pub fn leader(&self) -> u64 {
        self.cells.leader.load(Ordering::Acquire)
    }

    /// Whether this member leads.
    pub fn is_leader(&self) -> bool {
        let leader = self.leader();
        leader != 0 && leader == self.member_id()
    }

    /// Whether this member receives the log without a vote.
    pub fn is_learner(&self) -> bool {
        self.cells.is_learner.load(Ordering::Acquire)
    }

    /// Commit index.
    pub fn commit(&self) -> u64 {
        self.cells.commit.load(Ordering::Acquire)
    }

    /// Applied index, published.
    pub fn applied(&self) -> u64 {
        self.cells.applied.load(Ordering::Acquire)
    }

    /// Term of the entry at the applied index.
    pub fn applied_term(&self) -> u64 {
        self.cells.applied_term.load(Ordering::Acquire)
    }

    /// How often a leader was seen where there was none or another before (etcd: `leader_changes_seen_total`).
    pub fn leader_changes(&self) -> u64 {
        self.cells.leader_changes.load(Ordering::Relaxed)
    }

    /// Proposals and membership changes executed since the start, whoever made them.
    pub fn proposals_applied(&self) -> u64 {
        self.cells.proposals_applied.load(Ordering::Relaxed)
    }

    /// Proposals of this process that wait for an answer.
    pub fn proposals_pending(&self) -> u64 {
        self.cells.proposals_pending.load(Ordering::Relaxed)
    }

    /// Proposals of this process that were refused.
    pub fn proposals_failed(&self) -> u64 {
        self.cells.proposals_failed.load(Ordering::Relaxed)
    }

    /// Turns that a caller carried out in the driver's stead; see [`Proposer::settle`](crate::Proposer::settle).
    pub fn turns_by_callers(&self) -> u64 {
        self.cells.turns_by_callers.load(Ordering::Relaxed)
    }

    /// Ticks that came more than a tick late: the disk or the machine is too slow for the heartbeat interval.
    pub fn late_ticks(&self) -> u64 {
        self.cells.late_ticks.load(Ordering::Relaxed)
    }

    /// Messages of peers that did not stand up to inspection.
    pub fn messages_dropped(&self) -> u64 {
        self.cells.messages_dropped.load(Ordering::Relaxed)
    }

    /// Linearizable reads that wait for a confirmed leader.
    pub fn reads_pending(&self) -> u64 {
        self.cells.reads_pending.load(Ordering::Relaxed)
    }
}
