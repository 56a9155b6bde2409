//! Calls from a fixed number of clients on one thread, each with one call outstanding: as `etcdctl check` and the rounds of
//! a comparison make them.

use std::time::{Duration, Instant};

use measure::Stop;

use crate::client::{Client, Events, Failure, Method, Outcome, Until};
use crate::error::{Error, Result};

/// How long Ctrl-C may go unnoticed while nothing is answered.
const NAP: Duration = Duration::from_millis(50);
/// A server that answers none of its calls for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client without a call is to do.
pub(crate) enum Next {
    /// Send what was written into the message.
    Call(Method),
    /// Ask again then.
    At(Instant),
    /// Nothing more: the loop ends when all calls are answered.
    End,
}

/// A call that has ended.
pub(crate) struct Done<'a> {
    /// Of which client.
    pub(crate) client: usize,
    /// When it was handed over.
    pub(crate) sent: Instant,
    /// When its answer was read.
    pub(crate) at: Instant,
    /// Its answer.
    pub(crate) answer: std::result::Result<&'a [u8], &'a Failure>,
}

/// Where calls come from and answers go.
pub(crate) trait Calls {
    /// The next call of a client; `message` comes empty.
    fn next(&mut self, client: usize, now: Instant, message: &mut Vec<u8>) -> Result<Next>;

    /// One has ended.
    fn done(&mut self, done: Done<'_>) -> Result<()>;
}

/// Runs `calls` with so many clients, spread over the connections.
///
/// # Errors
/// What `calls` returns, Ctrl-C, or that the server answers nothing for half a minute.
pub(crate) fn drive(
    client: &mut dyn Client,
    clients: usize,
    stop: &Stop,
    calls: &mut dyn Calls,
) -> Result<()> {
    let connections = client.connections();
    let mut idle: Vec<usize> = (0..clients).rev().collect();
    let mut sent = vec![Instant::now(); clients];
    let mut message = Vec::new();
    let mut events = Events::new();
    let mut heard = Instant::now();
    let mut is_over = false;
    loop {
        stop.check()?;
        let mut wake = Instant::now() + NAP;
        while let (Some(&slot), false) = (idle.last(), is_over) {
            message.clear();
            let now = Instant::now();
            match calls.next(slot, now, &mut message)? {
                Next::Call(method) => {
                    sent[slot] = now;
                    client.call(slot % connections, method, &message, slot as u64);
                    idle.pop();
                }
                Next::At(when) => {
                    wake = wake.min(when);
                    break;
                }
                Next::End => is_over = true,
            }
        }
        if idle.len() == clients {
            if is_over {
                return Ok(());
            }
            heard = Instant::now();
        }
        client
            .turn(Until::Time(wake), &mut events)
            .map_err(|error| Error::Wrong(format!("cannot wait for answers: {error}")))?;
        for event in events.iter() {
            heard = event.at;
            let answer = match event.outcome {
                Outcome::Answer(message) => Ok(message),
                Outcome::Failed(failure) => Err(failure),
                Outcome::Message(_) | Outcome::Ended => continue,
            };
            let slot = event.tag as usize;
            idle.push(slot);
            calls.done(Done { client: slot, sent: sent[slot], at: event.at, answer })?;
        }
        if heard.elapsed() > PATIENCE {
            return Err(Error::Wrong(format!(
                "the server has answered nothing for {} s",
                PATIENCE.as_secs()
            )));
        }
    }
}
