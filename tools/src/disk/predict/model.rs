//! A closed system of clients, played through event by event.
//!
//! ```text
//! client thread -> network loops -> driver: takes all that has gathered | one durable write | applies -> loops -> client
//! ```
//!
//! The driver takes all there is as one turn. The client and the loops take what a connection brings, on one of the cores, and
//! what comes of it goes on together at the end of the turn: that is how sockets and queues gather in the server. While the
//! driver writes it needs no core. A lone client's put is carried out by the network loop itself: then everything simply
//! adds up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use measure::Latencies;

use super::{Machine, Puts};
use crate::disk::commit::Commit;

/// What CPU costs, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Costs {
    /// A put in the client: request and answer.
    pub(super) client_us: f64,
    /// In the network loop, on its way in.
    pub(super) request_us: f64,
    /// And out.
    pub(super) answer_us: f64,
    /// On the driver.
    pub(super) apply_us: f64,
    /// A batch on the driver, besides the durable write.
    pub(super) batch_us: f64,
    /// A turn of the client or of a loop, whatever it does: the system calls that all its puts share.
    pub(super) turn_us: f64,
    /// From waking a thread to its running.
    pub(super) wake_us: f64,
    /// A lone client's put, besides its wake-ups and its durable write: nothing is shared.
    pub(super) lone_us: f64,
    /// How much longer that takes where the CPU slept during the write, or did something else: the caches are gone.
    pub(super) cold_us: f64,
}

/// A durable write of so many microseconds leaves the caches cold; a shorter one in part.
const COLD_AFTER_US: f64 = 100.0;

/// Where the costs below were measured: 2 virtual CPUs of an AMD EPYC, Linux 6.18, release builds, the lean client.
const REFERENCE: Machine = Machine { cores: 2, work_us: 0.41, pass_us: 6.7, wake_us: 11.0 };

impl Costs {
    /// Of this machine: what the reference took, its plain work and its system calls scaled each with their own measurement.
    pub(super) fn on(machine: &Machine) -> Costs {
        let work = machine.work_us / REFERENCE.work_us;
        let calls = machine.pass_us / REFERENCE.pass_us;
        Costs {
            client_us: 1.0 * work,
            request_us: 2.1 * work,
            answer_us: 1.2 * work,
            apply_us: 3.2 * work,
            batch_us: 8.0 * work,
            turn_us: 8.0 * calls,
            wake_us: machine.wake_us,
            lone_us: 16.0 * work + 6.0 * calls,
            cold_us: 20.0 * work,
        }
    }
}

/// Points of a distribution, each standing for as many samples.
const QUANTILES: usize = 200;

/// How long a durable write takes, by the records in it.
pub(super) struct SyncCosts {
    /// In ascending order of records.
    points: Vec<SyncPoint>,
}

struct SyncPoint {
    records: f64,
    quantiles: Vec<f64>,
    /// CPU of the writing thread in one.
    cpu_us: f64,
}

impl SyncCosts {
    /// As the closed loop saw them.
    pub(super) fn of(commit: &Commit) -> SyncCosts {
        let mut points: Vec<SyncPoint> = commit
            .closed
            .iter()
            .filter(|point| point.syncs > 0)
            .map(|point| {
                let at = |number: usize| point.sync.micros((number as f64 + 0.5) / QUANTILES as f64);
                let mut quantiles: Vec<f64> = (0..QUANTILES).map(at).collect();
                // The longest of all weigh more than their quantiles say; the mean is what throughput depends on.
                let mean = quantiles.iter().sum::<f64>() / QUANTILES as f64;
                let scale = point.sync.summary().mean_us / mean.max(1e-3);
                quantiles.iter_mut().for_each(|quantile| *quantile *= scale);
                SyncPoint { records: point.batch().max(1.0), quantiles, cpu_us: point.sync_cpu_us }
            })
            .collect();
        points.sort_by(|one, other| one.records.total_cmp(&other.records));
        SyncCosts { points }
    }

    /// One that takes the same whatever is in it.
    #[cfg(test)]
    pub(super) fn constant(us: f64) -> SyncCosts {
        SyncCosts { points: vec![SyncPoint { records: 1.0, quantiles: vec![us; QUANTILES], cpu_us: 0.0 }] }
    }

