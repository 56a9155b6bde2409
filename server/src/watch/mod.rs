//! Watch: every change of a key to everyone who asked, once, in order, without a gap.
//!
//! # How it works
//!
//! ```text
//!  apply thread                     loop thread                              client
//!  ------------                     -----------                              ------
//!  batch applied, published
//!  Hub::publish(batch) ---post---> Hub::on_post: index finds the watchers
//!                                   synced watcher -> delivery, stream woken
//!                                  WatchStream::wake: room on the stream?
//!                                     yes: response, cursor moves on ------> events
//!                                     no:  watcher lags, cursor stays
//!                                  ... client reads, stream woken again
//!                                  catch_up: history from the cursor on ---> events
//!                                     reached the present: synced again
//! ```
//!
//! A watcher is a range and a cursor (`next`: the lowest revision it has not been shown). Nothing is queued for it
//! beyond what its connection has room for: a watcher that can't be sent to merely keeps its cursor, and the events are
//! read again from the store when there is room. So a slow watcher costs nothing, holds up nobody, and loses nothing;
//! only compaction can take history from under it, and then it is canceled with the compact revision.
//!
//! All state of a loop's watchers is touched on that loop's thread only. An event is encoded once and shared by all
//! its watchers on all loops.
//!
//! # Why no event is missed or doubled
//!
//! A watcher first makes its loop expect events, then reads the current revision R. A batch after R is posted to the
//! loop, because the apply thread looks for expecting loops after it published. A batch up to R may also arrive, and is
//! recognized by its revision being below the cursor. The same comparison makes the change from lagging to synced safe:
//! history was read up to the present of some view, and posts up to there fall below the cursor.

mod catch_up;
mod events;
#[cfg(test)]
mod harness;
mod hub;
mod index;
mod response;
mod stream;
#[cfg(test)]
mod tests;
mod watcher;

pub use events::EventBatch;
pub use hub::{HeaderOf, Hub, WatchCounters, WatchOptions};
