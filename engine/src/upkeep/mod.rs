//! When upkeep does what, as a matter of numbers and times alone.
//!
//! A store is kept small and quick to open by checkpoints, compaction and defragmentation, and all of it goes between
//! requests. Who owns the store owns the thread, the clock and the disk's other users; what is here is told the time
//! and says what to do next: when a checkpoint is due (`checkpoints`), how fast it is written (`pace`), how much of
//! the writer's time upkeep may have (`slices`), when the file is worth making smaller (`auto_defragment`), and what a
//! defragmentation does next (`defragmentation`).

mod auto_defragment;
mod checkpoints;
mod defragmentation;
mod pace;
mod slices;

pub use auto_defragment::{AUTO_DEFRAGMENT_RATE, AutoDefragment};
pub use checkpoints::{CheckpointPolicy, Load, Schedule, Wish};
pub use defragmentation::{Defragmentation, WARM_BYTES};
pub use pace::{CHECKPOINT_RATE, Pace};
pub use slices::{Slices, Work};
