//! The power-cut protocol: what was acknowledged must be there after the power was cut.
//!
//! `write` runs on the machine whose disk is in question. Lanes, each a thread with a way of its own to use files and a
//! method of its own to sync ([`plan`]), write sectors that say what they are ([`sector`]). After a sync has returned, the
//! lane tells the witness, over TCP and in lines with checksums ([`record`]). `witness` runs on another machine, or where a
//! cut does not reach: it syncs the lines to its own disk and says so. No lane runs ahead of what the witness holds by
//! more than [`plan::WINDOW`] writes. After the cut, `verify` compares the files with the record.
//!
//! What each lane writes follows from the seed, so that `verify` knows what must be there from one number a lane: its last
//! acknowledged write. What is there beyond that number was in flight and proves nothing; what is missing below it is a lie,
//! because the sync had returned before the witness heard of it. A file's name counts only after a sync of its directory.
//! Where the machine has not been down since, nothing was proved: what is read may come from memory ([`place::Uptime`]).
//!
//! ```text
//! writer                         disk                witness                    record
//!   write 7 of lane 3  --------->  cache
//!   sync               --------->  medium (or so it says)
//!   ack 3 7 ...        ---------------------------->  append, sync  ---------->  ack 3 7 ...
//!                      <----------------------------  recorded
//!   write 8 of lane 3  --------->  power cut
//! verify: all of writes 1 to 7 of lane 3 must be there; write 8 may be, whole, in part or not.
//! ```

pub(super) mod book;
pub(super) mod connection;
pub(super) mod folder;
pub(super) mod lane;
pub(super) mod place;
pub(super) mod plan;
pub(super) mod record;
pub(super) mod sector;
pub(super) mod verify;
pub(super) mod witness;
pub(super) mod write;
