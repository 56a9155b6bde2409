//! `lease`: every client has a lease; it is granted, keys are put with it, it is kept alive so many times and revoked, and then comes
//! the next one. Each of these requests is a piece of work of its own, with a latency of its own.
//!
//! Leases have numbers of this program's choice, so that one of which no answer came can be revoked as well. All leases of a connection are
//! kept alive on one stream, as etcd's client does it.
//!
//! A lease lives at least until its time to live after the last request that renewed it was sent. One that is gone sooner is a wrong
//! answer. Behind that moment a server may be right: then it only counts as a failure, because this program was late.
//!
//! When the load is over, also after Ctrl-C, everything that was granted is revoked.

mod arguments;
mod close;
mod streams;

use std::time::{Duration, Instant, SystemTime};

use super::answer::{self, Field, Fields, Garbled};
use super::tally::Tally;
use super::work::{How, Over, Work};
use super::workload::{GARBLED, NO_REVISION, Source, Wrong, encode, written};
use crate::client::{Client, Event, Failure, Method, Outcome};

pub(crate) use arguments::LeaseArguments;
use streams::Streams;

/// What leases are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseLoad {
    /// Seconds.
    pub(crate) ttl: i64,
    pub(crate) keep_alives: u32,
    pub(crate) keys: u32,
}

impl From<&LeaseArguments> for LeaseLoad {
    fn from(arguments: &LeaseArguments) -> LeaseLoad {
        let LeaseArguments { ttl, keep_alives, keys_per_lease: keys } = *arguments;
        LeaseLoad { ttl, keep_alives, keys }
    }
}

impl LeaseLoad {
    /// In words.
    pub(super) fn details(&self) -> Vec<String> {
        let mut words = vec![format!("for {} s", self.ttl), format!("kept alive {} times", self.keep_alives)];
        match self.keys {
            0 => {}
            1 => words.push("1 key with each".to_owned()),
            keys => words.push(format!("{keys} keys with each")),
        }
        words
    }
}

static KINDS: [&str; 4] = ["grant", "keep-alive", "revoke", "put"];
const GRANT: usize = 0;
const KEEP_ALIVE: usize = 1;
const REVOKE: usize = 2;
const PUT: usize = 3;

const GONE: Wrong = "wrong answer: a lease was gone before its time";
const LATE: &str = "a lease expired because its renewal was sent too late";
/// gRPC's `NotFound`.
const NOT_FOUND: u32 = 5;
/// Canceled, Unknown, DeadlineExceeded, Unavailable: what was asked for may have been done.
const UNCERTAIN: [u32; 4] = [1, 2, 4, 14];

/// The leases of one thread.
pub(super) struct Leases {
    load: LeaseLoad,
    source: Source,
    /// The number of the next lease.
    next: i64,
    /// Of each client.
    clients: Vec<Holder>,
    streams: Streams,
    /// Numbers that the server may hold though no client has them.
    strays: Vec<i64>,
    /// The highest revision answered so far.
    seen: i64,
    name: Vec<u8>,
    message: Vec<u8>,
}

/// What a client has, and what it has asked for.
struct Holder {
    lease: Option<Lease>,
    /// One of the kinds.
    asked: usize,
    /// The lease of the request, which is held only once it is granted.
    id: i64,
    sent: Instant,
    seen: i64,
}

#[derive(Clone, Copy)]
struct Lease {
    id: i64,
    /// As granted, in seconds.
    ttl: i64,
    /// When the last request was sent that renewed it.
    renewed: Instant,
    puts_left: u32,
    keep_alives_left: u32,
}

impl Lease {
    /// Whether it may have expired by then.
    fn may_be_gone(&self, at: Instant) -> bool {
        at >= self.renewed + Duration::from_secs(self.ttl.unsigned_abs())
    }
}

impl Leases {
    /// `connections` and `clients` of one of the load's threads.
    pub(super) fn new(
        load: LeaseLoad,
        source: Source,
        connections: usize,
        clients: usize,
        thread: usize,
    ) -> Leases {
        let now = Instant::now();
        let holder = || Holder { lease: None, asked: GRANT, id: 0, sent: now, seen: 0 };
        Leases {
            load,
            source,
            next: first_id(thread),
            clients: (0..clients).map(|_| holder()).collect(),
            streams: Streams::new(connections),
            strays: Vec::new(),
            seen: 0,
            name: Vec::new(),
            message: Vec::new(),
        }
    }

