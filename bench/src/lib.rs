//! Load generation and measurements.

mod calls;
mod cli;
mod client;
mod compare;
mod error;
mod load;
mod preset;
mod storage;
mod terminal;

pub use cli::run;
