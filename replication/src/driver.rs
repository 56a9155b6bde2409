//! The thread that drives one member: it owns the node, the log and the state machine.
//!
//! It takes everything that has queued up, makes it durable in one write, applies and answers it, and looks again.
//! While the disk is busy the next batch gathers by itself; there is no timer for it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Error;
use crate::boot::{Log, Opening};
use crate::config::{Config, FailStop};
use crate::handover::{Gather as _, Seat};
use crate::proposer::Proposer;
use crate::queue::{DriverSeat, Queue, Sitting, Stop, Worker as _};
use crate::reads::{LocalReads, Reads};
use crate::state_machine::{Refused, StateMachine};
use crate::status::Status;
use crate::transport::Transport;
use crate::turn::{Next, Turns};

/// A running member. Dropped without `stop`, it ends as if the process had been killed: nothing is answered or written
/// any more.
pub struct Driver<S: StateMachine> {
    proposer: Proposer<S::Ticket>,
    reads: Reads,
    status: Status,
    queue: Arc<Queue<S::Ticket>>,
    thread: Option<JoinHandle<(S, Result<(), Error>)>>,
}

/// Opens or makes the log, applies what it calls committed up to the next change of the membership, checks it against
/// the state, and starts the driver, which applies the rest. What can be wrong with the configuration is found first,
/// and what can be wrong with the log before this returns. A sole voter leads as soon as the rest is applied.
pub fn start<S: StateMachine>(
    config: Config,
    io: Arc<dyn wal::Io>,
    mut state: S,
    transport: Box<dyn Transport>,
) -> Result<Driver<S>, Error> {
    let opening = Opening::begin(&config, io, state.applied())?;
    opening.expect(config.identity)?;
    let log = opening.replay(&mut state)?;
    start_with(config, log, state, transport)
}

/// As `start`, with a log that was opened before. The log knows best whose it is.
pub fn start_with<S: StateMachine>(
    config: Config,
    log: Log,
    state: S,
    transport: Box<dyn Transport>,
) -> Result<Driver<S>, Error> {
    let queue = Arc::new(Queue::new(config.limits.clone()));
    let local_reads = Arc::new(LocalReads::default());
    let status = Status::default();
    let turns = Turns::new(
        &config,
        log,
        state,
        transport,
        Arc::clone(&queue),
        Arc::clone(&local_reads),
        status.clone(),
    )?;
    queue.sit().worker.worker = Some(Box::new(turns));
    let looping = Loop::<S> {
        state: PhantomData,
        queue: Arc::clone(&queue),
        status: status.clone(),
        tick: config.tick,
        fail_stop: config.fail_stop,
    };
    let thread = thread::Builder::new()
        .name("replication".to_owned())
        .spawn(move || looping.run())
        .map_err(|error| Error::Config(format!("no thread for the driver: {error}")))?;
    Ok(Driver {
        proposer: Proposer::new(Arc::clone(&queue)),
        reads: Reads::new(local_reads, Arc::clone(&queue)),
        status,
        queue,
        thread: Some(thread),
    })
}

impl<S: StateMachine> Driver<S> {
    /// Hands in proposals.
    pub fn proposer(&self) -> &Proposer<S::Ticket> {
        &self.proposer
    }

    /// Gates linearizable reads.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Tells how it stands.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Answers everything that was queued (applied, or refused as stopped), closes the log, ends the thread and hands
    /// the state machine back. An error means that storage had failed.
    pub fn stop(mut self) -> Result<S, Error> {
        self.queue.stop(Stop::Orderly);
        let thread = self.thread.take().expect("only stop and drop take it");
        let (state, result) = thread.join().map_err(|_| Error::DriverEnded)?;
        result.map(|()| state)
    }
}

impl<S: StateMachine> Drop for Driver<S> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.queue.stop(Stop::Abandoned);
            // It has panicked, or it has nothing to say.
            let _ = thread.join();
        }
    }
}

impl<S: StateMachine> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("status", &self.status).finish_non_exhaustive()
    }
}

