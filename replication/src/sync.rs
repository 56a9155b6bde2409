//! What threads meet at. The hand-over uses nothing else, so that its test can put a scheduler's own versions in place of
//! these and run it through thousands of interleavings (`tests/handover.rs`).

pub(crate) use std::sync::{Mutex, MutexGuard, OnceLock};
pub(crate) use std::thread::{Thread, current, park_timeout};
