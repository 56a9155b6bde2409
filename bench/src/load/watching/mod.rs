//! Loads of watches: `watch`, `watch-latency` and `watch-get`.
//!
//! A watch is right when every event of its key comes, each once, in ascending order of `mod_revision`; a server that forgets one
//! or tells it twice is fast for nothing. So each put's value begins with a [`stamp`] that says which put of which run it
//! is, and a [`ledger`] knows which puts each watch has yet to see. The watch of a put need not wait for the put's answer: an
//! event may come first.
//!
//! ```text
//! put 7 to key 2, due at t0 --------> answer: revision 40      kind "put": from t0
//!                           \-------> event at watch 2          kind "event": from t0; its mod_revision must be 40
//!                            \------> event at watch 12         one more "event"
//! ```
//!
//! Every thread has keys, watches and puts of its own, so what comes back on its connections is all it has to know.

mod arguments;
mod create;
mod get;
mod history;
mod ledger;
mod response;
mod stamp;
mod watch;

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use arguments::{WatchArguments, WatchGetArguments, WatchLatencyArguments, Watching};
pub(super) use create::{Created, Heard, create, heard};
pub(super) use get::WatchGet;
pub(super) use response::{Event, Response};
pub(super) use watch::{Measures, Watch};

/// Which run this is: no other has the same stamps.
fn run_number() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64 ^ u64::from(std::process::id()) << 48
}