    /// What a client asks for next.
    fn choose(&mut self, client: usize, now: Instant) -> usize {
        match &mut self.clients[client].lease {
            None => GRANT,
            // It had to wait for too long to be of use.
            Some(lease) if lease.may_be_gone(now) => REVOKE,
            Some(Lease { puts_left: left @ 1.., .. }) => {
                *left -= 1;
                PUT
            }
            Some(Lease { keep_alives_left: left @ 1.., .. }) => {
                *left -= 1;
                KEEP_ALIVE
            }
            Some(_) => REVOKE,
        }
    }

    /// The revision of an answer that is right.
    fn check(&mut self, client: usize, answer: &[u8]) -> Result<i64, Wrong> {
        let Holder { asked, id, sent, seen, ref mut lease } = self.clients[client];
        match asked {
            GRANT => {
                let granted = granted(answer)?;
                if granted.id != id {
                    // That one has to go, too.
                    self.strays.push(granted.id);
                    return Err("wrong answer: a lease with another ID than was asked for");
                }
                if granted.ttl < self.load.ttl {
                    self.strays.push(id);
                    return Err("wrong answer: a lease was granted for less time than was asked for");
                }
                *lease = Some(Lease {
                    id,
                    ttl: granted.ttl,
                    renewed: sent,
                    puts_left: self.load.keys,
                    keep_alives_left: self.load.keep_alives,
                });
                Ok(granted.revision)
            }
            REVOKE => {
                *lease = None;
                revision(answer)
            }
            _ => written(answer::revision(answer).map_err(|_| GARBLED)?, seen),
        }
    }

    /// A keep-alive's answer, which names the right lease.
    fn kept_alive(&mut self, client: usize, granted: Granted, at: Instant) -> How {
        let Holder { sent, lease, .. } = &mut self.clients[client];
        let Some(held) = lease else { return How::Wrong("wrong answer: a lease that nobody holds is alive") };
        if granted.ttl <= 0 {
            let how = gone(held, at);
            // If it is there all the same, it shall not stay.
            self.strays.push(held.id);
            *lease = None;
            return how;
        }
        if granted.ttl != held.ttl {
            return How::Wrong(
                "wrong answer: a lease is kept alive for another time than it was granted for",
            );
        }
        held.renewed = *sent;
        How::Right(KEEP_ALIVE)
    }

    /// What a call that failed means.
    fn failed(&mut self, client: usize, failure: &Failure, at: Instant) -> How {
        let Holder { asked, id, lease, .. } = &mut self.clients[client];
        match (&lease, failure) {
            (Some(held), Failure::Status { code: NOT_FOUND, .. }) => {
                let how = gone(held, at);
                *lease = None;
                how
            }
            _ => {
                let is_certain = matches!(failure, Failure::Status { code, .. } if !UNCERTAIN.contains(code));
                if *asked == GRANT && !is_certain {
                    self.strays.push(*id);
                }
                How::Failed(failure.clone())
            }
        }
    }
}

/// What it means that the server does not know a lease.
fn gone(lease: &Lease, at: Instant) -> How {
    if lease.may_be_gone(at) {
        How::Failed(Failure::Status { code: NOT_FOUND, message: LATE.to_owned() })
    } else {
        How::Wrong(GONE)
    }
}

