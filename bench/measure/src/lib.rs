//! What measurements share, whichever program makes them: latencies, the device's floor, a directory of their own, Ctrl-C,
//! facts about the machine, and how results are shown.

mod aligned;
mod arrivals;
mod buckets;
pub mod cpu;
pub mod disks;
mod error;
pub mod fio;
mod floor;
pub mod hdr_log;
mod latencies;
pub mod machine;
mod median;
mod mistake;
mod mount;
mod outputs;
mod progress;
pub mod report;
mod stop;
mod table;
mod timeline;
mod undo;
pub mod units;
mod wal_method;
mod work_dir;

pub use aligned::Aligned;
pub use arrivals::Arrivals;
pub use error::{Error, Result};
pub use floor::{BLOCK, Floor, Probe};
pub use latencies::{Latencies, Summary};
pub use median::median;
pub use mistake::{command_of, mistake, mistake_in};
pub use mount::Mount;
pub use outputs::{check_outputs, check_outputs_beside, write_output};
pub use progress::Progress;
pub use stop::Stop;
pub use table::{Align, Cell, Table, Tone};
pub use timeline::Timeline;
pub use undo::{Undo, undo_on_panic};
pub use wal_method::WalMethod;
pub use work_dir::{Maker, Scratch, WorkDir, free_bytes};
