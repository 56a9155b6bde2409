//! What measurements share, whichever program makes them: latencies, the device's floor, a directory of their own, Ctrl-C,
//! facts about the machine.

mod aligned;
pub mod cpu;
mod error;
pub mod fio;
mod floor;
mod latencies;
pub mod machine;
mod stop;
mod work_dir;

pub use aligned::Aligned;
pub use error::{Error, Result};
pub use floor::{BLOCK, Floor, Probe};
pub use latencies::{Latencies, Summary};
pub use stop::Stop;
pub use work_dir::{Maker, Scratch, WorkDir, free_bytes};
