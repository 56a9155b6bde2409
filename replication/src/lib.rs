//! Raft behind a sans-I/O node and one driver thread.
//!
//! A proposal is opaque bytes with a ticket. [`Proposer`] queues it; the driver takes whatever has queued up, puts it
//! into as few log entries as it fits into, makes them durable with one write, has them applied by the
//! [`StateMachine`] once they are committed, and has the tickets answered. While one write is under way the next batch
//! gathers; nobody waits for a timer.
//!
//! ```text
//! Proposer, Reads, peers -> Queue -> Turns { Node -> Storage (wal) -> StateMachine } -> callers, Transport
//!                                    \_ one thread, see Driver _/
//! ```
//!
//! What holds at any moment, and why a crash then is harmless:
//!
//! - A ticket is answered as applied only after its entry is durable here (and on a quorum), committed, applied and
//!   published. A crash before that leaves the caller without an answer, never with a wrong one.
//! - Votes, terms and acknowledgments to the leader leave only after what they promise is durable. A leader's own
//!   appends may leave before: they promise nothing about its disk.
//! - The commit index is written along with the next batch. After a crash it may be behind; what is missing is found
//!   committed again by the next leader, or known from the applied index of the state.
//! - State and log are compared at start. A log that ends before the state, begins after it, or has another entry
//!   where the state says it was, is refused. What the log calls committed is applied while it is being read, in memory
//!   only: a refusal after that leaves the stored state and the entries as they were.
//! - The first storage error is the last thing that happens: nothing is answered after it.
//!
//! What this crate does not know: keys, requests, sockets, protobuf of peers. raft's own types appear in `node`,
//! `ready`, `log` and `membership` (and `raft_logger`) only. The clock is read in `driver` only.

mod agreement;
mod batch;
mod boot;
mod config;
mod driver;
mod error;
mod handover;
mod inspect;
mod ledger;
mod log;
mod membership;
mod node;
mod planted;
mod proposer;
mod queue;
mod raft_logger;
mod read_rounds;
mod reads;
mod ready;
mod replay;
#[cfg(test)]
mod simulation;
mod space;
mod state_machine;
mod status;
mod storage;
mod sync;
mod transport;
mod turn;
mod waiting_reads;

pub use agreement::{LogRange, check_entry};
pub use boot::{Log, Opening, identity_of};
pub use config::{Bootstrap, Config, FailStop, Identity, InitialMember, Limits};
pub use driver::{Driver, start, start_with};
pub use error::Error;
pub use inspect::Dropped;
pub use membership::{Membership, MembershipChange, MembershipKind};
pub use node::{Node, NodeConfig, Placed, Restored};
pub use proposer::{Proposer, Rejected, Room};
pub use reads::{ReadGate, ReadWaiter, Reads};
pub use ready::{HardState, Output, Persist, ReadOutcome};
pub use state_machine::{Leadership, Maintenance, Position, Progress, Refused, StateMachine};
pub use status::Status;
pub use transport::{Entry, EntryKind, Message, MessageKind, NoPeers, Transport};