    /// Microseconds of a write of so many records, at so much luck (0 to 1).
    fn take(&self, records: f64, luck: f64) -> f64 {
        let number = ((luck * QUANTILES as f64) as usize).min(QUANTILES - 1);
        self.between(records, |point| point.quantiles[number])
    }

    /// Of which the writing thread needs a core for so long.
    fn cpu(&self, records: f64) -> f64 {
        self.between(records, |point| point.cpu_us)
    }

    /// Beyond the largest batch that was measured, what that one took.
    fn between(&self, records: f64, value: impl Fn(&SyncPoint) -> f64) -> f64 {
        let at = self.points.partition_point(|point| point.records < records);
        match (at.checked_sub(1).map(|below| &self.points[below]), self.points.get(at)) {
            (None, None) => 0.0,
            (None, Some(point)) | (Some(point), None) => value(point),
            (Some(below), Some(above)) => {
                let share = (records - below.records) / (above.records - below.records).max(1e-9);
                value(below) + (value(above) - value(below)) * share
            }
        }
    }

    /// Microseconds on average.
    fn mean(&self, records: f64) -> f64 {
        let luck = |number: usize| (number as f64 + 0.5) / QUANTILES as f64;
        (0..QUANTILES).map(|number| self.take(records, luck(number))).sum::<f64>() / QUANTILES as f64
    }
}

/// A lone client: round trips with a durable write, and the work of a put.
pub(super) fn lone(round_trips: &Latencies, syncs: &SyncCosts, costs: &Costs) -> Puts {
    let sync_us = syncs.mean(1.0);
    let cold_us = costs.cold_us * (sync_us / COLD_AFTER_US).min(1.0);
    let mean_us = round_trips.summary().mean_us + costs.lone_us + cold_us;
    let writing = (sync_us / mean_us).min(1.0);
    Puts { clients: 1, per_second: 1e6 / mean_us, mean_us, batch: 1.0, disk_idle: 1.0 - writing }
}

/// Puts a second that so many clients reach.
pub(super) fn play(clients: usize, syncs: &SyncCosts, costs: &Costs, cores: usize) -> Puts {
    System::new(clients, syncs, costs, cores).run()
}

/// Puts that a turn finds at most: with few clients the sockets are read before much has come.
fn turn(clients: u64) -> u64 {
    (clients / 16).clamp(1, 10)
}

/// Puts that are played through, after those that warm up; more with many clients.
const PUTS: u64 = 8_000;
const TURNS: u64 = 24;
/// The luck of every play is the same.
const SEED: u64 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// Woken, waiting for a core, or at work.
    Busy,
    Writing,
}

struct Thread {
    state: State,
    requests: u64,
    answers: u64,
    /// What the turn under way carries.
    carried: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Woken(usize),
    TurnEnds(usize),
    Written,
}

struct System<'a> {
    syncs: &'a SyncCosts,
    costs: &'a Costs,
    threads: Vec<Thread>,
    /// Time in nanoseconds, so that events have an order.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    now: u64,
    ready: VecDeque<usize>,
    free_cores: usize,
    luck: ChaCha8Rng,
    /// The driver has written a batch and is to apply it.
    applies: bool,
    clients: u64,
    turn_of_loop: usize,
    answered: u64,
    batches: u64,
    writing_ns: u64,
}

const CLIENT: usize = 0;

