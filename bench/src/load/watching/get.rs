//! `watch-get`: reads, while watches are open beside them that see nothing, or that catch up with what was before they began.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{WatchCancelRequest, WatchCreateRequest, WatchRequest};
use bytes::Bytes;
use measure::Stop;
use prost::Message;
use rand_chacha::ChaCha8Rng;

use super::super::driver::Clock;
use super::super::plan::Plan;
use super::super::streams::{Notes, STREAM, Streams};
use super::super::tally::Tally;
use super::super::values::Values;
use super::super::work::{Over, Single, Work};
use super::super::workload::{GARBLED, Range, Source, What, Wrong};
use super::create::create_request;
use super::ledger::{MISSING, OTHER_KEY, STRANGER};
use super::{Created, Event, Heard, Response, Watching, create, heard, history, run_number};
use crate::client::{self, Client};
use crate::error::Result;

/// What the watched keys begin with: no read asks for them.
const PREFIX: &str = "watched";

const CATCH_UP: usize = 1;

const SKIPPED: Wrong = "wrong answer: a watch of the past skipped an event";
const BACK: Wrong = "wrong answer: a watch of the past told of an event twice, or after a later one";

/// Reads and watches of one thread.
pub(crate) struct WatchGet {
    reads: Single,
    /// The thread's share.
    watching: Watching,
    /// Events for each key before watches begin.
    history: usize,
    names: Vec<Bytes>,
    values: Values,
    random: ChaCha8Rng,
    /// Of each key's events.
    revisions: Vec<Vec<i64>>,
    created: Created,
    watches: Vec<CatchingUp>,
    /// Those that have not caught up.
    behind: usize,
    notes: Notes,
    lost: Option<String>,
    /// Nobody begins again.
    is_over: bool,
}

/// A watch on its way through the history.
#[derive(Clone, Debug)]
struct CatchingUp {
    /// Changes with every beginning.
    watch_id: i64,
    began: Instant,
    /// How many of the events it has seen.
    seen: usize,
}

impl WatchGet {
    pub(crate) fn new(
        plan: &Plan,
        thread: usize,
        watching: &Watching,
        history: u32,
        what: What,
        counter: &Arc<AtomicU64>,
    ) -> WatchGet {
        let share = |all: u32| plan.share(thread, all as usize) as u32;
        let keys = share(watching.watched_keys);
        let run = run_number();
        let name = |key: u32| format!("{PREFIX}-{run:016x}-{thread}-{key:08}").into();
        let Source { random, values, .. } = Source::new(plan, thread, counter);
        let range = Range::new(Source::new(plan, thread, counter), what);
        WatchGet {
            reads: Single::new(Box::new(range), plan.share(thread, plan.clients)),
            watching: Watching {
                streams: share(watching.streams),
                watchers: share(watching.watchers),
                watched_keys: keys,
                ..watching.clone()
            },
            history: history as usize,
            names: (0..keys).map(name).collect(),
            values,
            random,
            revisions: Vec::new(),
            created: Created::default(),
            watches: Vec::new(),
            behind: 0,
            notes: Notes::new(),
            lost: None,
            is_over: false,
        }
    }

    fn request(&self, watch: usize, revision: i64) -> WatchCreateRequest {
        WatchCreateRequest {
            key: self.names[watch % self.names.len()].clone(),
            start_revision: revision,
            prev_kv: self.watching.prev_kv,
            ..WatchCreateRequest::default()
        }
    }

    /// Cancels a watch, and creates it anew at the beginning of its key's history.
    fn begin_again(&mut self, watch: usize, wire: &mut dyn Client) {
        let stream = self.created.streams[watch % self.created.streams.len()];
        let cancel = WatchCancelRequest { watch_id: self.watches[watch].watch_id };
        let request = WatchRequest { request_union: Some(RequestUnion::CancelRequest(cancel)) };
        wire.send(stream, &request.encode_to_vec());
        let watching = &mut self.watches[watch];
        watching.watch_id += i64::from(self.watching.watchers);
        (watching.seen, watching.began) = (0, Instant::now());
        let watch_id = watching.watch_id;
        let first = self.revisions[watch % self.names.len()][0];
        wire.send(stream, &create_request(self.request(watch, first), watch_id));
        self.behind += 1;
    }