struct Loop<S: StateMachine> {
    state: PhantomData<fn() -> S>,
    queue: Arc<Queue<S::Ticket>>,
    status: Status,
    tick: Duration,
    fail_stop: FailStop,
}

/// Callers that come later, or that the driver leaves behind when it panics, are told.
struct CloseOnDrop<T>(Arc<Queue<T>>);

impl<T> Drop for CloseOnDrop<T> {
    fn drop(&mut self) {
        self.0.close(Refused::Stopped);
        self.0.clear();
    }
}

impl<S: StateMachine> Loop<S> {
    fn run(self) -> (S, Result<(), Error>) {
        let _close = CloseOnDrop(Arc::clone(&self.queue));
        self.queue.attach();
        let result = self.turn_until_stopped();
        let worker = self.queue.sit().worker.worker.take().expect("nobody else takes it");
        let mut turns = worker.into_any().downcast::<Turns<S>>().expect("as it was put there");
        if let Err(error) = &result {
            self.queue.close(Refused::Stopped);
            self.queue.clear();
            turns.fail(error);
            (self.fail_stop)(error);
        }
        (turns.state, result)
    }

    fn turn_until_stopped(&self) -> Result<(), Error> {
        let mut clock = Ticks::new(self.tick);
        let mut next = Next::Continue;
        loop {
            if next == Next::Wait {
                self.queue.wait(clock.until_next(Instant::now()));
            }
            let mut seat = self.queue.sit();
            self.queue.take(&mut seat);
            let ticked = clock.passed(Instant::now(), &self.status);
            let Seat { worker: Sitting { worker, failed }, taken } = &mut *seat;
            let worker = worker.as_mut().expect("it sits until the end");
            match taken.stop.take() {
                Some(Stop::Abandoned) => return Ok(()),
                _ if failed.is_some() => return failed.take().map_or(Ok(()), Err),
                Some(Stop::Orderly) => return self.stop(&mut seat),
                None => next = worker.turn(taken, ticked)?,
            }
        }
    }

    /// What has come in until now still gets its turn; what comes later is refused.
    fn stop(&self, seat: &mut DriverSeat<S::Ticket>) -> Result<(), Error> {
        self.queue.close(Refused::Stopped);
        loop {
            let worker = seat.worker.worker.as_mut().expect("it sits until the end");
            let next = worker.turn(&mut seat.taken, false)?;
            if next == Next::Wait || worker.is_settled() {
                self.queue.take(seat);
                seat.taken.stop = None;
                if seat.taken.is_empty() {
                    return seat.worker.worker.as_mut().expect("as before").finish();
                }
            }
        }
    }
}

/// When the next tick is due. Ticks that were missed are not made up for: the node would see an election timeout pass
/// in which it had no chance to hear anybody.
struct Ticks {
    interval: Duration,
    due: Instant,
}

impl Ticks {
    fn new(interval: Duration) -> Ticks {
        Ticks { interval, due: Instant::now() + interval }
    }

    fn until_next(&self, now: Instant) -> Duration {
        // Zero would mean not to look at the clock again.
        self.due.saturating_duration_since(now).max(Duration::from_micros(1))
    }

    /// Whether a tick is due; at most one at a time.
    fn passed(&mut self, now: Instant, status: &Status) -> bool {
        let Some(late) = now.checked_duration_since(self.due) else { return false };
        if late > self.interval {
            status.note_late_tick();
            self.due = now + self.interval;
        } else {
            self.due += self.interval;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_ticks_are_counted_and_not_made_up_for() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let status = Status::default();
        let mut ticks = Ticks { interval: Duration::from_millis(100), due: at(100) };
        let passed: Vec<bool> =
            [99, 100, 101, 205, 1000, 1050, 1100].map(|millis| ticks.passed(at(millis), &status)).to_vec();
        assert_eq!(passed, [false, true, false, true, true, false, true]);
        assert_eq!(status.late_ticks(), 1);
        assert_eq!(ticks.until_next(at(1150)), Duration::from_millis(50));
        assert!(ticks.until_next(at(9999)) > Duration::ZERO);
    }
}
