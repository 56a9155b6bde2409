//! Waiting to the microsecond: tokio's own timer knows whole milliseconds only, and rounds up, by which an open loop would send late.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// So long before the end tokio's timer is done for sure; until then it is the cheaper one.
const COARSE: Duration = Duration::from_millis(2);

/// A timer of the system, which tokio waits for as for a socket.
pub(super) struct Timer {
    descriptor: AsyncFd<OwnedFd>,
}

impl Timer {
    /// To be called within a runtime.
    pub(super) fn new() -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(deprecated, reason = "what came after it is unsafe; an OwnedFd is open as long as it lives")]
        let descriptor = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Timer { descriptor })
    }

    /// Waits. Where the moment has passed, others still get their turn.
    pub(super) async fn sleep_until(&self, at: Instant) -> io::Result<()> {
        if let Some(coarse) = at.checked_sub(COARSE)
            && coarse > Instant::now()
        {
            tokio::time::sleep_until(coarse.into()).await;
        }
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval: zero, it_value: left.try_into().map_err(io::Error::other)? };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
        loop {
            // What is remembered may be of a wait that was given up: only what can be read has come.
            let mut ready = self.descriptor.readable().await?;
            if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?)) {
                return read.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By how much a wait is late at the worst place between two ticks of a millisecond: of several tries the best, so that a busy
    /// machine does not count.
    async fn late(mut sleep_until: impl AsyncFnMut(Instant)) -> Duration {
        let begun = Instant::now();
        let mut worst = Duration::ZERO;
        for phase in 0..5 {
            let mut best = Duration::MAX;
            for _ in 0..15 {
                let whole = begun.elapsed().as_millis() as u64 + 3;
                let at = begun + Duration::from_millis(whole) + phase * Duration::from_micros(200);
                sleep_until(at).await;
                best = best.min(Instant::now().saturating_duration_since(at));
            }
            worst = worst.max(best);
        }
        worst
    }

    #[test]
    fn is_not_late_as_tokios_is() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let timer = Timer::new().unwrap();
            let ours = late(async |at| timer.sleep_until(at).await.unwrap()).await;
            let tokios = late(async |at| tokio::time::sleep_until(at.into()).await).await;
            let bound = Duration::from_micros(600);
            assert!(ours < bound && tokios > bound, "ours {ours:?}, tokio's {tokios:?}");
        });
    }

    #[test]
    fn a_wait_that_was_given_up_does_not_end_the_next() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let timer = Timer::new().unwrap();
            let soon = Instant::now() + Duration::from_micros(500);
            // Begun and left alone until it is over.
            let _ = tokio::time::timeout(Duration::ZERO, timer.sleep_until(soon)).await;
            tokio::time::sleep_until((soon + COARSE).into()).await;
            let at = Instant::now() + Duration::from_millis(1);
            timer.sleep_until(at).await.unwrap();
            assert!(Instant::now() >= at);
        });
    }
}
