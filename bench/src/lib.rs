//! Load generation and measurements: the program `graven-bench`, and one of its loads for other programs of ours.

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
mod put_load;
mod report;
mod storage;
mod terminal;

pub use cli::run;
pub use put_load::{PutFigures, PutLoad};
