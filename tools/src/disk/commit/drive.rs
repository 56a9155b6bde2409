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
    /// Records made durable, a second. In the open loop: of those offered, the ones that were durable when the last was due,
    /// or a [`grace`] later.
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
    /// Records that were left for the committing thread.
    offered: u64,
    answered: u64,
    /// Of those, the ones answered after the last was due: when, and how many.
    late: Vec<(Duration, u64)>,
    /// When the last answer came, or the run was ended.
    took: Duration,
    /// Enough was written before the time was over.
    cut: bool,
    timeline: Timeline,
}

/// A record that comes last waits for the write under way and for its own, and is no sign of a backlog. How long others wait
/// is what the percentiles say.
fn grace(sync: &Latencies) -> Duration {
    2 * sync.quantile(0.99) + GRACE
}

impl Seen {
    /// Records a second: those offered in an open loop of so long, and how many of them were carried.
    fn carried(&self, rate: f64, time: Duration, grace: Duration) -> (f64, f64) {
        // Of a run that was cut, what was in flight had no time to be answered.
        let until = if self.cut { self.took.saturating_sub(grace) } else { time };
        let offered = match self.cut {
            true => arrivals(rate, until).count() as u64,
            false => self.offered,
        };
        let late = self.late.iter().filter(|(at, _)| *at > until + grace).map(|(_, count)| count);
        let achieved = (self.answered - late.sum::<u64>()).min(offered);
        let a_second = |count: u64| count as f64 / until.as_secs_f64().max(1e-9);
        (a_second(offered), a_second(achieved))
    }
}

/// Between two looks at what is not on the path of a record.
const LOOK: Duration = Duration::from_millis(100);
/// A thread that waits for records looks for Ctrl-C as often as this.
const NAP: Duration = Duration::from_millis(50);
/// The arrivals of every run are the same.
const SEED: u64 = 11;
/// See [`grace`]: threads wake up late also where a sync costs nothing.
const GRACE: Duration = Duration::from_millis(1);
/// Records that are unanswered when the last is due have as much time again, and no less than this.
const PATIENCE: Duration = Duration::from_secs(2);