impl Work for Leases {
    fn kinds(&self) -> &'static [&'static str] {
        if self.load.keys > 0 { &KINDS } else { &KINDS[..PUT] }
    }

    fn begin(&mut self, wire: &mut dyn Client, connection: usize, client: usize) {
        let now = Instant::now();
        let asked = self.choose(client, now);
        if asked == GRANT {
            self.next += 1;
        }
        let holder = &mut self.clients[client];
        let id = holder.lease.map_or(self.next, |lease| lease.id);
        *holder = Holder { lease: holder.lease, asked, id, sent: now, seen: self.seen };
        let (message, number) = (&mut self.message, id.cast_unsigned());
        message.clear();
        let method = match asked {
            GRANT => {
                encode::number(1, self.load.ttl.cast_unsigned(), message);
                encode::number(2, number, message);
                Method::LeaseGrant
            }
            KEEP_ALIVE => {
                encode::number(1, number, message);
                return self.streams.send(wire, connection, client, message);
            }
            REVOKE => {
                encode::number(1, number, message);
                Method::LeaseRevoke
            }
            _ => {
                let Source { random, keys, values } = &mut self.source;
                keys.write(keys.number(random), &mut self.name);
                encode::put(&self.name, values.next(random), message);
                encode::number(3, number, message);
                Method::Put
            }
        };
        wire.call(connection, method, message, client as u64);
    }

    fn heard(&mut self, _: &mut dyn Client, event: &Event<'_>, over: &mut Vec<Over>) {
        if Streams::owns(event.tag) {
            return self.heard_on_stream(event, over);
        }
        let client = event.tag as usize;
        let how = match event.outcome {
            Outcome::Answer(answer) => match self.check(client, answer) {
                Ok(revision) => {
                    self.seen = self.seen.max(revision);
                    How::Right(self.clients[client].asked)
                }
                Err(why) => How::Wrong(why),
            },
            Outcome::Failed(failure) => self.failed(client, failure, event.at),
            Outcome::Message(_) | Outcome::Ended => unreachable!("streams have tags of their own"),
        };
        over.push(Over { client, how });
    }

    fn settles(&self) -> bool {
        true
    }

    fn close(&mut self, wire: &mut dyn Client, tally: &mut Tally) {
        self.streams.finish(wire);
        let own = self.clients.iter().filter_map(|holder| {
            // What was not answered counts as granted.
            holder
                .lease
                .map(|lease| lease.id)
                .or((holder.asked == GRANT && holder.id != 0).then_some(holder.id))
        });
        let mut left: Vec<i64> = own.chain(self.strays.iter().copied()).collect();
        left.sort_unstable();
        left.dedup();
        close::revoke(wire, &left, tally);
    }
}

impl Leases {
    fn heard_on_stream(&mut self, event: &Event<'_>, over: &mut Vec<Over>) {
        let connection = event.connection;
        let ended = match event.outcome {
            Outcome::Message(answer) => {
                let granted = granted(answer);
                let id = granted.as_ref().map_or(0, |granted| granted.id);
                // The server answers in the order it was asked; an answer about another lease is taken for that of the first who waits.
                let Some((client, is_asked_for)) =
                    self.streams.answered(connection, |client| self.clients[client].id == id)
                else {
                    return;
                };
                let how = match granted {
                    Ok(_) if !is_asked_for => {
                        How::Wrong("wrong answer: a lease is kept alive that was not asked for")
                    }
                    Ok(granted) => self.kept_alive(client, granted, event.at),
                    Err(why) => How::Wrong(why),
                };
                return over.push(Over { client, how });
            }
            Outcome::Failed(failure) => failure.clone(),
            Outcome::Ended => Failure::Invalid("the server ended the stream of keep-alives"),
            Outcome::Answer(_) => unreachable!("only streams have these tags"),
        };
        let waiting = self.streams.ended(connection);
        over.extend(waiting.map(|client| Over { client, how: How::Failed(ended.clone()) }));
    }
}

/// A `LeaseGrantResponse` or `LeaseKeepAliveResponse`.
struct Granted {
    revision: i64,
    id: i64,
    ttl: i64,
}

fn granted(answer: &[u8]) -> Result<Granted, Wrong> {
    let mut granted = Granted { revision: revision(answer)?, id: 0, ttl: 0 };
    let mut fields = Fields(answer);
    while let Some(field) = fields.next().map_err(|Garbled| GARBLED)? {
        match field {
            (2, Field::Number(id)) => granted.id = id.cast_signed(),
            (3, Field::Number(ttl)) => granted.ttl = ttl.cast_signed(),
            _ => {}
        }
    }
    Ok(granted)
}

fn revision(answer: &[u8]) -> Result<i64, Wrong> {
    match answer::revision(answer).map_err(|_| GARBLED)? {
        ..=0 => Err(NO_REVISION),
        revision => Ok(revision),
    }
}

/// Somewhere else in each run: leases of one that was killed may still be there, and other runs may be under way.
fn first_id(thread: usize) -> i64 {
    let nanos = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64;
    // Threads, of which there are at most 256, have 2^54 numbers each; the sum stays positive.
    let scattered = nanos.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 10;
    ((thread as u64) << 54 | scattered).cast_signed()
}
