//! Keys and values: what a request must look like, how it becomes a proposal, and the whole read path.
//!
//! Reads run on the thread of the connection, against the newest published view; they never pass through the
//! driver. Writes are checked here, wrapped into a proposal and answered by `apply`.

mod compare;
mod failure;
mod go_order;
mod overlap;
mod proposal;
mod range;
mod range_stream;
mod record;
pub(crate) mod service;
mod txn;
mod validate;

#[cfg(test)]
mod tests;

pub(crate) use failure::Failure;
pub use proposal::{Malformed, Operation, Proposal, RequestIds};
pub(crate) use range::append_response as append_range;
pub(crate) use range_stream::RangeStream;
pub(crate) use record::append_record;
pub(crate) use txn::{HEADER as TXN_HEADER, Path, RESPONSE_RANGE, RESPONSES, SUCCEEDED, check_revision};
#[cfg(test)]
pub(crate) use validate::{check_delete, check_put, check_range, check_txn};