fn arrivals(rate: f64, until: Duration) -> impl Iterator<Item = Duration> {
    Arrivals::poisson(rate, SEED).take_while(move |&at| at < until)
}

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
        let (offered, achieved) = match load {
            Load::Writers(_) => {
                let achieved = seen.answered as f64 / seen.took.as_secs_f64().max(1e-9);
                (achieved, achieved)
            }
            Load::PerSecond(rate) => seen.carried(rate, time, grace(&sync)),
        };
        Ok(Driven {
            offered,
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
                progress.update_live(share, sync);
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
    Seen { offered: answered, answered, late: Vec::new(), took: last, cut: false, timeline }
}

/// Open loop: records come when they are meant to, whatever is unanswered. Answers come in the order of the records.
fn offer(rate: f64, time: Duration, requests: &Mailbox<Duration>, answers: &Mailbox<Duration>) -> Seen {
    answers.is_mine();
    let mut timeline = Timeline::new();
    let mut coming = arrivals(rate, time).peekable();
    let begun = Instant::now();
    let (mut came, mut due, mut late) = (Vec::new(), Vec::new(), Vec::new());
    let (mut offered, mut answered, mut last, mut cut) = (0, 0, time, false);
    // What has not come by then was not carried.
    let patience = time + time.max(PATIENCE);
    loop {
        let now = begun.elapsed();
        while let Some(at) = coming.next_if(|&at| at <= now) {
            due.push(at);
        }
        offered += due.len() as u64;
        requests.put(&mut due);
        let until = match coming.peek() {
            Some(&next) => next,
            None if answered == offered || now >= patience => break,
            None => patience,
        };
        if answers.take(&mut came, until.saturating_sub(now).min(NAP)) == Taken::Closed {
            cut = true;
            last = begun.elapsed();
            break;
        }
        let now = begun.elapsed();
        for &at in &came {
            timeline.record_at(at, now.saturating_sub(at));
        }
        answered += came.len() as u64;
        if !came.is_empty() && now > time {
            late.push((now, came.len() as u64));
            last = now;
        }
    }
    requests.close();
    if !cut {
        // They have waited at least until now. Of a run that was cut nobody knows how long the rest would have.
        let now = begun.elapsed();
        for at in arrivals(rate, time).skip(answered as usize) {
            timeline.record_at(at, now.saturating_sub(at));
        }
    }
    Seen { offered, answered, late, took: last, cut, timeline }
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

    /// The writers' side, against a log whose sync takes 20 ms and holds so many records at most.
    fn slow(rate: f64, most: usize, cut_after: Option<Duration>) -> (Seen, (f64, f64)) {
        const SYNC: Duration = Duration::from_millis(20);
        const TIME: Duration = Duration::from_millis(400);
        let (requests, answers) = (Mailbox::new(), Mailbox::new());
        let seen = thread::scope(|scope| {
            let offering = scope.spawn(|| offer(rate, TIME, &requests, &answers));
            requests.is_mine();
            let begun = Instant::now();
            let mut batch = Vec::new();
            'run: while requests.take(&mut batch, NAP) != Taken::Closed {
                for chunk in batch.chunks(most) {
                    if cut_after.is_some_and(|cut| begun.elapsed() > cut) {
                        break 'run;
                    }
                    thread::sleep(SYNC);
                    answers.put(&mut chunk.to_vec());
                }
            }
            answers.close();
            offering.join().unwrap()
        });
        // What the scheduler adds to a sleep is the test's affair, not the log's.
        let carried = seen.carried(rate, TIME, 5 * SYNC);
        (seen, carried)
    }

    #[test]
    fn what_comes_last_on_a_slow_disk_is_carried_and_a_backlog_is_not() {
        let (seen, (offered, achieved)) = slow(1_000.0, usize::MAX, None);
        assert!(achieved >= offered * 0.99, "{achieved} of {offered}");
        // Counted until the last answer, a twentieth would be missing.
        assert!((seen.answered as f64 / seen.took.as_secs_f64()) < offered * 0.99, "{:?}", seen.took);
        // Half of what comes is too much.
        let (seen, (offered, achieved)) = slow(1_000.0, 10, None);
        assert_eq!(seen.offered, seen.answered, "it had the time to catch up");
        assert!(achieved < offered * 0.9, "{achieved} of {offered}");
    }

    #[test]
    fn what_a_run_that_is_cut_leaves_in_flight_is_not_counted() {
        let (seen, (offered, achieved)) = slow(1_000.0, usize::MAX, Some(Duration::from_millis(200)));
        assert!(seen.cut && seen.offered > seen.answered, "{} of {}", seen.answered, seen.offered);
        assert_eq!(seen.timeline.total().count(), seen.answered);
        let shortest = seen.timeline.total().quantile(0.0);
        assert!(shortest > Duration::from_millis(15), "nobody was answered in {shortest:?}");
        assert!(achieved >= offered * 0.99 && offered > 500.0, "{achieved} of {offered}");
    }

    #[test]
    fn what_is_never_answered_has_waited_since_it_was_due() {
        let (requests, answers) = (Mailbox::new(), Mailbox::new());
        let time = Duration::from_millis(100);
        // Nobody takes anything.
        let seen = offer(500.0, time, &requests, &answers);
        assert!(seen.offered > 20 && seen.answered == 0 && !seen.cut);
        assert_eq!(seen.timeline.total().count(), seen.offered);
        let total = seen.timeline.total();
        let (shortest, longest) = (total.quantile(0.0), total.longest());
        // To three digits.
        assert!(
            shortest > PATIENCE.mul_f64(0.99) && longest > shortest + time / 2,
            "{shortest:?} to {longest:?}"
        );
        assert_eq!(seen.carried(500.0, time, GRACE).1, 0.0);
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