impl<'a> System<'a> {
    fn new(clients: usize, syncs: &'a SyncCosts, costs: &'a Costs, cores: usize) -> System<'a> {
        // As many loops as cores, a client thread, the driver.
        let threads = (0..cores.max(1) + 2).map(|_| Thread {
            state: State::Idle,
            requests: 0,
            answers: 0,
            carried: (0, 0),
        });
        System {
            syncs,
            costs,
            threads: threads.collect(),
            events: BinaryHeap::new(),
            order: 0,
            now: 0,
            ready: VecDeque::new(),
            free_cores: cores.max(1),
            luck: ChaCha8Rng::seed_from_u64(SEED),
            applies: false,
            clients: clients as u64,
            turn_of_loop: 0,
            answered: 0,
            batches: 0,
            writing_ns: 0,
        }
    }

    fn driver(&self) -> usize {
        self.threads.len() - 1
    }

    fn loops(&self) -> usize {
        self.threads.len() - 2
    }

    fn run(mut self) -> Puts {
        self.threads[CLIENT].answers = self.clients;
        self.wake(CLIENT);
        let warm = self.clients * 4;
        let enough = warm + PUTS.max(self.clients * TURNS);
        let mut from = None;
        while self.answered < enough {
            let Some(Reverse((now, _, event))) = self.events.pop() else { break };
            self.now = now;
            match event {
                Event::Woken(thread) => self.ready.push_back(thread),
                Event::TurnEnds(thread) => {
                    self.free_cores += 1;
                    self.turn_ends(thread);
                }
                Event::Written => {
                    self.applies = true;
                    let driver = self.driver();
                    self.threads[driver].state = State::Busy;
                    self.ready.push_back(driver);
                }
            }
            self.dispatch();
            if from.is_none() && self.answered >= warm {
                from = Some((self.now, self.answered, self.batches, self.writing_ns));
            }
        }
        let (begun, answered, batches, writing) = from.unwrap_or((0, 0, 0, 0));
        let took = (self.now - begun).max(1) as f64 / 1e3;
        let puts = (self.answered - answered) as f64;
        Puts {
            clients: self.clients as usize,
            per_second: puts / took * 1e6,
            mean_us: self.clients as f64 * took / puts.max(1.0),
            batch: puts / (self.batches - batches).max(1) as f64,
            disk_idle: 1.0 - (self.writing_ns - writing) as f64 / 1e3 / took,
        }
    }

    fn at(&mut self, after_us: f64, event: Event) {
        self.order += 1;
        let time = self.now + (after_us * 1e3) as u64;
        self.events.push(Reverse((time, self.order, event)));
    }

    fn wake(&mut self, thread: usize) {
        if self.threads[thread].state == State::Idle {
            self.threads[thread].state = State::Busy;
            self.at(self.costs.wake_us, Event::Woken(thread));
        }
    }

    /// Gives cores to those that wait for one.
    fn dispatch(&mut self) {
        while self.free_cores > 0 {
            let Some(thread) = self.ready.pop_front() else { return };
            self.free_cores -= 1;
            let took = self.begin_turn(thread);
            self.at(took, Event::TurnEnds(thread));
        }
    }

    /// What a turn costs; it takes everything there is.
    fn begin_turn(&mut self, thread: usize) -> f64 {
        let costs = self.costs;
        if thread == self.driver() {
            if self.applies {
                return self.threads[thread].carried.0 as f64 * costs.apply_us + costs.batch_us / 2.0;
            }
            let gathered = std::mem::take(&mut self.threads[thread].requests);
            self.threads[thread].carried = (gathered, 0);
            return costs.batch_us / 2.0 + self.syncs.cpu(gathered as f64);
        }
        let turn = turn(self.clients);
        let one = &mut self.threads[thread];
        one.carried = (one.requests.min(turn), one.answers.min(turn));
        one.requests -= one.carried.0;
        one.answers -= one.carried.1;
        let (requests, answers) = (one.carried.0 as f64, one.carried.1 as f64);
        match thread {
            CLIENT => costs.turn_us + answers * costs.client_us,
            _ => costs.turn_us + requests * costs.request_us + answers * costs.answer_us,
        }
    }

    fn turn_ends(&mut self, thread: usize) {
        let (requests, answers) = self.threads[thread].carried;
        if thread == CLIENT {
            // Connections are dealt out to the loops in turn, and clients to connections.
            let loops = self.loops() as u64;
            for number in 0..loops {
                let share = answers / loops
                    + u64::from((number + self.turn_of_loop as u64) % loops < answers % loops);
                if share > 0 {
                    self.threads[1 + number as usize].requests += share;
                    self.wake(1 + number as usize);
                }
            }
            self.turn_of_loop = (self.turn_of_loop + 1) % self.loops();
            self.goes_on(thread);
        } else if thread != self.driver() {
            if requests > 0 {
                let driver = self.driver();
                self.threads[driver].requests += requests;
                self.wake(driver);
            }
            if answers > 0 {
                self.answered += answers;
                self.threads[CLIENT].answers += answers;
                self.wake(CLIENT);
            }
            self.goes_on(thread);
        } else if self.applies {
            self.applies = false;
            self.deal_answers(requests);
            self.goes_on(thread);
        } else {
            let luck = self.luck.random();
            let took = self.syncs.take(requests as f64, luck);
            self.threads[thread].state = State::Writing;
            self.batches += 1;
            self.writing_ns += (took * 1e3) as u64;
            // A part of the write was work for a core, and is over.
            self.at((took - self.syncs.cpu(requests as f64)).max(0.0), Event::Written);
        }
    }

    fn deal_answers(&mut self, answers: u64) {
        let loops = self.loops() as u64;
        for number in 0..loops {
            let share = answers / loops + u64::from(number < answers % loops);
            if share > 0 {
                self.threads[1 + number as usize].answers += share;
                self.wake(1 + number as usize);
            }
        }
    }

    fn goes_on(&mut self, thread: usize) {
        let one = &mut self.threads[thread];
        if one.requests + one.answers > 0 {
            // It keeps its core: nothing takes it away within so short a time.
            one.state = State::Busy;
            self.ready.push_front(thread);
        } else {
            one.state = State::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Costs = Costs {
        client_us: 0.0,
        request_us: 0.0,
        answer_us: 0.0,
        apply_us: 0.0,
        batch_us: 0.0,
        turn_us: 0.0,
        wake_us: 0.0,
        lone_us: 0.0,
        cold_us: 0.0,
    };

    fn near(found: f64, wanted: f64, percent: f64) -> bool {
        (found / wanted - 1.0).abs() <= percent / 100.0
    }

    #[test]
    fn a_lone_client_waits_for_everything_in_turn() {
        let mut round_trips = Latencies::new();
        round_trips.record_many(std::time::Duration::from_micros(900), 10);
        let puts = lone(&round_trips, &SyncCosts::constant(800.0), &Costs { lone_us: 100.0, ..FREE });
        assert!(near(puts.per_second, 1_000.0, 0.1) && near(puts.mean_us, 1_000.0, 0.1), "{puts:?}");
        assert!(near(puts.disk_idle, 0.2, 1.0), "{puts:?}");
    }

    #[test]
    fn on_a_slow_disk_every_write_carries_whoever_waits() {
        let puts =
            play(64, &SyncCosts::constant(10_000.0), &Costs { request_us: 5.0, apply_us: 3.0, ..FREE }, 2);
        // Between all of them in each write and half of them, as two groups that take turns.
        assert!((3_100.0..6_500.0).contains(&puts.per_second), "{puts:?}");
        assert!((31.0..=64.0).contains(&puts.batch) && puts.disk_idle < 0.1, "{puts:?}");
    }

    #[test]
    fn without_a_disk_the_cores_decide() {
        let costs = Costs { client_us: 2.0, request_us: 5.0, answer_us: 3.0, ..FREE };
        for (cores, wanted) in [(1, 100_000.0), (2, 200_000.0)] {
            let puts = play(1_000, &SyncCosts::constant(0.0), &costs, cores);
            assert!(near(puts.per_second, wanted, 12.0), "{cores} cores: {puts:?}");
        }
        // However many cores there are, one thread applies.
        let puts = play(1_000, &SyncCosts::constant(0.0), &Costs { apply_us: 10.0, ..costs }, 8);
        assert!(near(puts.per_second, 100_000.0, 12.0), "{puts:?}");
    }

    #[test]
    fn nobody_is_lost_and_latency_is_clients_by_rate() {
        for clients in [2, 3, 64, 1_000] {
            let costs = Costs { request_us: 5.0, wake_us: 2.0, turn_us: 3.0, ..FREE };
            let puts = play(clients, &SyncCosts::constant(100.0), &costs, 2);
            assert!(near(puts.mean_us * puts.per_second, clients as f64 * 1e6, 1.0), "{puts:?}");
            assert!(puts.batch <= clients as f64 && puts.per_second > 5_000.0, "{puts:?}");
        }
    }

    #[test]
    fn a_batch_between_two_that_were_measured_takes_time_in_between() {
        let point = |records, us| SyncPoint { records, quantiles: vec![us; QUANTILES], cpu_us: us / 10.0 };
        let syncs = SyncCosts { points: vec![point(1.0, 100.0), point(101.0, 300.0)] };
        for (records, wanted) in [(0.5, 100.0), (1.0, 100.0), (51.0, 200.0), (101.0, 300.0), (500.0, 300.0)] {
            assert!(near(syncs.mean(records), wanted, 0.1), "{records}: {}", syncs.mean(records));
            assert!(near(syncs.cpu(records), wanted / 10.0, 0.1), "{records}: {}", syncs.cpu(records));
        }
    }
}
