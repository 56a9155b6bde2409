//! Events that are there before a watch begins.

use bytes::Bytes;
use measure::Stop;
use rand_chacha::ChaCha8Rng;

use super::super::answer;
use super::super::values::Values;
use super::super::workload::encode;
use crate::calls::{Calls, Done, Next, drive};
use crate::client::{Client, Method};
use crate::error::{Error, Result};

/// Requests outstanding meanwhile.
const CLIENTS: usize = 256;

/// Puts so many events to each of the keys. Returns their revisions, in order, key by key.
///
/// # Errors
/// [`Error::Usage`] when the server refuses one; Ctrl-C.
pub(super) fn put(
    client: &mut dyn Client,
    keys: &[Bytes],
    events: usize,
    values: &mut Values,
    random: &mut ChaCha8Rng,
    stop: &Stop,
) -> Result<Vec<Vec<i64>>> {
    let mut puts = Puts {
        keys,
        left: events * keys.len(),
        under_way: [0; CLIENTS],
        revisions: vec![Vec::with_capacity(events); keys.len()],
        values,
        random,
    };
    drive(client, CLIENTS, stop, &mut puts)?;
    puts.revisions.iter_mut().for_each(|of_key| of_key.sort_unstable());
    Ok(puts.revisions)
}

struct Puts<'a> {
    keys: &'a [Bytes],
    left: usize,
    /// Which key each client puts to.
    under_way: [usize; CLIENTS],
    revisions: Vec<Vec<i64>>,
    values: &'a mut Values,
    random: &'a mut ChaCha8Rng,
}

impl Calls for Puts<'_> {
    fn next(&mut self, client: usize, _: std::time::Instant, message: &mut Vec<u8>) -> Result<Next> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(Next::End) };
        self.left = left;
        let key = left % self.keys.len();
        self.under_way[client] = key;
        encode::put(&self.keys[key], self.values.next(self.random), message);
        Ok(Next::Call(Method::Put))
    }

    fn done(&mut self, done: Done<'_>) -> Result<()> {
        let refused = |why: String| Error::Usage(format!("--history: the events could not be put: {why}"));
        let answer = done.answer.map_err(|failure| refused(failure.to_string()))?;
        match answer::revision(answer) {
            Ok(revision @ 1..) => {
                self.revisions[self.under_way[done.client]].push(revision);
                Ok(())
            }
            _ => Err(refused("an answer has no revision".to_owned())),
        }
    }
}
