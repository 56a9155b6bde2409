//! Raft behind a sans-I/O node and one driver thread.

mod config;
mod error;
mod membership;
mod proposer;
mod queue;
mod reads;
mod state_machine;
mod status;
mod transport;

pub use config::{Bootstrap, Config, FailStop, Identity, InitialMember, Limits};
pub use error::Error;
pub use membership::{MembershipChange, MembershipKind};
pub use proposer::{Proposer, Rejected};
pub use reads::{ReadGate, ReadWaiter, Reads};
pub use state_machine::{Leadership, Maintenance, Position, Progress, Refused, StateMachine};
pub use status::Status;
pub use transport::{Entry, EntryKind, Message, MessageKind, NoPeers, Transport};
