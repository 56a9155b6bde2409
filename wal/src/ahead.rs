//! Reads and verifies the files of a log beside the thread that opens it, and shows what is sound before the verdict on
//! all of it.
//!
//! What is shown is certain in itself: every frame holds, follows the one before, and was durable, since a later frame
//! was written. What is not certain is whether the log will be refused, for damage elsewhere. So whoever follows may
//! prepare what it likes in memory, and must not let anything of it out before [`crate::Wal::open_following`] returns.

use std::collections::BTreeMap;
use std::mem;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread::{Builder, Scope};

use crate::batch::{Entry, HardState, Position};
use crate::error::Error;
use crate::planted::{Fault, planted};
use crate::reading::{ALONE_BYTES, ReadSegment, Wanted, read};
use crate::recovery::Recovery;
use crate::scan::{Frame, Scanned, Successor};
use crate::segment::header::SegmentHeader;

/// One append, as shown to whoever follows an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The position before the first entry. Entries after it, shown before, were replaced by these.
    pub before: Position,
    /// Consecutive; may be empty.
    pub entries: Vec<Entry>,
    /// From here on, if it changed.
    pub hard_state: Option<HardState>,
}

/// Who follows an opening.
pub(crate) struct Follower<'a> {
    /// Entries up to this index need not be shown.
    pub(crate) after: u64,
    pub(crate) show: &'a mut dyn FnMut(Passage),
}

/// What is to be done with one file.
pub(crate) enum Job<'a> {
    Segment(&'a SegmentHeader, Successor<'a>),
    Blank(Wanted),
}

enum Done {
    Segment(Result<Scanned, Error>),
    Blank(Result<ReadSegment, Error>),
}

/// A passage and its place in the chain of frames.
struct Link {
    passage: Passage,
    sequence: u64,
    previous: u32,
    checksum: u32,
}

impl Link {
    fn of(frame: &Frame) -> Self {
        let passage = Passage {
            before: frame.header.before,
            entries: frame.entries.clone(),
            hard_state: frame.hard_state,
        };
        Self {
            passage,
            sequence: frame.header.sequence,
            previous: frame.header.previous,
            checksum: frame.checksum,
        }
    }
}

impl Job<'_> {
    fn id(&self) -> u64 {
        match self {
            Self::Segment(header, _) => header.id,
            Self::Blank(wanted) => wanted.id,
        }
    }

    fn file_bytes(&self) -> u64 {
        match self {
            Self::Segment(header, _) => header.file_bytes,
            Self::Blank(wanted) => wanted.file_bytes,
        }
    }

    fn carry_out(&self, recovery: &Recovery<'_>, sound: &mut dyn FnMut(&Frame)) -> Done {
        match self {
            Self::Segment(header, successor) => Done::Segment(recovery.segment(header, successor, sound)),
            Self::Blank(wanted) => Done::Blank(read(recovery, *wanted)),
        }
    }
}

/// The outcome of jobs, as it is asked for.
pub(crate) struct Ahead<'a> {
    recovery: &'a Recovery<'a>,
    /// One after the other, one further than what was taken.
    coming: Option<Receiver<(u64, Done)>>,
    there: BTreeMap<u64, Done>,
}

