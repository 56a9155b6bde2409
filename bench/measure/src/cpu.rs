//! CPU time as the kernel accounts it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// User and system time of the calling thread since it began.
pub fn of_thread() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// User and system time of all threads of this process.
pub fn of_process() -> Duration {
    read(ClockId::ProcessCPUTime)
}
