//! Which puts each watch has seen and which are still to come.
//!
//! Puts are numbered in the order they are sent, and within each key a second time. What a watch has seen of its key is a number below which
//! it has seen all, and the few above: puts that are under way together may be carried out in any order, so numbers may skip,
//! while `mod_revision` may only rise.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::super::workload::Wrong;

pub(super) const TWICE: Wrong = "wrong answer: an event came twice at a watch";
pub(super) const ORDER: Wrong =
    "wrong answer: an event came after a later one: mod_revision must rise at every watch";
pub(super) const MISSING: Wrong = "wrong answer: an event did not come at a watch";
pub(super) const STRANGER: Wrong =
    "wrong answer: an event of a put that was not made here; nobody else may write to the keys of this load";
pub(super) const OTHER_KEY: Wrong = "wrong answer: an event of another key than the one that is watched";
pub(super) const REVISION: Wrong =
    "wrong answer: an event's mod_revision is not the revision that its put was answered with";

pub(super) const BEYOND: Wrong =
    "wrong answer: an event's mod_revision is beyond the revision of its response";

/// Puts and who has seen them.
#[derive(Debug)]
pub(super) struct Ledger {
    keys: Vec<Key>,
    watches: Vec<Seen>,
    /// From `first` on. Those before have been seen by all, or given up.
    puts: VecDeque<Put>,
    first: u64,
    /// Puts that somebody has yet to see.
    awaited: usize,
}

#[derive(Clone, Debug, Default)]
struct Key {
    watches: Vec<u32>,
    puts: u64,
}

#[derive(Clone, Debug)]
struct Seen {
    key: u32,
    last_revision: i64,
    /// Of the key's puts it has seen all below this, and those.
    below: u64,
    above: BTreeSet<u64>,
}

#[derive(Debug)]
struct Put {
    key: u32,
    /// Among those of its key.
    place: u64,
    intended: Instant,
    answered: Option<Instant>,
    /// From its answer or from the first event; 0 as long as neither came.
    revision: i64,
    /// Watches that have not seen it.
    left: u32,
    /// It failed, and may have been carried out or not.
    is_unknown: bool,
}

/// When the put was due, and answered, that an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) intended: Instant,
    pub(super) answered: Option<Instant>,
}

impl Ledger {
    /// For so many watches; each has the key with its own number, modulo that of keys.
    pub(super) fn new(keys: usize, watches: usize) -> Ledger {
        let mut all = vec![Key::default(); keys];
        (0..watches).for_each(|watch| all[watch % keys].watches.push(watch as u32));
        let seen =
            |watch| Seen { key: (watch % keys) as u32, last_revision: 0, below: 0, above: BTreeSet::new() };
        Ledger {
            keys: all,
            watches: (0..watches).map(seen).collect(),
            puts: VecDeque::new(),
            first: 0,
            awaited: 0,
        }
    }

    /// One more put to a key, which was due at that moment: its number.
    pub(super) fn put(&mut self, key: usize, intended: Instant) -> u64 {
        let Key { watches, puts } = &mut self.keys[key];
        let left = watches.len() as u32;
        let (key, place) = (key as u32, *puts);
        *puts += 1;
        self.awaited += usize::from(left > 0);
        self.puts.push_back(Put {
            key,
            place,
            intended,
            answered: None,
            revision: 0,
            left,
            is_unknown: false,
        });
        self.first + self.puts.len() as u64 - 1
    }

    /// It was answered with a revision.
    pub(super) fn answered(&mut self, number: u64, revision: i64, at: Instant) -> Result<(), Wrong> {
        let Some(put) = self.find(number) else { return Ok(()) };
        let known = std::mem::replace(&mut put.revision, revision);
        put.answered = Some(at);
        self.forget();
        if known != 0 && known != revision { Err(REVISION) } else { Ok(()) }
    }

    /// It failed: its events may come, but nobody waits for them.
    pub(super) fn failed(&mut self, number: u64) {
        let Some(put) = self.find(number) else { return };
        let was_awaited = put.left > 0;
        put.is_unknown = true;
        self.awaited -= usize::from(was_awaited);
        self.forget();
    }

    /// A watch was told of a put, in a response of a revision.
    pub(super) fn event(
        &mut self,
        watch: usize,
        number: u64,
        revision: i64,
        newest: i64,
    ) -> Result<Told, Wrong> {
        let next = self.first + self.puts.len() as u64;
        let Some(put) = self.find(number) else {
            return Err(if number < next { TWICE } else { STRANGER });
        };
        let (key, place, known, is_unknown) = (put.key, put.place, put.revision, put.is_unknown);
        let told = Told { intended: put.intended, answered: put.answered };
        let seen = &mut self.watches[watch];
        if seen.key != key {
            return Err(OTHER_KEY);
        }
        if !seen.see(place) {
            return Err(TWICE);
        }
        let in_order = revision > seen.last_revision;
        if revision <= newest {
            seen.last_revision = seen.last_revision.max(revision);
        }
        let put = self.find(number).expect("it was found above");
        put.left -= 1;
        if known == 0 && revision <= newest {
            put.revision = revision;
        }
        if put.left == 0 && !is_unknown {
            self.awaited -= 1;
        }
        self.forget();
        match () {
            () if revision > newest => Err(BEYOND),
            () if !in_order => Err(ORDER),
            () if known != 0 && known != revision => Err(REVISION),
            () => Ok(told),
        }
    }

