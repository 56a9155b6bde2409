//! What is there before the load begins: nodes, their Leases, and pods.

use std::time::{Duration, Instant};

use api::etcdserverpb::{RangeRequest, RangeResponse};
use bytes::Bytes;
use measure::Stop;

use super::super::answer;
use super::arguments::Cluster;
use super::requests;
use super::resource::{Resource, end_of};
use crate::calls::{Calls, Done, Next, drive};
use crate::client::{Client, Events, Method, Until, ask};
use crate::error::{Error, Result};

/// Requests outstanding meanwhile.
const CLIENTS: usize = 64;
/// How long what is under way may take when it is cut short, and for how long nothing comes when there is no more.
const SETTLE: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_millis(300);

/// Makes sure that nothing is there that is not ours to delete.
///
/// # Errors
/// [`Error::Usage`] when something is.
pub(super) fn check_empty(wire: &mut dyn Client, root: &str) -> Result<()> {
    let prefix = format!("{root}/");
    let request = RangeRequest {
        key: prefix.clone().into(),
        range_end: end_of(&prefix),
        count_only: true,
        ..RangeRequest::default()
    };
    let refused = |why: String| Error::Usage(format!("--prefix {root}: {why}"));
    let there: RangeResponse =
        ask(wire, 0, Method::Range, &request).map_err(|failure| refused(failure.to_string()))?;
    if there.count == 0 {
        return Ok(());
    }
    Err(refused(format!(
        "{} keys are there already, of a Kubernetes or of a load that was killed; give another prefix, or delete them",
        there.count
    )))
}

/// Creates the objects. Returns their `mod_revision`s by kind, and the highest revision.
///
/// # Errors
/// [`Error::Usage`] when the server refuses one; Ctrl-C.
pub(super) fn create(
    wire: &mut dyn Client,
    cluster: &Cluster,
    noise: &Bytes,
    stop: &Stop,
) -> Result<([Vec<i64>; 4], i64)> {
    let nodes = cluster.nodes as usize;
    let pods = nodes * cluster.pods_per_node as usize;
    let mut highest = 0;
    let mut made = |resource, count| -> Result<Vec<i64>> {
        let revisions = vec![0; count];
        let mut creations =
            Creations { resource, root: &cluster.prefix, noise, next: 0, under_way: [0; CLIENTS], revisions };
        if let Err(error) = drive(wire, CLIENTS, stop, &mut creations) {
            settle(wire);
            return Err(error);
        }
        highest = creations.revisions.iter().copied().fold(highest, i64::max);
        Ok(creations.revisions)
    };
    let all =
        [made(Resource::Pod, pods)?, made(Resource::Node, nodes)?, made(Resource::Lease, nodes)?, Vec::new()];
    Ok((all, highest))
}

/// Waits for what is under way, so that nothing is created after everything was deleted.
fn settle(wire: &mut dyn Client) {
    let (by, mut events) = (Instant::now() + SETTLE, Events::new());
    while Instant::now() < by {
        let turned = wire.turn(Until::Time(Instant::now() + QUIET), &mut events);
        if turned.is_err() || events.is_empty() {
            return;
        }
    }
}

struct Creations<'a> {
    resource: Resource,
    root: &'a str,
    noise: &'a Bytes,
    next: usize,
    under_way: [usize; CLIENTS],
    revisions: Vec<i64>,
}

impl Calls for Creations<'_> {
    fn next(&mut self, client: usize, _: Instant, message: &mut Vec<u8>) -> Result<Next> {
        if self.next == self.revisions.len() {
            return Ok(Next::End);
        }
        let key = self.resource.key(self.root, self.next);
        message.extend(requests::put(&key, 0, value(self.resource, self.next, self.noise), 0));
        self.under_way[client] = self.next;
        self.next += 1;
        Ok(Next::Call(Method::Txn))
    }

    fn done(&mut self, done: Done<'_>) -> Result<()> {
        let refused = |why: String| Error::Usage(format!("the cluster's objects can't be created: {why}"));
        let answer = done.answer.map_err(|failure| refused(failure.to_string()))?;
        match answer::txn(answer) {
            Ok(txn) if txn.succeeded && txn.revision > 0 => {
                self.revisions[self.under_way[done.client]] = txn.revision;
                Ok(())
            }
            _ => Err(refused("a transaction that creates one did not succeed".to_owned())),
        }
    }
}

/// What an object holds: as many bytes as its kind has, and no two the same.
pub(super) fn value(resource: Resource, number: usize, noise: &Bytes) -> Bytes {
    let bytes = resource.bytes();
    // Steps without a divisor in common with the room there is.
    let from = number.wrapping_mul(61) % (noise.len() - bytes);
    noise.slice(from..from + bytes)
}
