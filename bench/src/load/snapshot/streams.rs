//! Reads snapshots on one thread, as many at a time as were asked for.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use measure::{Stop, cpu};

use super::super::driver::{Clock, Ending, Found};
use super::super::live::Live;
use super::super::plan::End;
use super::super::tally::{Streamed, Tally};
use super::super::workload::Wrong;
use super::check::Check;
use super::{FIRST_BYTE, SNAPSHOT, SnapshotLoad};
use crate::client::{Client, Event, Events, Method, Outcome, StreamId, Until};
use crate::error::{Error, Result};

/// How often Ctrl-C and the end are looked at.
const TICK: Duration = Duration::from_millis(50);
/// A server that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// The streams, each on a connection of its own.
pub(in crate::load) struct Streams<'a> {
    client: &'a mut dyn Client,
    load: &'a SnapshotLoad,
    clock: Clock,
    end: End,
    readers: Vec<Option<Reader>>,
    left: u64,
    tally: Tally,
    streamed: Streamed,
    lost: Option<String>,
}

/// One snapshot under way.
struct Reader {
    stream: StreamId,
    begun: Instant,
    has_begun: bool,
    check: Check,
}

impl<'a> Streams<'a> {
    /// `client` has a connection for each stream.
    pub(in crate::load) fn new(
        client: &'a mut dyn Client,
        load: &'a SnapshotLoad,
        end: End,
        clock: Clock,
    ) -> Streams<'a> {
        let mut tally = Tally::new(load.kinds());
        tally.headline = Some(SNAPSHOT);
        let left = match end {
            End::Total(total) => total,
            End::After(_) => u64::MAX,
        };
        let readers = (0..load.streams).map(|_| None).collect();
        let streamed = Streamed::default();
        Streams { client, load, clock, end, readers, left, tally, streamed, lost: None }
    }

    /// Reads until the end, and then what is under way.
    pub(in crate::load) fn run(mut self, stop: &Stop, shown: &Live) -> Result<Found> {
        let first = self.clock.start + self.load.alone;
        let mut events = Events::new();
        while Instant::now() < first && stop.check().is_ok() {
            self.turn(first.min(Instant::now() + TICK), &mut events)?;
        }
        let cpu_before = cpu::of_thread();
        let mut last_word = Instant::now();
        let ending = loop {
            if stop.check().is_err() {
                break Ending::Interrupted;
            }
            self.begin_all();
            if self.readers.iter().all(Option::is_none) {
                break self.lost.take().map_or(Ending::Done, Ending::Lost);
            }
            if last_word.elapsed() > SILENCE {
                break Ending::Lost(format!("nothing came for {SILENCE:?}"));
            }
            self.turn(Instant::now() + TICK, &mut events)?;
            for event in events.iter() {
                last_word = event.at;
                self.heard(&event);
            }
            self.tally.show(shown);
        };
        for reader in self.readers.iter_mut().filter_map(Option::take) {
            self.client.cancel(reader.stream);
        }
        self.load.running.store(0, Ordering::Relaxed);
        self.streamed.lasted = last_word.saturating_duration_since(first);
        self.tally.streamed = Some(self.streamed);
        let connections = 0..self.client.connections();
        self.tally.lost_connections = connections.filter(|one| !self.client.is_alive(*one)).count() as u64;
        Ok(Found { tally: self.tally, ending, cpu: cpu::of_thread().saturating_sub(cpu_before) })
    }

    fn turn(&mut self, until: Instant, events: &mut Events) -> Result<()> {
        let turned = self.client.turn(Until::Time(until), events);
        turned.map_err(|error| Error::Wrong(format!("cannot wait for answers: {error}")))
    }

    /// Where nothing is under way and more is asked for, the next begins.
    fn begin_all(&mut self) {
        for (connection, reader) in self.readers.iter_mut().enumerate() {
            let now = Instant::now();
            let is_over = match self.end {
                End::Total(_) => self.left == 0,
                End::After(duration) => now >= self.clock.start + duration,
            };
            if reader.is_some() || is_over || !self.client.is_alive(connection) {
                continue;
            }
            self.left -= 1;
            self.load.running.fetch_add(1, Ordering::Relaxed);
            let stream = self.client.open(connection, Method::Snapshot, connection as u64);
            // A `SnapshotRequest` has no fields.
            self.client.send(stream, &[]);
            self.client.finish(stream);
            *reader = Some(Reader { stream, begun: now, has_begun: false, check: Check::default() });
        }
    }

    fn heard(&mut self, event: &Event<'_>) {
        let since = |at: Instant| at.saturating_duration_since(self.clock.start);
        let at = event.tag as usize;
        // What was on its way when it was given up.
        let Some(reader) = &mut self.readers[at] else { return };
        let (begun, now) = (since(reader.begun), since(event.at));
        let how: std::result::Result<(), Wrong> = match event.outcome {
            Outcome::Message(message) => {
                if !reader.has_begun {
                    reader.has_begun = true;
                    self.tally.success(FIRST_BYTE, begun, now);
                }
                match reader.check.message(message) {
                    Ok(bytes) => {
                        self.streamed.bytes += bytes;
                        return;
                    }
                    Err(why) => Err(why),
                }
            }
            Outcome::Ended => std::mem::take(&mut reader.check).end(),
            Outcome::Failed(failure) => {
                self.tally.failure(&failure.to_string(), now);
                if failure.is_lost() {
                    self.lost = Some(failure.to_string());
                }
                return self.over(at);
            }
            Outcome::Answer(_) => unreachable!("only streams are opened"),
        };
        match how {
            Ok(()) => self.tally.success(SNAPSHOT, begun, now),
            Err(why) => {
                self.client.cancel(reader.stream);
                self.tally.failure(why, now);
                self.tally.wrong += 1;
            }
        }
        self.over(at);
    }

    fn over(&mut self, at: usize) {
        self.readers[at] = None;
        self.load.running.fetch_sub(1, Ordering::Relaxed);
    }
}
