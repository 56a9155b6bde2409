//! How often clients may ping: grpc-go's enforcement policy with etcd's numbers.

use std::time::{Duration, Instant};

/// Tolerated before the client is sent away.
const STRIKES: u32 = 2;
/// Without calls in progress a client has no reason to ping more often than this.
const WITHOUT_CALLS: Duration = Duration::from_secs(2 * 3600);

#[derive(Debug)]
pub(crate) struct PingPolicy {
    min_time: Duration,
    strikes: u32,
    last: Option<Instant>,
    /// Something was answered since the last ping, which makes the next one free.
    forgiven: bool,
    /// Pings so far; each was acknowledged with a frame of its own.
    pings: u64,
    /// Bytes written besides acknowledgements when they last forgave.
    answered_bytes: u64,
}

/// A PING frame.
const PING_BYTES: u64 = 17;
/// Written bytes that can only be headers and data: settings and window updates are far smaller.
const ANSWER_BYTES: u64 = 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    TooMany,
}

impl PingPolicy {
    pub(crate) fn new(min_time: Duration) -> PingPolicy {
        PingPolicy { min_time, strikes: 0, last: None, forgiven: false, pings: 0, answered_bytes: 0 }
    }

    /// Headers or data were sent.
    pub(crate) fn answered(&mut self) {
        self.forgiven = true;
    }

    /// The connection has written so many bytes in all. A large answer is on its way long after it was handed to h2, and
    /// a client that measures the bandwidth meanwhile pings with every window of it.
    pub(crate) fn wrote(&mut self, total: u64) {
        let answered = total.saturating_sub(self.pings * PING_BYTES);
        if answered >= self.answered_bytes + ANSWER_BYTES {
            self.answered_bytes = answered;
            self.answered();
        }
    }

    /// A ping came; `active` tells whether calls are in progress.
    pub(crate) fn ping(&mut self, now: Instant, active: bool) -> Verdict {
        self.pings += 1;
        let last = self.last.replace(now);
        if std::mem::take(&mut self.forgiven) {
            self.strikes = 0;
            return Verdict::Fine;
        }
        let apart = if active { self.min_time } else { WITHOUT_CALLS };
        if last.is_some_and(|last| now < last + apart) {
            self.strikes += 1;
        }
        if self.strikes > STRIKES { Verdict::TooMany } else { Verdict::Fine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_answer_forgives_while_it_is_on_its_way_and_acknowledgements_do_not() {
        let (mut policy, now) = (PingPolicy::new(Duration::from_secs(5)), Instant::now());
        let mut written = 0;
        for _ in 0..100 {
            written += 16 * 1024 + PING_BYTES;
            policy.wrote(written);
            assert_eq!(policy.ping(now, true), Verdict::Fine);
        }
        let mut verdicts = (0..300).map(|_| {
            written += PING_BYTES;
            policy.wrote(written);
            policy.ping(now, true)
        });
        assert!(verdicts.any(|verdict| verdict == Verdict::TooMany));
    }

    #[test]
    fn strikes_as_in_grpc_go() {
        let second = Duration::from_secs(1);
        // (seconds since the ping before, calls in progress, answered in between) -> still welcome
        let cases: [&[(u64, bool, bool, bool)]; 4] = [
            // With calls in progress every 5 s is fine.
            &[(0, true, false, true), (5, true, false, true), (5, true, false, true), (5, true, false, true)],
            // More often: the fourth ping is the third strike.
            &[
                (0, true, false, true),
                (4, true, false, true),
                (4, true, false, true),
                (4, true, false, false),
            ],
            // An answer in between forgives all.
            &[(0, true, false, true), (1, true, false, true), (1, true, false, true), (1, true, true, true)],
            // Without calls 5 s is too often.
            &[
                (0, false, false, true),
                (9, false, false, true),
                (9, false, false, true),
                (9, false, false, false),
            ],
        ];
        for (number, pings) in cases.iter().enumerate() {
            let mut policy = PingPolicy::new(5 * second);
            let mut now = Instant::now();
            for &(apart, active, answered, welcome) in *pings {
                now += u32::try_from(apart).expect("small") * second;
                if answered {
                    policy.answered();
                }
                assert_eq!(policy.ping(now, active) == Verdict::Fine, welcome, "case {number}");
            }
        }
    }
}
