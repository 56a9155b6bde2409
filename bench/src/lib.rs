//! Load generation and measurements.

mod cli;
#[expect(dead_code, reason = "streams and rarer calls: the loads that use them come next")]
mod client;
mod error;
mod load;
mod storage;
mod terminal;

pub use cli::run;
