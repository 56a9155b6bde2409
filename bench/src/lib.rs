//! Load generation and measurements.

mod cli;
mod error;
mod storage;
mod terminal;

pub use cli::run;
