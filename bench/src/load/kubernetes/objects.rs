//! All objects of a kind: what was written, what has come back at their watch, and how many there were at a revision.

use std::time::Instant;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::super::workload::Wrong;

pub(super) const ORDER: Wrong = "wrong answer: a watch told of an event twice, or after a later one";
pub(super) const STRANGER: Wrong = "wrong answer: a watch told of an event that was not caused here";
pub(super) const MISSING: Wrong = "wrong answer: an event did not come at a watch";
pub(super) const REVISION: Wrong =
    "wrong answer: an event's mod_revision is not the revision that its write was answered with";
pub(super) const BEFORE: Wrong = "wrong answer: an event brings something else than what was there before";

pub(super) const BEYOND: Wrong =
    "wrong answer: an event's mod_revision is beyond the revision of its response";

/// Of one kind.
#[derive(Debug)]
pub(super) struct Objects {
    list: Vec<Object>,
    /// Those that exist, in no order.
    living: Vec<usize>,
    /// Whose turn it is where they take turns.
    turn: usize,
    /// They may go by themselves: they hang on leases.
    may_expire: bool,
    /// Of the last event.
    last_revision: i64,
    /// How many there were before the first event, and after each that made them more or fewer.
    counts: Vec<(i64, i64)>,
    /// Writes that were answered and have not come back.
    awaited: usize,
}

#[derive(Debug)]
struct Object {
    /// As last written; 0 for one that is not there.
    mod_revision: i64,
    /// Where it is in `living`.
    place: Option<usize>,
    write: Option<Write>,
    /// A write of it failed: nobody knows its `mod_revision` but the server.
    is_unknown: bool,
}

/// A write that has not been answered, or has not come back.
#[derive(Clone, Copy, Debug)]
struct Write {
    intended: Instant,
    is_delete: bool,
    answered: Option<i64>,
    seen: Option<i64>,
}

/// An event as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) number: Option<usize>,
    pub(super) revision: i64,
    /// Of the response it came in.
    pub(super) newest: i64,
    pub(super) is_delete: bool,
    /// The `mod_revision` of what was there before; 0 for nothing.
    pub(super) before: i64,
}

impl Objects {
    /// Those that are there, by their numbers, with their `mod_revision`s.
    pub(super) fn new(mod_revisions: &[i64], may_expire: bool) -> Objects {
        let object = |(place, mod_revision): (usize, &i64)| Object {
            mod_revision: *mod_revision,
            place: Some(place),
            write: None,
            is_unknown: false,
        };
        Objects {
            list: mod_revisions.iter().enumerate().map(object).collect(),
            living: (0..mod_revisions.len()).collect(),
            turn: 0,
            may_expire,
            last_revision: 0,
            counts: vec![(0, mod_revisions.len() as i64)],
            awaited: 0,
        }
    }

    /// A new one that is about to be created: its number.
    pub(super) fn create(&mut self, intended: Instant) -> usize {
        self.list.push(Object { mod_revision: 0, place: None, write: None, is_unknown: false });
        let number = self.list.len() - 1;
        self.write(number, false, intended);
        number
    }

    /// One that exists and waits for nothing, at random.
    pub(super) fn any(&self, random: &mut ChaCha8Rng) -> Option<usize> {
        let count = self.living.len();
        let first = if count == 0 { return None } else { random.random_range(0..count) };
        let mut order = (first..count).chain(0..first).map(|place| self.living[place]);
        order.find(|number| self.list[*number].write.is_none())
    }

    /// The one whose turn it is, among those that wait for nothing.
    pub(super) fn in_turn(&mut self) -> Option<usize> {
        let count = self.list.len();
        let mut order = (0..count).map(|step| (self.turn + step) % count);
        let number = order.find(|number| self.list[*number].write.is_none())?;
        self.turn = number + 1;
        Some(number)
    }

    /// It is about to be written: the `mod_revision` it should have, and whether that is known.
    pub(super) fn write(&mut self, number: usize, is_delete: bool, intended: Instant) -> (i64, bool) {
        let object = &mut self.list[number];
        object.write = Some(Write { intended, is_delete, answered: None, seen: None });
        (object.mod_revision, !object.is_unknown)
    }

    /// The write was carried out.
    pub(super) fn answered(&mut self, number: usize, revision: i64) -> Result<(), Wrong> {
        let object = &mut self.list[number];
        let Some(write) = &mut object.write else { return Ok(()) };
        write.answered = Some(revision);
        if std::mem::take(&mut object.is_unknown) {
            // What came meanwhile may have been caused by the write before, which seemed to have failed.
            write.seen = write.seen.filter(|seen| *seen == revision);
        }
        match write.seen {
            None => {
                self.awaited += 1;
                Ok(())
            }
            Some(seen) => {
                self.finish(number);
                if seen == revision { Ok(()) } else { Err(REVISION) }
            }
        }
    }

