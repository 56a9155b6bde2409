//! The storage engine: a copy-on-write B+tree in one file, and MVCC on top of it.
#![allow(dead_code, reason = "the tree lands before its user")]

mod btree;
mod error;
mod file;
mod limits;
mod mmap;
mod schema;

pub use error::Error;
pub use file::{File, OsFile};
pub use mmap::Map;
