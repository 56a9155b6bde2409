//! Load generation and measurements.

mod cli;
#[expect(dead_code, unused_imports, reason = "the loads that use it come next")]
mod client;
mod error;
mod storage;
mod terminal;

pub use cli::run;
