//! `watch` and `watch-latency`: puts, and watches that have to see them.

use std::sync::Arc;
use std::time::Instant;

use api::etcdserverpb::WatchCreateRequest;
use bytes::Bytes;
use measure::Stop;
use rand_chacha::ChaCha8Rng;

use super::super::answer;
use super::super::driver::Clock;
use super::super::keys::Keys;
use super::super::plan::Plan;
use super::super::streams::{Notes, STREAM, Streams};
use super::super::tally::Tally;
use super::super::values::Values;
use super::super::work::{How, Over, Work};
use super::super::workload::{GARBLED, Source, Wrong, encode, written};
use super::ledger::{Ledger, MISSING, OTHER_KEY, STRANGER};
use super::{Created, Event, Heard, Watching, create, heard, run_number, stamp};
use crate::client::{self, Client, Method, Outcome};
use crate::error::Result;

const NO_PREV_KV: Wrong = "wrong answer: an event does not bring what the key held before";
const ODD_PREV_KV: Wrong = "wrong answer: an event brings something else than what the key held before";

/// What is to be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measures {
    /// How much a server delivers: creation of watches, puts, events.
    Throughput,
    /// How long an event takes, from its put's beginning and from its put's answer.
    Latency,
}

impl Measures {
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Measures::Throughput => &["put", "event", "watch"],
            Measures::Latency => &["put", "event", "event after answer", "watch"],
        }
    }

    /// All but the events themselves.
    fn aside(self) -> &'static [usize] {
        match self {
            Measures::Throughput => &[PUT, 2],
            Measures::Latency => &[PUT, AFTER_ANSWER, 3],
        }
    }

    /// Where creations of watches go.
    fn creation(self) -> usize {
        self.kinds().len() - 1
    }
}

const PUT: usize = 0;
const EVENT: usize = 1;
const AFTER_ANSWER: usize = 2;