impl<'a> Ahead<'a> {
    /// Begins with these, in this order. Whoever drops it stops that.
    pub(crate) fn start<'scope>(
        recovery: &'scope Recovery<'scope>,
        jobs: &'scope [Job<'scope>],
        scope: &'scope Scope<'scope, '_>,
    ) -> Ahead<'scope> {
        let mut ahead = Ahead { recovery, coming: None, there: BTreeMap::new() };
        if !are_small(jobs) {
            let (sender, receiver) = sync_channel(0);
            let work = move || {
                for job in jobs {
                    if sender.send((job.id(), job.carry_out(recovery, &mut |_| {}))).is_err() {
                        return;
                    }
                }
            };
            let started = Builder::new().name("wal-read".to_owned()).spawn_scoped(scope, work);
            ahead.coming = started.is_ok().then_some(receiver);
        }
        ahead
    }

    /// Has all of these carried out, in this order, and meanwhile shows the sound frames on this thread. Nothing holds
    /// the reading up: what waits to be shown is kept for the opened log anyway.
    pub(crate) fn follow<'scope>(
        recovery: &'scope Recovery<'scope>,
        jobs: &'scope [Job<'scope>],
        scope: &'scope Scope<'scope, '_>,
        show: &mut dyn FnMut(Passage),
    ) -> Ahead<'scope> {
        let mut ahead = Ahead { recovery, coming: None, there: BTreeMap::new() };
        let mut following = Following { held: None, ended: false, show };
        let (sender, receiver) = channel();
        let work = move || {
            for job in jobs {
                let mut links = Links::default();
                let done = job.carry_out(recovery, &mut |frame| {
                    if let Some(full) = links.add(Link::of(frame)) {
                        // Whoever does not listen any more has panicked.
                        let _ = sender.send((full, None));
                    }
                });
                let _ = sender.send((links.links, Some((job.id(), done))));
            }
        };
        let started = match are_small(jobs) {
            // With its sender: nothing comes from there.
            true => {
                drop(work);
                false
            }
            false => Builder::new().name("wal-read".to_owned()).spawn_scoped(scope, work).is_ok(),
        };
        if !started {
            for job in jobs {
                let done = job.carry_out(recovery, &mut |frame| following.next(Link::of(frame)));
                ahead.there.insert(job.id(), done);
            }
        }
        for (links, done) in receiver {
            links.into_iter().for_each(|link| following.next(link));
            ahead.there.extend(done);
        }
        ahead
    }

    /// A segment that was begun, with what is known to come after it.
    pub(crate) fn segment(
        &mut self,
        header: &SegmentHeader,
        successor: &Successor<'_>,
    ) -> Result<Scanned, Error> {
        match self.take(header.id) {
            Some(Done::Segment(scanned)) => scanned,
            _ => self.recovery.segment(header, successor, &mut |_| {}),
        }
    }

    /// The file that was made ready.
    pub(crate) fn blank(&mut self, wanted: Wanted) -> Result<ReadSegment, Error> {
        match self.take(wanted.id) {
            Some(Done::Blank(read)) => read,
            _ => read(self.recovery, wanted),
        }
    }

    /// What comes before it in the order is passed over.
    fn take(&mut self, id: u64) -> Option<Done> {
        let passed = |(found, done)| (found == id).then_some(done);
        self.there.remove(&id).or_else(|| self.coming.iter().flatten().find_map(passed))
    }
}

fn are_small(jobs: &[Job<'_>]) -> bool {
    jobs.iter().map(Job::file_bytes).sum::<u64>() <= ALONE_BYTES
}

/// What goes to the other thread at a time, so that neither is woken for every frame.
#[derive(Default)]
struct Links {
    links: Vec<Link>,
    bytes: usize,
}

const LINKS_BYTES: usize = 64 << 10;

impl Links {
    /// Returns all there are once they are enough.
    fn add(&mut self, link: Link) -> Option<Vec<Link>> {
        self.bytes +=
            link.passage.entries.iter().map(|entry| entry.data.len() + size_of::<Entry>()).sum::<usize>();
        self.links.push(link);
        (self.bytes >= LINKS_BYTES).then(|| mem::take(self).links)
    }
}

/// Shows a chain of frames, each when the next one is there: the last frame of a log may turn out to have been cut
/// short.
struct Following<'a> {
    held: Option<Link>,
    /// A frame is missing; the verdict will say why.
    ended: bool,
    show: &'a mut dyn FnMut(Passage),
}

impl Following<'_> {
    fn next(&mut self, link: Link) {
        if let Some(held) = &self.held {
            if link.sequence <= held.sequence {
                // The segment is read again.
                return;
            }
            self.ended |= link.sequence != held.sequence + 1 || link.previous != held.checksum;
        }
        if self.ended {
            return;
        }
        if planted(Fault::ShowsEarly) {
            (self.show)(link.passage.clone());
            self.held = Some(link);
            return;
        }
        if let Some(vouched) = self.held.replace(link) {
            (self.show)(vouched.passage);
        }
    }
}
