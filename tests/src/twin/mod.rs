//! The twin run: one stream of requests, two servers, every answer compared.
//!
//! A seeded generator makes requests over a small, hot key space. Each goes to the reference (a real etcd) and to the
//! subject at the same time, one request after the other, so that both go through the same states. Compared are every
//! answer, every error by code and text, and every watch event. What may differ between two clusters is masked first:
//! cluster and member ids, the raft term, ids the server chose, the order of lists that have none, and the seconds a
//! lease has left.
//!
//! Watch responses come when they come, so they are not compared one by one. Beside the watchers under test each server
//! has one that sees everything, the log. At a barrier both logs must be complete and equal, and what each watcher
//! got must be exactly what the log says it should have got: right range, filters, start and previous values, in order,
//! no revision torn apart. Before each compaction there is a barrier, so that no watcher loses history it was due.
//!
//! The hash of the keys ([`HashKV`](api::etcdserverpb::HashKvRequest)) is compared at each compaction and at the end.

mod compare;
mod endpoint;
mod generator;
mod lie;
mod request;
mod run;
mod watching;

pub use compare::difference;
pub use lie::Lie;
pub use request::{Answer, Request};
pub use run::{Options, Report, run};