/// Puts and watches of one thread.
pub(crate) struct Watch {
    measures: Measures,
    watching: Watching,
    /// Of its keys.
    names: Vec<Bytes>,
    random: ChaCha8Rng,
    values: Values,
    keys: Keys,
    run: u64,
    ledger: Ledger,
    created: Created,
    notes: Notes,
    /// Of the clients that have one outstanding.
    puts: Vec<Put>,
    /// When the next is due.
    due: Instant,
    /// The highest revision answered so far.
    seen: i64,
    lost: Option<String>,
    message: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Put {
    number: u64,
    seen: i64,
}

impl Watch {
    pub(crate) fn new(plan: &Plan, thread: usize, watching: &Watching, measures: Measures) -> Watch {
        let share = |all: u32| plan.share(thread, all as usize);
        let keys = share(watching.watched_keys);
        let Source { random, values, .. } = Source::new(plan, thread, &Arc::default());
        Watch {
            measures,
            // What the thread has of them.
            watching: Watching {
                streams: share(watching.streams) as u32,
                watchers: share(watching.watchers) as u32,
                watched_keys: keys as u32,
                ..watching.clone()
            },
            // Keys of different threads differ.
            names: (0..keys).map(|key| name(plan, key * plan.threads + thread)).collect(),
            random,
            values,
            keys: Keys::new(plan.shape, plan.key_size, keys as u64, plan.spread, &Arc::default()),
            run: run_number(),
            ledger: Ledger::new(keys, share(watching.watchers)),
            created: Created::default(),
            notes: Notes::new(),
            puts: vec![Put::default(); plan.share(thread, plan.clients)],
            due: Instant::now(),
            seen: 0,
            lost: None,
            message: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Something happened on a stream.
    fn stream(&mut self, event: &client::Event<'_>) {
        match heard(event) {
            Heard::Watch(response) => {
                let watch = usize::try_from(response.watch_id - 1).ok();
                let watch = watch.filter(|watch| *watch < self.watching.watchers as usize);
                let read = response.events(|told| match watch {
                    Some(watch) => self.event(watch, told, response.revision, event.at),
                    None => self.notes.wrong(OTHER_KEY, event.at),
                });
                if read.is_err() {
                    self.notes.wrong(GARBLED, event.at);
                }
            }
            Heard::Wrong(why) => self.notes.wrong(why, event.at),
            Heard::Canceled(response) => self.lost = Some(response.why()),
            Heard::End(why) => self.lost = Some(why),
        }
    }

    fn event(&mut self, watch: usize, event: Event<'_>, newest: i64, at: Instant) {
        let told = self.number(watch, event).and_then(|number| {
            let told = self.ledger.event(watch, number, event.kv.mod_revision, newest)?;
            self.check_before(event).map(|()| told)
        });
        match told {
            Err(why) => self.notes.wrong(why, at),
            Ok(told) => {
                self.notes.success(EVENT, told.intended, told.intended, at);
                if self.measures == Measures::Latency {
                    // One that comes before the answer has not taken any time after it.
                    let answered = told.answered.unwrap_or(at).min(at);
                    self.notes.success(AFTER_ANSWER, told.intended, answered, at);
                }
            }
        }
    }

    /// The put an event tells of.
    fn number(&self, watch: usize, event: Event<'_>) -> std::result::Result<u64, Wrong> {
        let Event { is_delete, kv, .. } = event;
        if kv.key != self.names[watch % self.names.len()] {
            return Err(OTHER_KEY);
        }
        match stamp::read(self.run, kv.value) {
            Some(number) if !is_delete => Ok(number),
            _ => Err(STRANGER),
        }
    }

    /// What the key held before, where that was asked for.
    fn check_before(&self, event: Event<'_>) -> std::result::Result<(), Wrong> {
        let Event { kv, prev_kv, .. } = event;
        match prev_kv {
            None if self.watching.prev_kv && kv.version > 1 => Err(NO_PREV_KV),
            Some(prev) if prev.key != kv.key || prev.version + 1 != kv.version => Err(ODD_PREV_KV),
            _ => Ok(()),
        }
    }
}

impl Work for Watch {
    fn kinds(&self) -> &'static [&'static str] {
        self.measures.kinds()
    }

    fn begin(&mut self, wire: &mut dyn Client, connection: usize, client: usize) {
        let chosen = self.keys.number(&mut self.random) as usize;
        let number = self.ledger.put(chosen, self.due);
        self.value.clear();
        self.value.extend_from_slice(self.values.next(&mut self.random));
        stamp::write(self.run, number, &mut self.value);
        self.message.clear();
        encode::put(&self.names[chosen], &self.value, &mut self.message);
        self.puts[client] = Put { number, seen: self.seen };
        wire.call(connection, Method::Put, &self.message, client as u64);
    }

    fn heard(&mut self, _: &mut dyn Client, event: &client::Event<'_>, over: &mut Vec<Over>) {
        if event.tag & STREAM != 0 {
            return self.stream(event);
        }
        let client = event.tag as usize;
        let Put { number, seen } = self.puts[client];
        let answer = match event.outcome {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Failed(failure) => Err(How::Failed(failure.clone())),
            Outcome::Message(_) | Outcome::Ended => unreachable!("a put is a single call"),
        };
        let revision = answer.and_then(|answer| {
            let revision = answer::revision(answer).map_err(|_| GARBLED);
            revision.and_then(|revision| written(revision, seen)).map_err(How::Wrong)
        });
        let how = match revision {
            Ok(revision) => {
                self.seen = self.seen.max(revision);
                match self.ledger.answered(number, revision, event.at) {
                    Ok(()) => How::Right(PUT),
                    Err(why) => How::Wrong(why),
                }
            }
            Err(how) => {
                self.ledger.failed(number);
                how
            }
        };
        over.push(Over { client, how });
    }

    fn streams(&mut self) -> Option<&mut dyn Streams> {
        Some(self)
    }
}

impl Streams for Watch {
    fn prepare(&mut self, wire: &mut dyn Client, stop: &Stop) -> Result<()> {
        let Watching { streams, watchers, prev_kv, .. } = self.watching;
        let names = self.names.iter().cycle().take(watchers as usize);
        let request =
            |key: &Bytes| WatchCreateRequest { key: key.clone(), prev_kv, ..WatchCreateRequest::default() };
        self.created = create(wire, streams as usize, names.map(request).collect(), stop)?;
        Ok(())
    }

    fn start(&mut self, _: &mut dyn Client, clock: Clock) {
        self.notes.start(clock);
    }

    fn due(&mut self, intended: Instant) {
        self.due = intended;
    }

    fn tell(&mut self, tally: &mut Tally) {
        tally.aside = self.measures.aside();
        self.created.tell(self.measures.creation(), tally);
        self.notes.tell(tally);
    }

    fn awaited(&mut self, _: bool) -> usize {
        self.ledger.awaited()
    }

    fn give_up(&mut self, before: Instant) {
        let at = Instant::now();
        (0..self.ledger.give_up(before)).for_each(|_| self.notes.wrong(MISSING, at));
    }

    fn lost(&self) -> Option<String> {
        self.lost.clone()
    }
}

fn name(plan: &Plan, number: usize) -> Bytes {
    let mut name = Vec::new();
    plan.shape.write(number as u64, plan.key_size, &mut name);
    name.into()
}
