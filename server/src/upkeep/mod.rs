//! What keeps a member small, quick to start and sure of its data, without anybody noticing.
//!
//! ```text
//!  driver's thread, between batches      graven-writer             graven-background
//!  keeper: slices of about 1 ms          checkpoints, paced        hashes at compactions
//!    swap, compact, defragment      -->  begin ... done            reads what slices will look at
//!    checkpoints begin and end      <--                            scrubbing
//! ```
//!
//! What is decided is decided from numbers and times alone and tested that way. The engine's policies say when a
//! checkpoint is due, how fast it is written, how much of the driver's time upkeep may have, when the file is worth making
//! smaller, and what a defragmentation does next (`engine::Schedule`, `Pace`, `Slices`, `AutoDefragment`, `Defragmentation`);
//! here is said how fast everything is read again (`scrub_plan`), when a disk stalls (`watchdog`), and which views are
//! held for too long (`long_views`).
//!
//! Slices of compaction and defragmentation look at nothing that the background thread has not read and verified before
//! (`engine::Ahead`): a page that comes from the device now would hold the next request up.
//!
//! Nothing here changes what clients see. A crash at any point is harmless because every step is the engine's own: a
//! checkpoint that did not end was never there, a slice is part of the next checkpoint or did not happen.

mod background;
mod defragment;
mod error;
mod events;
mod keeper;
mod long_views;
mod pressure;
mod priority;
mod scrub;
mod scrub_plan;
mod watchdog;
mod writer;

pub use defragment::Defragments;
pub use engine::CheckpointPolicy;
pub use events::{Event, Events};
pub use keeper::{Parts as UpkeepParts, Upkeep};
pub use long_views::LONG_VIEW;
pub(crate) use pressure::Demand;
pub use pressure::Gauge;
pub use scrub::ScrubParts;
pub use watchdog::{OnStall, Stall, Watchdog};