    /// Nobody knows whether the write was carried out.
    pub(super) fn failed(&mut self, number: usize) {
        let object = &mut self.list[number];
        (object.write, object.is_unknown) = (None, true);
    }

    /// The server has said what `mod_revision` an object has that nobody knew, and that its write was not carried out. If
    /// the object is gone, so is the write.
    pub(super) fn learned(&mut self, number: usize, mod_revision: i64) {
        let object = &mut self.list[number];
        (object.mod_revision, object.is_unknown) = (mod_revision, false);
        match &mut object.write {
            Some(write) if mod_revision != 0 => write.seen = None,
            write => *write = None,
        }
        self.place(number);
    }

    /// Its watch told of an event. Returns when the write was due that caused it, where one did.
    pub(super) fn event(&mut self, seen: Seen) -> Result<Option<Instant>, Wrong> {
        let Seen { number, revision, newest, is_delete, before } = seen;
        let number = number.filter(|number| *number < self.list.len());
        // What hangs on one lease goes at one revision.
        let is_next =
            revision > self.last_revision || self.may_expire && is_delete && revision == self.last_revision;
        if !is_next || revision > newest {
            self.come_wrong(number, is_delete);
            return Err(if is_next { BEYOND } else { ORDER });
        }
        self.last_revision = revision;
        let Some(number) = number else { return Err(STRANGER) };
        match (before == 0, is_delete) {
            (true, false) => self.count(revision, 1),
            (false, true) => self.count(revision, -1),
            _ => {}
        }
        let may_expire = self.may_expire;
        let object = &mut self.list[number];
        if object.is_unknown {
            match &mut object.write {
                Some(write) => write.seen = Some(revision),
                None => object.mod_revision = if is_delete { 0 } else { revision },
            }
            return Ok(None);
        }
        if revision == object.mod_revision {
            // The server told of it in an answer, before the watch did.
            return Ok(None);
        }
        let fits = before == object.mod_revision;
        match &mut object.write {
            Some(write) if write.seen.is_none() && write.is_delete == is_delete => {
                write.seen = Some(revision);
                let (cause, answered) = (write.intended, write.answered);
                if let Some(answered) = answered {
                    self.awaited -= 1;
                    self.finish(number);
                    if answered != revision {
                        return Err(REVISION);
                    }
                }
                if fits { Ok(Some(cause)) } else { Err(BEFORE) }
            }
            None if is_delete && may_expire && object.mod_revision != 0 => {
                object.mod_revision = 0;
                self.place(number);
                if fits { Ok(None) } else { Err(BEFORE) }
            }
            _ => Err(STRANGER),
        }
    }

    /// Writes that were answered and of which the watch has not told.
    pub(super) fn awaited(&self) -> usize {
        self.awaited
    }

    /// Waits no longer for events of writes that were due before that moment. Returns how many are missing.
    pub(super) fn give_up(&mut self, before: Instant) -> u64 {
        if self.awaited == 0 {
            return 0;
        }
        let mut missing = 0;
        for number in 0..self.list.len() {
            let late = |write: &&Write| write.answered.is_some() && write.intended < before;
            if self.list[number].write.as_ref().filter(late).is_some() {
                missing += 1;
                self.awaited -= 1;
                self.finish(number);
            }
        }
        missing
    }

    /// How many there were at a revision; none as long as its watch has not told of all before it.
    pub(super) fn count_at(&self, revision: i64) -> Option<i64> {
        if revision > self.last_revision && self.list.iter().any(|object| object.write.is_some()) {
            return None;
        }
        let after = self.counts.partition_point(|(at, _)| *at <= revision);
        Some(self.counts[after - 1].1)
    }

    /// An event has come, at a wrong place: nobody has to wait for it any more.
    fn come_wrong(&mut self, number: Option<usize>, is_delete: bool) {
        let Some(number) = number else { return };
        let Some(write) = &mut self.list[number].write else { return };
        if write.is_delete == is_delete && write.answered.is_some() && write.seen.is_none() {
            self.awaited -= 1;
            self.finish(number);
        }
    }

    fn count(&mut self, revision: i64, more: i64) {
        let (_, before) = self.counts[self.counts.len() - 1];
        self.counts.push((revision, before + more));
    }

    /// A write was answered, and has come back or will not.
    fn finish(&mut self, number: usize) {
        let object = &mut self.list[number];
        if let Some(Write { is_delete, answered: Some(revision), .. }) = object.write.take() {
            object.mod_revision = if is_delete { 0 } else { revision };
            self.place(number);
        }
    }

