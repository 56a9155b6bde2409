//! How Go reads and prints strings, numbers and durations, where etcdctl's output and error texts show it.

mod duration;
mod number;
mod quote;

pub(crate) use duration::{format_duration, parse_duration};
pub(crate) use number::{byte_size, parse_bool, parse_int};
pub(crate) use quote::{quote, unquote};
