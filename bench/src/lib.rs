//! Load generation and measurements.

mod cli;
mod client;
mod error;
mod load;
mod storage;
mod terminal;

pub use cli::run;
