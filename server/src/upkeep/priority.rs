//! Threads that give way to those that serve.

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// Of the thread that writes checkpoints: behind the requests, but not so far that memory fills up behind it.
pub(super) const WRITER: i32 = 5;

/// Of the thread that reads through everything: whenever nothing else wants the processor.
pub(super) const BACKGROUND: i32 = 15;

/// Lowers the calling thread's priority. Linux takes the number of a thread where others take a process. Where it is
/// not permitted the thread runs as it is: it is paced in any case.
pub(super) fn lower(niceness: i32) {
    if let Err(error) = setpriority_process(Some(gettid()), niceness) {
        tracing::debug!(%error, niceness, "a thread keeps its priority");
    }
}
