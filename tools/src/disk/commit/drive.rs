//! Load on the log: writers that wait for their answer, or records that come by themselves.

use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use measure::{Arrivals, Latencies, Progress, Result, Stop, Timeline};

use super::mailbox::{Mailbox, Taken};
use super::rig::{MOST_A_SECOND, MOST_RECORDS, Rig};
use super::schedule::Waiting;

/// How records come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// So many writers, each with its next record as soon as the last is durable.
    Writers(usize),
    /// So many a second at random moments.
    PerSecond(f64),
}

/// What came of it.
pub(crate) struct Driven {
    /// Records that were meant to come, a second; what was achieved, in the closed loop.
    pub(crate) offered: f64,
    /// Records made durable, a second, until the last was.
    pub(crate) achieved: f64,
    /// Of records, from the intended start. Those not answered in the end count with what they had waited.
    pub(crate) latency: Latencies,
    /// The same by the second of the intended start.
    pub(crate) timeline: Timeline,
    /// Of the durable writes.
    pub(crate) sync: Latencies,
    pub(crate) syncs: u64,
    pub(crate) bytes: u64,
}

/// What the writers' thread saw.
struct Seen {
    offered: u64,
    answered: u64,
    /// When the last answer came.
    took: Duration,
    timeline: Timeline,
}

/// Between two looks at what is not on the path of a record.
const LOOK: Duration = Duration::from_millis(100);
/// A thread that waits for records looks for Ctrl-C as often as this.
const NAP: Duration = Duration::from_millis(50);
/// The arrivals of every run are the same.
const SEED: u64 = 11;

impl Rig {
    /// Drives the log for so long, or until it has written as much as is allowed for that time.
    pub(crate) fn drive(
        &mut self,
        load: Load,
        time: Duration,
        stop: &Stop,
        progress: &mut Progress,
    ) -> Result<Driven> {
        let (requests, answers) = (Mailbox::new(), Mailbox::new());
        requests.is_mine();
        self.series.resume();
        let (bytes, syncs) = self.written();
        let mut sync = Latencies::new();
        let seen = thread::scope(|scope| {
            let (to, from) = (&requests, &answers);
            let writers = scope.spawn(move || {
                // Records come when they are meant to, not when the kernel finds it convenient.
                let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
                match load {
                    Load::Writers(count) => ask(count, time, to, from),
                    Load::PerSecond(rate) => offer(rate, time, to, from),
                }
            });
            let result = self.commit_all(time, stop, progress, (to, from), &mut sync);
            answers.close();
            requests.close();
            let seen = writers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result.map(|()| seen)
        })?;
        self.series.pause();
        let (bytes_after, syncs_after) = self.written();
        let syncs = syncs_after - syncs;
        let took = seen.took.as_secs_f64().max(1e-9);
        let achieved = seen.answered as f64 / took;
        Ok(Driven {
            offered: match load {
                Load::Writers(_) => achieved,
                Load::PerSecond(_) => seen.offered as f64 / time.as_secs_f64().min(took),
            },
            achieved,
            latency: seen.timeline.total().clone(),
            timeline: seen.timeline,
            sync,
            syncs,
            bytes: bytes_after - bytes,
        })
    }

    /// The committing thread, until the writers have closed their box.
    fn commit_all(
        &mut self,
        time: Duration,
        stop: &Stop,
        progress: &mut Progress,
        (requests, answers): (&Mailbox<Duration>, &Mailbox<Duration>),
        sync: &mut Latencies,
    ) -> Result<()> {
        let (begun, allowed) = (Instant::now(), (time.as_secs_f64() * MOST_A_SECOND as f64) as u64);
        let first = self.written().0;
        let mut looked = begun;
        let mut waiting = Waiting::of_this_thread();
        let (mut batch, mut answer) = (Vec::new(), Vec::new());
        loop {
            let taken = requests.take(&mut batch, NAP);
            stop.check()?;
            if taken == Taken::Closed || self.written().0 - first > allowed {
                return Ok(());
            }
            for chunk in batch.chunks(MOST_RECORDS) {
                sync.record(self.commit(chunk.len(), &mut waiting)?);
                answer.extend_from_slice(chunk);
                answers.put(&mut answer);
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                let share = (begun.elapsed().as_secs_f64() / time.as_secs_f64()).min(1.0);
                progress.update(share, Some(&sync.summary()));
            }
        }
    }
}

