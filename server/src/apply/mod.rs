//! The deterministic part of a member: an entry of the log in, a change of the store, an answer and events out.
//!
//! Nothing here waits, asks for the time, or looks at anything that could differ between two members: given the
//! same entries, two machines end with the same bytes and would give the same answers. What is local hangs on the
//! ticket: only the member whose client waits has one, and without a ticket no answer is put together.
//!
//! # A batch
//!
//! ```text
//!   apply(put a) ─┐ each: decode, check, write, answer into the batch,
//!   apply(txn b) ─┤       changes into the batch, applied index := entry
//!   apply(...)   ─┘
//!   end_batch     ── 1. publish the store     from here on reads see it
//!                    2. events to the hub     each loop finds them in its inbox before 3
//!                    3. answers to the loops  so a client that has its answer can read its write, and no
//!                                             progress notification is ahead of an event
//!   maintain      ── between batches: a little upkeep (`crate::upkeep`)
//! ```
//!
//! # Why a crash at any point is harmless
//!
//! The applied index moves with every entry, also when the request in it fails, and becomes durable in the same
//! meta page as the effects. Whatever the newest checkpoint lacks is replayed from the log, which is released only
//! up to the newest completed checkpoint.
//!
//! A failed request changes nothing: everything that can be refused is refused before the first write. After the
//! first write only damaged storage can stop a request, and that stops the member.

mod answer;
mod delete;
mod lease;
mod machine;
mod put;
mod ticket;
mod txn;

#[cfg(test)]
mod counting;
#[cfg(test)]
pub(crate) mod rig;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transcript;

use engine::Change;

pub(crate) use answer::damaged;
pub(crate) use machine::refusal;
pub use machine::{FailStop, Machine, Parts};
pub use ticket::{Errand, Ticket};

/// Who is told about changes: the watch hub.
pub trait EventSink: Send {
    /// All changes of a batch in order of their revisions, never empty. Readers can see them already; callers have
    /// not been answered yet. What is left in the list is dropped.
    fn publish(&self, changes: &mut Vec<Change>);
}
