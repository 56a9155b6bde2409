//! Does a load's work on one thread, in a closed or an open loop, and takes down what comes of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use measure::{Arrivals, Stop, cpu};

use super::live::Live;
use super::plan::End;
use super::tally::{FOUND_NOTHING, Tally};
use super::work::{How, Over, Work};
use crate::client::{Client, Event, Events, Until};
use crate::error::{Error, Result};

/// How often Ctrl-C, the end and the silence of a server are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often the thread shows how far it is.
const SHOW: Duration = Duration::from_secs(1);
/// How long answers may still come after the last request was sent.
const DRAIN: Duration = Duration::from_secs(10);
/// A server that says nothing for so long, while something is outstanding, is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// How long an open loop goes on sending, behind its end, what could not be sent in time.
const CATCH_UP: Duration = Duration::from_secs(30);
/// How long work that leaves something behind may take to settle when the load is cut short.
const SETTLE: Duration = Duration::from_secs(5);

/// One thread's part of a load.
pub(super) struct Part {
    /// Requests outstanding, at most.
    pub(super) clients: usize,
    pub(super) end: End,
    /// When requests are due since the start of the warm-up; without, in a closed loop.
    pub(super) arrivals: Option<Arrivals>,
}

/// The moments all threads share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Loading begins.
    pub(super) begin: Instant,
    /// Counting begins.
    pub(super) start: Instant,
}

/// How a part ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Interrupted,
    /// No server was left, and why.
    Lost(String),
}

/// What a thread found.
pub(super) struct Found {
    pub(super) tally: Tally,
    pub(super) ending: Ending,
    /// CPU time of the thread while it counted.
    pub(super) cpu: Duration,
}

/// The state of one thread.
pub(super) struct Driver<'a, W> {
    client: &'a mut dyn Client,
    work: W,
    part: Part,
    clock: Clock,
    /// For each client, when its piece of work was, or should have been, begun.
    intended: Vec<Instant>,
    /// Clients without work.
    free: Vec<usize>,
    /// Pieces of work that are due and find no free client.
    backlog: VecDeque<Instant>,
    /// The next to be used in an open loop.
    connection: usize,
    outstanding: usize,
    /// Of those that count, how many are still to be begun.
    left: u64,
    tally: Tally,
    /// Why the last connection that was lost was lost.
    lost: Option<String>,
}

