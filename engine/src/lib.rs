//! The storage engine: a copy-on-write B+tree in one file, and MVCC on top of it.
