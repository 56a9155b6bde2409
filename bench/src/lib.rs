//! Load generation and measurements.

mod calls;
mod cli;
mod client;
mod error;
mod load;
mod preset;
mod storage;
mod terminal;

pub use cli::run;
