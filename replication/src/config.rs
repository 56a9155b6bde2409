//! What a driver is started with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::Error;
use crate::batch::BATCH_OVERHEAD;

/// Called once when storage has failed, on the driver's thread, as the last thing that thread does.
pub type FailStop = Arc<dyn Fn(&Error) + Send + Sync>;

/// Whose log this is. Stored in the log when it is created, compared whenever it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// This member; never 0.
    pub member_id: u64,
}

/// A member a new cluster starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Member id; never 0.
    pub id: u64,
    /// Handed to `StateMachine::apply_membership` as it is (etcd: the member's attributes).
    pub context: Bytes,
}

/// How a log that does not exist yet comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// A new cluster of these members: one membership entry each at term 1, committed. Every member must be
    /// given the same list in the same order.
    New(Vec<InitialMember>),
    /// An empty log that a leader will fill.
    Join,
}

/// Bounds on what is kept and taken. Every one of them is checked before memory is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest proposal in bytes.
    pub proposal_bytes: usize,
    /// Proposals share one log entry up to this many bytes; a larger one has an entry of its own.
    pub batch_bytes: usize,
    /// Proposals not answered yet.
    pub pending: usize,
    /// Their bytes.
    pub pending_bytes: usize,
    /// Entries kept in memory behind the applied index, for members that lag.
    pub catch_up_entries: u64,
    /// Bytes of such entries; the older ones go first.
    pub catch_up_bytes: u64,
    /// Committed entries applied in one turn, in bytes.
    pub committed_bytes_per_turn: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            proposal_bytes: 2 << 20,
            batch_bytes: 1 << 20,
            pending: 100_000,
            pending_bytes: 256 << 20,
            catch_up_entries: 5000,
            catch_up_bytes: 64 << 20,
            committed_bytes_per_turn: 4 << 20,
        }
    }
}

/// Bytes around an entry in the log, more than there are.
const FRAMING: usize = 4096;

/// Everything `start` needs to know.
#[derive(Clone)]
pub struct Config {
    /// Whose log this is.
    pub identity: Identity,
    /// How to begin if there is no log yet.
    pub bootstrap: Bootstrap,
    /// Directory of the log. It exists, if only empty.
    pub wal_dir: PathBuf,
    /// How the log behaves.
    pub wal: wal::Options,
    /// Length of a tick: the heartbeat interval.
    pub tick: Duration,
    /// Ticks without a leader until a member campaigns.
    pub election_ticks: usize,
    /// See [`Limits`].
    pub limits: Limits,
    /// Different at every start of every member: election jitter, read contexts and batch ids come from it.
    pub seed: u64,
    /// What to do when storage has failed. In a server: log and end the process.
    pub fail_stop: FailStop,
}

impl Config {
    /// etcd's defaults: 100 ms heartbeats, elections after 10 of them.
    pub fn new(
        identity: Identity,
        bootstrap: Bootstrap,
        wal_dir: PathBuf,
        seed: u64,
        fail_stop: FailStop,
    ) -> Config {
        Config {
            identity,
            bootstrap,
            wal_dir,
            wal: wal::Options::default(),
            tick: Duration::from_millis(100),
            election_ticks: 10,
            limits: Limits::default(),
            seed,
            fail_stop,
        }
    }

    /// Refuses what makes no sense; asked before the log is touched.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.election_ticks < 2 || self.tick.is_zero() {
            return Err(Error::Config(
                "an election takes at least two ticks, and a tick some time".to_owned(),
            ));
        }
        let limits = &self.limits;
        if limits.pending == 0 || limits.batch_bytes == 0 {
            return Err(Error::Config("no proposal could ever be taken".to_owned()));
        }
        let largest = limits.proposal_bytes.max(limits.batch_bytes) + BATCH_OVERHEAD + FRAMING;
        if largest > self.append_bytes() {
            let why = format!("entries of {largest} bytes need segments of at least twice that");
            return Err(Error::Config(why));
        }
        Ok(())
    }

    /// Most bytes of entries in one append: half a segment.
    pub(crate) fn append_bytes(&self) -> usize {
        usize::try_from(self.wal.segment_bytes / 2).unwrap_or(usize::MAX)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("identity", &self.identity)
            .field("bootstrap", &self.bootstrap)
            .field("wal_dir", &self.wal_dir)
            .field("tick", &self.tick)
            .field("election_ticks", &self.election_ticks)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
