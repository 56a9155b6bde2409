//! Load generation and measurements.

mod calls;
mod cli;
#[expect(dead_code, reason = "streams and rarer calls: the loads that use them come next")]
mod client;
mod compare;
mod error;
mod load;
mod prefix;
mod preset;
mod process;
mod report;
mod storage;
mod terminal;

pub use cli::run;