    /// How many puts are still to be seen by somebody.
    pub(super) fn awaited(&self) -> usize {
        self.awaited
    }

    /// Waits no longer for events of puts that were due before that moment. Returns how many are missing.
    pub(super) fn give_up(&mut self, before: Instant) -> u64 {
        let mut missing = 0;
        while let Some(put) = self.puts.front().filter(|put| put.intended < before) {
            let Put { key, place, revision, left, is_unknown, .. } = *put;
            if left > 0 {
                for watch in &self.keys[key as usize].watches {
                    self.watches[*watch as usize].see(place);
                }
                // Without a revision nobody knows that there is anything to be told of.
                missing += if revision == 0 { 0 } else { u64::from(left) };
                self.awaited -= usize::from(!is_unknown);
            }
            self.puts.pop_front();
            self.first += 1;
        }
        missing
    }

    fn find(&mut self, number: u64) -> Option<&mut Put> {
        let at = number.checked_sub(self.first)?;
        self.puts.get_mut(usize::try_from(at).ok()?)
    }

    /// Forgets the oldest puts, as far as all is known of them.
    fn forget(&mut self) {
        while let Some(put) = self.puts.front() {
            if put.left > 0 || put.answered.is_none() && !put.is_unknown {
                return;
            }
            self.puts.pop_front();
            self.first += 1;
        }
    }
}

impl Seen {
    /// Whether it had not seen this one before.
    fn see(&mut self, place: u64) -> bool {
        if place < self.below || !self.above.is_empty() && self.above.contains(&place) {
            return false;
        }
        if place > self.below {
            return self.above.insert(place);
        }
        self.below += 1;
        while self.above.remove(&self.below) {
            self.below += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Two keys; watches 0 and 2 have the first, 1 the second.
    fn ledger(now: Instant) -> Ledger {
        let mut ledger = Ledger::new(2, 3);
        for (number, key) in [0, 0, 1].into_iter().enumerate() {
            assert_eq!(ledger.put(key, now), number as u64);
        }
        ledger
    }

    #[test]
    fn each_event_once_at_each_watch_whatever_comes_first() {
        let now = Instant::now();
        let mut ledger = ledger(now);
        let later = now + Duration::from_millis(1);
        // The second put was carried out before the first, and one watch hears of it before it is answered.
        assert_eq!(ledger.event(0, 1, 10, 99), Ok(Told { intended: now, answered: None }));
        assert_eq!(ledger.answered(1, 10, later), Ok(()));
        assert_eq!(ledger.answered(0, 11, later), Ok(()));
        assert_eq!(ledger.event(0, 0, 11, 99), Ok(Told { intended: now, answered: Some(later) }));
        assert_eq!(ledger.awaited(), 3);
        assert!(ledger.event(2, 1, 10, 99).is_ok() && ledger.event(2, 0, 11, 99).is_ok());
        assert!(ledger.answered(2, 12, later).is_ok() && ledger.event(1, 2, 12, 99).is_ok());
        assert_eq!((ledger.awaited(), ledger.puts.len(), ledger.first), (0, 0, 3));
        assert_eq!(ledger.give_up(later + Duration::from_secs(9)), 0);
    }

    #[test]
    fn every_lie_is_found() {
        let now = Instant::now();
        let mut ledger = ledger(now);
        assert!(ledger.answered(0, 10, now).is_ok() && ledger.answered(1, 11, now).is_ok());
        assert_eq!(ledger.event(1, 0, 10, 99), Err(OTHER_KEY));
        assert_eq!(ledger.event(1, 3, 10, 99), Err(STRANGER));
        assert!(ledger.event(0, 1, 11, 99).is_ok());
        assert_eq!(ledger.event(0, 1, 11, 99), Err(TWICE));
        assert_eq!(ledger.event(0, 0, 10, 99), Err(ORDER));
        assert_eq!(ledger.event(0, 0, 10, 99), Err(TWICE));
        assert_eq!(ledger.event(2, 0, 9, 99), Err(REVISION));
        let mut beyond = self::ledger(now);
        assert_eq!(beyond.event(2, 0, 9, 8), Err(BEYOND));
        assert!(beyond.answered(0, 5, now).is_ok() && beyond.event(2, 1, 6, 8).is_ok());
        // Watch 2 never hears of put 1, and nobody knows about put 2.
        assert_eq!(ledger.give_up(now), 0, "those of this moment may still come");
        assert_eq!(ledger.give_up(now + Duration::from_nanos(1)), 1);
        assert_eq!((ledger.awaited(), ledger.first), (0, 3));
        assert_eq!(ledger.event(2, 1, 11, 99), Err(TWICE), "what was given up must not come either");
        let mut first = self::ledger(now);
        assert!(first.event(1, 2, 20, 99).is_ok());
        assert_eq!(first.answered(2, 21, now), Err(REVISION));
    }

    #[test]
    fn events_of_failed_puts_may_come_or_not() {
        let now = Instant::now();
        let mut ledger = ledger(now);
        (0..3).for_each(|number| ledger.failed(number));
        assert_eq!(ledger.awaited(), 0);
        assert!(ledger.event(0, 1, 5, 99).is_ok());
        assert_eq!(ledger.event(0, 1, 5, 99), Err(TWICE));
        // One watch was told of it, so the other had to be as well.
        assert_eq!(ledger.give_up(now + Duration::from_secs(1)), 1);
        assert_eq!((ledger.awaited(), ledger.puts.len()), (0, 0));
    }
}
