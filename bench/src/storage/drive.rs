//! Load on a member: so many callers that wait for their answer, or requests that come by themselves.

use std::time::{Duration, Instant};

use measure::Latencies;

use super::entry::Batch;
use super::load::Arrivals;
use super::member::Member;
use crate::error::Result;
use measure::Stop;
use measure::cpu;

/// How requests come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many callers, each with its next request as soon as the last is answered: every batch has one of each.
    Callers(usize),
    /// So many a second at random moments, whatever is unanswered. Latency counts from the moment a request came.
    PerSecond(f64),
}

/// What the load saw.
pub(crate) struct Driven {
    pub(crate) requests: u64,
    pub(crate) took: Duration,
    pub(crate) latencies: Latencies,
    /// Of the committing thread.
    pub(crate) cpu: Duration,
    /// Of all threads of the process, checkpoints and segments included.
    pub(crate) cpu_of_all: Duration,
}

impl Driven {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn cpu_micros_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests as f64
    }

    pub(crate) fn cpu_of_all_micros_each(&self) -> f64 {
        self.cpu_of_all.as_secs_f64() * 1e6 / self.requests as f64
    }
}

/// A batch takes no more than this, as in the server.
const BATCH_BYTES: usize = 1 << 20;
/// Longest sleep between two requests, so that upkeep and Ctrl-C get their turn.
const NAP: Duration = Duration::from_millis(10);

/// Between two looks at whether memory is free again.
const HELD: Duration = Duration::from_millis(1);

/// Drives the member until `enough` says so. `next` adds one request to a batch.
pub(crate) fn drive(
    member: &mut Member,
    pace: Pace,
    stop: &Stop,
    mut next: impl FnMut(&mut Batch),
    mut enough: impl FnMut(&Progress<'_>) -> bool,
) -> Result<Driven> {
    let mut batch = Batch::default();
    let mut latencies = Latencies::new();
    let mut came = Vec::new();
    let mut requests = 0;
    let (cpu, cpu_of_all) = (cpu::of_thread(), cpu::of_process());
    let begun = Instant::now();
    let mut arrivals = match pace {
        Pace::PerSecond(rate) => Some(Arrivals::new(rate, begun, 11)),
        Pace::Callers(_) => None,
    };
    // When the callers of the batch asked.
    let mut asked = begun;
    let mut upkeep_waits = false;
    while !enough(&Progress { member, elapsed: begun.elapsed(), requests }) {
        stop.check()?;
        wait_for_room(member, stop)?;
        match (&mut arrivals, pace) {
            (Some(arrivals), _) => {
                let now = Instant::now();
                came.clear();
                while batch.bytes() < BATCH_BYTES
                    && let Some(moment) = arrivals.take(now)
                {
                    came.push(moment);
                    next(&mut batch);
                }
                if came.is_empty() && !upkeep_waits {
                    std::thread::sleep(arrivals.next().saturating_duration_since(now).min(NAP));
                    upkeep_waits = member.upkeep()?;
                    continue;
                }
            }
            (None, Pace::Callers(count)) => {
                for _ in 0..count {
                    next(&mut batch);
                }
            }
            (None, Pace::PerSecond(_)) => unreachable!("a rate has arrivals"),
        }
        let count = batch.len() as u64;
        member.commit(&mut batch)?;
        let now = Instant::now();
        if arrivals.is_some() {
            came.iter().for_each(|&moment| latencies.record(now - moment));
        } else {
            latencies.record_many(now - asked, count);
            asked = now;
        }
        requests += count;
        upkeep_waits = member.upkeep()?;
    }
    Ok(Driven {
        requests,
        took: begun.elapsed(),
        latencies,
        cpu: cpu::of_thread() - cpu,
        cpu_of_all: cpu::of_process() - cpu_of_all,
    })
}

/// Where the server would refuse requests because too many changes are in memory, whoever comes has to wait.
pub(crate) fn wait_for_room(member: &mut Member, stop: &Stop) -> Result<()> {
    while member.is_full() {
        stop.check()?;
        if !member.upkeep()? {
            std::thread::sleep(HELD);
        }
    }
    Ok(())
}

/// How far a load has come.
pub(crate) struct Progress<'m> {
    pub(crate) member: &'m Member,
    pub(crate) elapsed: Duration,
    /// Answered.
    pub(crate) requests: u64,
}

/// For [`drive`]: so long.
pub(crate) fn for_duration(duration: Duration) -> impl FnMut(&Progress<'_>) -> bool {
    move |progress| progress.elapsed >= duration
}

/// For [`drive`]: so many requests, and what is left of the last batch.
pub(crate) fn for_requests(count: u64) -> impl FnMut(&Progress<'_>) -> bool {
    move |progress| progress.requests >= count
}