impl<'a, W: Work> Driver<'a, W> {
    pub(super) fn new(client: &'a mut dyn Client, work: W, part: Part, clock: Clock) -> Driver<'a, W> {
        let tally = Tally::new(work.kinds());
        let left = match part.end {
            End::Total(total) => total,
            End::After(_) => u64::MAX,
        };
        Driver {
            intended: vec![clock.begin; part.clients],
            free: (0..part.clients).rev().collect(),
            client,
            work,
            part,
            clock,
            backlog: VecDeque::new(),
            connection: 0,
            outstanding: 0,
            left,
            tally,
            lost: None,
        }
    }

    /// Loads until the end, or until there is nobody left to load.
    pub(super) fn run(mut self, stop: &Stop, shown: &Live) -> Result<Found> {
        let mut arrivals = self.part.arrivals.take();
        let mut due = arrivals.as_mut().and_then(Iterator::next).map(|at| self.clock.begin + at);
        let is_open = due.is_some();
        let (mut events, mut over_now) = (Events::new(), Vec::new());
        let mut cpu_before = cpu::of_thread();
        let (mut counting, mut last_word, mut next_show) = (false, Instant::now(), self.clock.begin + SHOW);
        let mut ending = Ending::Done;
        let mut catch_up_by: Option<Instant> = None;
        if let Some(streams) = self.work.streams() {
            streams.start(self.client, self.clock);
        }
        if !is_open {
            self.fill_slots(self.clock.begin);
        }
        loop {
            let now = Instant::now();
            if !counting && now >= self.clock.start {
                counting = true;
                cpu_before = cpu::of_thread();
            }
            while let Some(at) = due.filter(|at| *at <= now) {
                if self.may_send(at) {
                    self.arrive(at);
                    due = arrivals.as_mut().and_then(Iterator::next).map(|at| self.clock.begin + at);
                } else {
                    due = None;
                }
            }
            if is_open && due.is_none() && !self.backlog.is_empty() {
                let by = *catch_up_by.get_or_insert(now + CATCH_UP);
                if now >= by {
                    self.leave_backlog();
                }
            }
            let over = if is_open { due.is_none() && self.backlog.is_empty() } else { !self.may_send(now) };
            let awaited = self.work.streams().map_or(0, |streams| streams.awaited(over));
            if over && self.outstanding + awaited == 0 {
                break;
            }
            if let Some(why) =
                self.work.streams().and_then(|streams| streams.lost()).or_else(|| self.nobody_left())
            {
                ending = Ending::Lost(why);
                break;
            }
            if stop.check().is_err() {
                ending = Ending::Interrupted;
                break;
            }
            let patience = if over { DRAIN } else { SILENCE };
            if self.outstanding + awaited > 0 && now.saturating_duration_since(last_word) > patience {
                if self.outstanding > 0 {
                    let words = format!("not answered within {patience:?}");
                    self.tally.failures_of(&words, self.outstanding as u64);
                }
                self.give_up(now);
                if !over {
                    ending = Ending::Lost(format!("no answer for {patience:?}"));
                }
                break;
            }
            if now >= next_show {
                next_show = now + SHOW;
                self.tally.show(shown);
                if let Some(before) = now.checked_sub(SILENCE) {
                    self.give_up(before);
                }
            }
            let tick = now + TICK;
            let until = due.map_or(tick, |due| due.min(tick));
            self.turn(until, &mut events)?;
            for event in events.iter() {
                last_word = event.at;
                self.heard(&event, &mut over_now, is_open);
            }
            if let Some(streams) = self.work.streams() {
                streams.tell(&mut self.tally);
            }
            if self.outstanding + awaited == 0 {
                last_word = Instant::now();
            }
        }
        let cpu = cpu::of_thread().saturating_sub(cpu_before);
        if self.work.settles() {
            self.settle(&mut events)?;
        }
        self.work.close(self.client, &mut self.tally);
        // Some are lost without a call to tell of it.
        let connections = 0..self.client.connections();
        self.tally.lost_connections = connections.filter(|one| !self.client.is_alive(*one)).count() as u64;
        Ok(Found { tally: self.tally, ending, cpu })
    }

    /// Waits no longer for what was caused before that moment.
    fn give_up(&mut self, before: Instant) {
        if let Some(streams) = self.work.streams() {
            streams.give_up(before);
            streams.tell(&mut self.tally);
        }
    }

    /// Closed loop: every client sends its first.
    fn fill_slots(&mut self, at: Instant) {
        while let Some(slot) = self.free.pop() {
            if !self.may_send(at) {
                return;
            }
            self.send(slot, slot % self.client.connections(), at);
        }
    }

    /// Whether a request of this moment still belongs to the load.
    fn may_send(&self, at: Instant) -> bool {
        match self.part.end {
            End::Total(_) => at < self.clock.start || self.left > 0,
            End::After(duration) => at < self.clock.start + duration,
        }
    }

    /// Open loop: a request is due.
    fn arrive(&mut self, at: Instant) {
        match self.free.pop() {
            Some(slot) => self.send_anywhere(slot, at),
            None => {
                // It counts from now on, though it is sent later.
                if at >= self.clock.start {
                    self.left = self.left.saturating_sub(1);
                }
                self.backlog.push_back(at);
            }
        }
    }

    /// The server is too far behind to be waited for.
    fn leave_backlog(&mut self) {
        let counted = self.backlog.drain(..).filter(|at| *at >= self.clock.start).count();
        let words = format!("due, and not sent until {CATCH_UP:?} behind the end, for want of a free client");
        self.tally.failures_of(&words, counted as u64);
    }

    fn send_anywhere(&mut self, slot: usize, at: Instant) {
        let connections = self.client.connections();
        let living = (0..connections).map(|step| (self.connection + step) % connections);
        let chosen = living.into_iter().find(|connection| self.client.is_alive(*connection));
        // With none alive it fails at once, and the run with it.
        let chosen = chosen.unwrap_or(self.connection % connections);
        self.connection = chosen + 1;
        self.send(slot, chosen, at);
    }

    fn send(&mut self, slot: usize, connection: usize, at: Instant) {
        if at >= self.clock.start {
            self.left = self.left.saturating_sub(1);
        }
        self.launch(slot, connection, at);
    }

    fn launch(&mut self, index: usize, connection: usize, at: Instant) {
        self.intended[index] = at;
        self.outstanding += 1;
        if let Some(streams) = self.work.streams() {
            streams.due(at);
        }
        self.work.begin(self.client, connection, index);
    }

    fn heard(&mut self, event: &Event<'_>, over: &mut Vec<Over>, is_open: bool) {
        self.work.heard(self.client, event, over);
        for over in over.drain(..) {
            self.over(over, event, is_open);
        }
    }

    /// A client's piece of work has ended.
    fn over(&mut self, over: Over, event: &Event<'_>, is_open: bool) {
        self.outstanding -= 1;
        let Over { client: index, how } = over;
        let (at, intended) = (event.at, self.intended[index]);
        let since = |at: Instant| at.saturating_duration_since(self.clock.start);
        let counts = intended >= self.clock.start;
        let mut is_lost = false;
        match how {
            How::Right(kind) if counts => self.tally.success(kind, since(intended), since(at)),
            How::Empty(kind) if counts => {
                self.tally.success(kind, since(intended), since(at));
                self.tally.count(FOUND_NOTHING, 1);
            }
            How::Right(_) | How::Empty(_) => {}
            // A wrong answer is one too many whenever it comes.
            How::Wrong(why) => {
                self.tally.failure(why, since(at));
                self.tally.wrong += 1;
            }
            How::Failed(failure) => {
                let words = failure.to_string();
                is_lost = failure.is_lost();
                // A lost connection is worth telling even where nothing counts yet.
                if counts || is_lost {
                    self.tally.failure(&words, since(at));
                }
                if is_lost {
                    self.lost = Some(words);
                }
            }
        }
        if is_open {
            match self.backlog.pop_front() {
                Some(at) => self.launch_anywhere(index, at),
                None => self.free.push(index),
            }
        } else if !is_lost && self.may_send(at) {
            // From the moment the answer was read: what this program takes to go on counts as latency too.
            self.send(index, event.connection, at);
        }
    }

    /// Lets what is under way come to its end, without counting it.
    fn settle(&mut self, events: &mut Events) -> Result<()> {
        let by = Instant::now() + SETTLE;
        let mut over = Vec::new();
        while self.outstanding > 0 && Instant::now() < by {
            self.turn(by, events)?;
            for event in events.iter() {
                self.work.heard(self.client, &event, &mut over);
                self.outstanding -= over.drain(..).count();
            }
        }
        Ok(())
    }

    fn turn(&mut self, until: Instant, events: &mut Events) -> Result<()> {
        let turned = self.client.turn(Until::Time(until), events);
        turned.map_err(|error| Error::Wrong(format!("cannot wait for answers: {error}")))
    }

    fn launch_anywhere(&mut self, slot: usize, at: Instant) {
        // It was counted when it arrived.
        let left = self.left;
        self.send_anywhere(slot, at);
        self.left = left;
    }

    /// Why there is no connection any more, if so.
    fn nobody_left(&self) -> Option<String> {
        let lost = self.lost.as_ref()?;
        let alive = (0..self.client.connections()).any(|connection| self.client.is_alive(connection));
        (!alive && self.outstanding == 0).then(|| lost.clone())
    }
}
