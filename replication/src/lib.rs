//! Raft behind a sans-I/O node and one driver thread.

mod batch;
mod boot;
mod config;
mod driver;
mod error;
mod inspect;
mod ledger;
mod log;
mod membership;
mod node;
mod proposer;
mod queue;
mod raft_logger;
mod read_rounds;
mod reads;
mod ready;
mod state_machine;
mod status;
mod storage;
mod transport;
mod turn;
mod waiting_reads;

pub use boot::Log;
pub use config::{Bootstrap, Config, FailStop, Identity, InitialMember, Limits};
pub use driver::{Driver, start, start_with};
pub use error::Error;
pub use inspect::Dropped;
pub use membership::{Membership, MembershipChange, MembershipKind};
pub use node::{Node, NodeConfig, Placed, Restored};
pub use proposer::{Proposer, Rejected};
pub use reads::{ReadGate, ReadWaiter, Reads};
pub use ready::{HardState, Output, Persist, ReadOutcome};
pub use state_machine::{Leadership, Maintenance, Position, Progress, Refused, StateMachine};
pub use status::Status;
pub use transport::{Entry, EntryKind, Message, MessageKind, NoPeers, Transport};
