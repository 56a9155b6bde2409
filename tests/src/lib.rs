//! Whole-process tests, the twin run and the client tour.
//!
//! Everything here sees a server as a client or an operator does: as a process with flags, a data directory, a port
//! and a log. `GRAVEN_BIN` names the program under test; without it the one of this workspace is built. A real etcd
//! has the same flags and the same answers, so each suite's expectations are checked by running it with `GRAVEN_BIN`
//! set to one.

mod clients;
mod dice;
mod picture;
mod process;
mod trial;
pub mod twin;
mod upkeep;

pub use clients::{Clients, connect};
pub use dice::Dice;
pub use picture::picture;
pub use process::{Server, is_graven, program, utl};
pub use trial::{Outcome, Serving, Trial};
pub use upkeep::{BUSY, Upkeep};