    /// What is wrong with the next event of a watch, if anything.
    fn event(&mut self, watch: usize, event: Event<'_>) -> std::result::Result<(), Wrong> {
        let key = watch % self.names.len();
        let Event { is_delete, kv, .. } = event;
        if kv.key != self.names[key] {
            return Err(OTHER_KEY);
        }
        let empty = Vec::new();
        let revisions = self.revisions.get(key).unwrap_or(&empty);
        let watching = &mut self.watches[watch];
        match revisions.binary_search(&kv.mod_revision) {
            Ok(place) if !is_delete && place >= watching.seen => {
                let skipped = place - watching.seen;
                watching.seen = place + 1;
                if skipped == 0 { Ok(()) } else { Err(SKIPPED) }
            }
            Ok(_) if !is_delete => Err(BACK),
            _ => Err(STRANGER),
        }
    }

    fn response(&mut self, response: Response<'_>, at: Instant, wire: &mut dyn Client) {
        // What was canceled here may still have been on its way.
        let Some(watch) = self.find(response.watch_id) else { return };
        let was_behind = self.is_behind(watch);
        let read = response.events(|event| {
            if let Err(why) = self.event(watch, event) {
                self.notes.wrong(why, at);
            }
        });
        if read.is_err() {
            self.notes.wrong(GARBLED, at);
        }
        if was_behind && !self.is_behind(watch) {
            self.behind -= 1;
            if !self.is_over {
                let began = self.watches[watch].began;
                self.notes.success(CATCH_UP, began, began, at);
                self.begin_again(watch, wire);
            }
        }
    }

    fn is_behind(&self, watch: usize) -> bool {
        self.watches[watch].seen < self.history
    }

    /// Of the watches, which one it is now; none for one that was canceled here.
    fn find(&self, watch_id: i64) -> Option<usize> {
        let watch = usize::try_from(watch_id - 1).ok()? % self.watches.len();
        (self.watches[watch].watch_id == watch_id).then_some(watch)
    }
}

impl Work for WatchGet {
    fn kinds(&self) -> &'static [&'static str] {
        if self.history > 0 { &["range", "catch up", "watch"] } else { &["range", "watch"] }
    }

    fn begin(&mut self, wire: &mut dyn Client, connection: usize, client: usize) {
        self.reads.begin(wire, connection, client);
    }

    fn heard(&mut self, wire: &mut dyn Client, event: &client::Event<'_>, over: &mut Vec<Over>) {
        if event.tag & STREAM == 0 {
            return self.reads.heard(wire, event, over);
        }
        match heard(event) {
            Heard::Watch(response) => self.response(response, event.at, wire),
            Heard::Wrong(why) => self.notes.wrong(why, event.at),
            Heard::Canceled(response) if self.find(response.watch_id).is_some() => {
                self.lost = Some(response.why());
            }
            // It was canceled here.
            Heard::Canceled(_) => {}
            Heard::End(why) => self.lost = Some(why),
        }
    }

    fn streams(&mut self) -> Option<&mut dyn Streams> {
        Some(self)
    }
}

impl Streams for WatchGet {
    fn prepare(&mut self, wire: &mut dyn Client, stop: &Stop) -> Result<()> {
        if self.history > 0 {
            let WatchGet { names, history, values, random, .. } = self;
            self.revisions = history::put(wire, names, *history, values, random, stop)?;
        }
        // Watches of what is to come; those of what was begin with the load.
        let Watching { streams, watchers, .. } = self.watching;
        let watches = (0..watchers as usize).map(|watch| self.request(watch, 0)).collect();
        self.created = create(wire, streams as usize, watches, stop)?;
        let watching = |watch| CatchingUp { watch_id: i64::from(watch) + 1, began: Instant::now(), seen: 0 };
        self.watches = (0..watchers).map(watching).collect();
        Ok(())
    }

    fn start(&mut self, wire: &mut dyn Client, clock: Clock) {
        self.notes.start(clock);
        if self.history > 0 {
            (0..self.watches.len()).for_each(|watch| self.begin_again(watch, wire));
        }
    }

    fn due(&mut self, _: Instant) {}

    fn tell(&mut self, tally: &mut Tally) {
        tally.aside = if self.history > 0 { &[CATCH_UP, 2] } else { &[1] };
        self.created.tell(self.kinds().len() - 1, tally);
        self.notes.tell(tally);
    }

    fn awaited(&mut self, is_over: bool) -> usize {
        self.is_over |= is_over;
        self.behind
    }

    fn give_up(&mut self, before: Instant) {
        for watch in 0..self.watches.len() {
            if self.is_behind(watch) && self.watches[watch].began < before {
                self.notes.wrong(MISSING, Instant::now());
                self.behind -= 1;
                self.watches[watch].seen = self.history;
            }
        }
    }

    fn lost(&self) -> Option<String> {
        self.lost.clone()
    }
}