    /// Puts it among the living, or takes it away from there.
    fn place(&mut self, number: usize) {
        let object = &mut self.list[number];
        match (object.mod_revision != 0, object.place) {
            (true, None) => {
                object.place = Some(self.living.len());
                self.living.push(number);
            }
            (false, Some(place)) => {
                object.place = None;
                self.living.swap_remove(place);
                if let Some(moved) = self.living.get(place) {
                    self.list[*moved].place = Some(place);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn put(number: usize, revision: i64, before: i64) -> Seen {
        Seen { number: Some(number), revision, newest: 99, is_delete: false, before }
    }

    fn delete(number: usize, revision: i64, before: i64) -> Seen {
        Seen { is_delete: true, ..put(number, revision, before) }
    }

    #[test]
    fn writes_come_back_before_or_after_their_answers() {
        let now = Instant::now();
        let mut pods = Objects::new(&[5, 6], false);
        assert_eq!(pods.write(0, false, now), (5, true));
        assert_eq!(pods.event(put(0, 7, 5)), Ok(Some(now)));
        assert_eq!(pods.answered(0, 7), Ok(()));
        let new = pods.create(now);
        assert_eq!(pods.answered(new, 8), Ok(()));
        assert_eq!((pods.awaited(), pods.count_at(8)), (1, None));
        assert_eq!(pods.event(put(new, 8, 0)), Ok(Some(now)));
        pods.write(1, true, now);
        assert!(pods.answered(1, 9).is_ok() && pods.event(delete(1, 9, 6)).is_ok());
        assert_eq!(pods.awaited(), 0);
        let counts: Vec<_> = [6, 7, 8, 9, 99].into_iter().filter_map(|at| pods.count_at(at)).collect();
        assert_eq!(counts, [2, 2, 3, 2, 2]);
        let mut random = ChaCha8Rng::seed_from_u64(1);
        assert!((0..50).all(|_| pods.any(&mut random).is_some_and(|number| number != 1)));
        pods.write(0, false, now);
        pods.write(2, false, now);
        assert_eq!(pods.any(&mut random), None, "all wait for something");
    }

    #[test]
    fn turns_are_taken_by_those_that_wait_for_nothing() {
        let mut nodes = Objects::new(&[2, 3, 4], false);
        assert_eq!((nodes.in_turn(), nodes.in_turn()), (Some(0), Some(1)));
        nodes.write(2, false, Instant::now());
        assert_eq!((nodes.in_turn(), nodes.in_turn()), (Some(0), Some(1)));
    }

    #[test]
    fn every_lie_is_found() {
        let now = Instant::now();
        let mut pods = Objects::new(&[5, 6], false);
        let begin = |pods: &mut Objects, revision| {
            pods.write(0, false, now);
            pods.answered(0, revision)
        };
        assert!(begin(&mut pods, 8).is_ok());
        assert_eq!(pods.event(put(1, 7, 6)), Err(STRANGER), "nobody writes to it");
        assert_eq!(pods.event(put(0, 8, 4)), Err(BEFORE));
        assert_eq!(pods.event(put(0, 8, 5)), Err(ORDER));
        assert!(begin(&mut pods, 9).is_ok());
        assert_eq!(pods.event(put(0, 10, 8)), Err(REVISION));
        assert!(begin(&mut pods, 11).is_ok());
        assert_eq!(pods.event(delete(0, 11, 9)), Err(STRANGER), "it was not deleted");
        assert_eq!(pods.event(Seen { number: None, ..put(0, 12, 0) }), Err(STRANGER));
        assert_eq!((pods.give_up(now), pods.give_up(now + std::time::Duration::from_nanos(1))), (0, 1));
        assert_eq!(pods.awaited(), 0);
        assert_eq!(pods.event(delete(1, 13, 6)), Err(STRANGER), "pods do not go by themselves");
        assert!(begin(&mut pods, 14).is_ok());
        assert_eq!(pods.event(Seen { newest: 13, ..put(0, 14, 11) }), Err(BEYOND));
        assert_eq!((pods.awaited(), pods.last_revision), (0, 13));
        let mut events = Objects::new(&[5], true);
        assert_eq!(events.event(delete(0, 9, 5)), Ok(None));
    }

    #[test]
    fn what_failed_is_known_again_after_the_next_answer() {
        let now = Instant::now();
        let mut pods = Objects::new(&[5], false);
        pods.write(0, false, now);
        pods.failed(0);
        assert_eq!(pods.event(put(0, 9, 5)), Ok(None), "it was carried out after all");
        assert_eq!(pods.write(0, false, now), (9, false));
        pods.learned(0, 12);
        assert_eq!(pods.event(put(0, 12, 9)), Ok(None), "what was learned comes later");
        assert!(pods.answered(0, 13).is_ok());
        assert_eq!((pods.event(put(0, 13, 12)), pods.awaited()), (Ok(Some(now)), 0));
        // The next fails and was not carried out; the one after it is, and its event comes before its answer.
        pods.write(0, false, now);
        pods.failed(0);
        assert_eq!(pods.write(0, true, now), (13, false));
        assert!(pods.event(delete(0, 14, 13)).is_ok() && pods.answered(0, 14).is_ok());
        assert_eq!((pods.awaited(), pods.count_at(14)), (0, Some(0)));
    }
}