/// Closed loop: a record for each answer that comes, until the time is over.
fn ask(writers: usize, time: Duration, requests: &Mailbox<Duration>, answers: &Mailbox<Duration>) -> Seen {
    answers.is_mine();
    let mut timeline = Timeline::new();
    let begun = Instant::now();
    let (mut came, mut next) = (Vec::new(), vec![Duration::ZERO; writers]);
    requests.put(&mut next);
    let (mut last, mut answered) = (Duration::ZERO, 0);
    while last < time {
        match answers.take(&mut came, NAP) {
            Taken::Closed => break,
            Taken::Nothing => continue,
            Taken::Some => {}
        }
        last = begun.elapsed();
        for &asked in &came {
            timeline.record_at(asked, last.saturating_sub(asked));
            next.push(last);
        }
        answered += came.len() as u64;
        requests.put(&mut next);
    }
    requests.close();
    Seen { offered: answered, answered, took: last, timeline }
}

/// Open loop: records come when they are meant to, whatever is unanswered.
fn offer(rate: f64, time: Duration, requests: &Mailbox<Duration>, answers: &Mailbox<Duration>) -> Seen {
    answers.is_mine();
    let mut timeline = Timeline::new();
    let mut arrivals = Arrivals::poisson(rate, SEED).take_while(|&at| at < time).peekable();
    let begun = Instant::now();
    let (mut came, mut due) = (Vec::new(), Vec::new());
    let (mut offered, mut answered, mut last) = (0, 0, time);
    // What has come is answered within as much time again, or was not carried.
    let patience = time * 2;
    loop {
        let now = begun.elapsed();
        while let Some(at) = arrivals.next_if(|&at| at <= now) {
            due.push(at);
        }
        offered += due.len() as u64;
        requests.put(&mut due);
        let until = match arrivals.peek() {
            Some(&next) => next,
            None if answered == offered || now >= patience => break,
            None => patience,
        };
        if answers.take(&mut came, until.saturating_sub(now).min(NAP)) == Taken::Closed {
            break;
        }
        let now = begun.elapsed();
        for &at in &came {
            timeline.record_at(at, now.saturating_sub(at));
        }
        answered += came.len() as u64;
        if !came.is_empty() {
            last = last.max(now);
        }
    }
    // Their own moments are not known any more; they waited at least from the end of the arrivals on.
    let unanswered = offered - answered;
    if unanswered > 0 {
        let waited = begun.elapsed().saturating_sub(time);
        (0..unanswered).for_each(|_| timeline.record_at(time, waited));
    }
    requests.close();
    Seen { offered, answered, took: last.min(begun.elapsed()), timeline }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The writers' side against a thread that answers at once, but for one second of silence.
    fn stalled(rate: f64, stall: Duration) -> Seen {
        let (requests, answers) = (Mailbox::new(), Mailbox::new());
        thread::scope(|scope| {
            let offering = scope.spawn(|| offer(rate, Duration::from_secs(2), &requests, &answers));
            requests.is_mine();
            let begun = Instant::now();
            let mut stalled = false;
            let mut batch = Vec::new();
            while requests.take(&mut batch, NAP) != Taken::Closed {
                if !stalled && begun.elapsed() > Duration::from_millis(300) {
                    stalled = true;
                    thread::sleep(stall);
                }
                answers.put(&mut batch);
            }
            offering.join().unwrap()
        })
    }

    #[test]
    fn a_stall_counts_for_everybody_who_came_meanwhile() {
        let seen = stalled(2_000.0, Duration::from_secs(1));
        assert_eq!(seen.offered, seen.answered);
        assert!((3_600..4_400).contains(&seen.offered), "{}", seen.offered);
        // Half of all came during the stall and waited half a second on average: a closed loop would show one long wait.
        let p99 = seen.timeline.total().quantile(0.99);
        assert!(p99 > Duration::from_millis(900), "{p99:?}");
        assert!(seen.timeline.total().quantile(0.75) > Duration::from_millis(300));
        let planted = stalled(2_000.0, Duration::ZERO);
        assert!(
            planted.timeline.total().quantile(0.5) < Duration::from_millis(100),
            "without a stall there is none"
        );
    }
}
