//! What keeps a member small, quick to start and sure of its data, without anybody noticing.
//!
//! ```text
//!  driver's thread, between batches      graven-writer             graven-background
//!  keeper: slices of about 1 ms          checkpoints, paced        hashes at compactions
//!    swap, compact, defragment      -->  begin ... done            scrubbing
//!    checkpoints begin and end      <--
//! ```
//!
//! What is decided here is decided from numbers and times alone and tested that way: when a checkpoint is due
//! (`policy`), how fast it is written (`pace`), how much of the driver's time upkeep may have (`slices`), when the file is
//! worth making smaller (`auto_defragment`), how fast everything is read again (`scrub_plan`), when a disk stalls
//! (`watchdog`), and which views are held for too long (`long_views`).
//!
//! Nothing here changes what clients see. A crash at any point is harmless because every step is the engine's own: a
//! checkpoint that did not end was never there, a slice is part of the next checkpoint or did not happen.

mod auto_defragment;
mod background;
mod defragment;
mod error;
mod events;
mod keeper;
mod long_views;
mod pace;
mod policy;
mod pressure;
mod priority;
mod scrub;
mod scrub_plan;
mod slices;
mod watchdog;
mod writer;

pub use defragment::Defragments;
pub use events::{Event, Events};
pub use keeper::{Parts as UpkeepParts, Upkeep};
pub use long_views::LONG_VIEW;
pub use policy::CheckpointPolicy;
pub(crate) use pressure::Demand;
pub use pressure::Gauge;
pub use scrub::ScrubParts;
pub use watchdog::{OnStall, Stall, Watchdog};
