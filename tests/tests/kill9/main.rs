//! `kill -9` under load: nothing acknowledged is lost or altered.
//!
//! Each round starts the server on what the last one left, loads it from 64 clients, kills it at a random instant,
//! starts it again and lets the [checker](check) judge. All the time it checkpoints, compacts what the rounds before have
//! left, and defragments, so that kills fall into each of these. `GRAVEN_KILL_ROUNDS` (default 3) sets how many,
//! `GRAVEN_KILL_SEED` repeats a run's choices, `GRAVEN_KILL_RATE` (default 0) is the least number of acknowledged
//! writes a second the load must have reached for the run to count.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its seed"
)]

mod check;
mod load;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use api::etcdserverpb::{
    LeaseLeasesRequest, LeaseTimeToLiveRequest, RangeRequest, WatchCreateRequest, WatchRequest,
    WatchResponse, watch_request,
};
use api::mvccpb::Event;
use tests::{BUSY, Clients, Dice, Server, Upkeep, is_graven, program};
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use check::{Round, State};

const PATIENCE: Duration = Duration::from_secs(60);

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: not a number: {text}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kill_9() {
    let rounds = number("GRAVEN_KILL_ROUNDS", 3);
    let seed = Dice::seed("GRAVEN_KILL_SEED");
    println!("seed {seed}, {rounds} rounds");
    let mut dice = Dice::new(seed);
    let flags: &[&str] = if is_graven() { &BUSY } else { &[] };
    let mut server = Server::start_program(program(), flags).unwrap();
    let mut clients = Clients::connect(&server.endpoint()).await.unwrap();
    let mut base = state(&mut clients).await.unwrap();
    let (mut acknowledged, mut defragmented, mut loaded) = (0, 0, Duration::ZERO);
    let mut compacted = 0;
    for round in 1..=rounds {
        let outcome = one_round(&mut server, &mut dice, &mut base, &mut compacted, round).await;
        match outcome {
            Ok((acks, rounds, time)) => {
                acknowledged += acks;
                defragmented += rounds;
                loaded += time;
            }
            Err(error) => {
                panic!("seed {seed}, round {round}: {error:#}\nend of the log:\n{}", tail(&server.log()))
            }
        }
    }
    let rate = acknowledged as f64 / loaded.as_secs_f64();
    println!(
        "{rounds} kills, {acknowledged} acknowledged writes, {rate:.0} a second, {defragmented} times defragmented"
    );
    assert!(
        rate >= number("GRAVEN_KILL_RATE", 0) as f64,
        "the load was too light: {rate:.0} writes a second"
    );
    assert!(rounds < 10 || defragmented > 0, "nothing was ever defragmented");
    server.terminate().unwrap();
}

/// Returns the number of acknowledged writes, how many times the file was defragmented meanwhile, and how long the load
/// ran. History up to `compacted` may be gone.
async fn one_round(
    server: &mut Server,
    dice: &mut Dice,
    base: &mut State,
    compacted: &mut i64,
    round: usize,
) -> anyhow::Result<(usize, usize, Duration)> {
    let endpoint = server.endpoint();
    let follower = tokio::spawn(follow(watch(&endpoint, base.revision + 1).await?));
    let upkeep = Upkeep::start(&endpoint, *compacted, base.revision).await?;
    *compacted = base.revision;
    let load = load::start(&endpoint, base, dice, round).await?;
    let started = Instant::now();
    let run = Duration::from_millis(dice.any() % 500);
    tokio::time::sleep(run).await;
    server.kill()?;
    let time = started.elapsed();
    let defragmented = upkeep.rounds();
    drop(upkeep);
    let (acks, pending) = load.finish().await?;
    let mut resumed = follower.await?;

    server.restart().context("start after the kill")?;
    let mut clients = Clients::connect(&endpoint).await?;
    let after = state(&mut clients).await?;
    let seen = resumed.last().map_or(base.revision, modified);
    ensure!(
        after.revision >= seen,
        "revision {} after the kill, a watcher saw {seen} before",
        after.revision
    );
    // The same watcher, resumed where it was, and another that sees the whole round again.
    resumed.extend(events_until(&endpoint, seen + 1, after.revision).await.context("resumed watcher")?);
    let replayed = events_until(&endpoint, base.revision + 1, after.revision).await.context("replay")?;
    let count = acks.len();
    check::verdict(base, &Round { acks, pending, resumed, replayed, after: after.clone() })?;
    *base = after;
    Ok((count, defragmented, time))
}

fn modified(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Everything the server holds: keys, leases, and which key each lease thinks is its own.
async fn state(clients: &mut Clients) -> anyhow::Result<State> {
    let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    let answer = clients.kv.range(all).await?.into_inner();
    let revision = answer.header.context("a header")?.revision;
    let mut leases = std::collections::BTreeMap::new();
    for lease in clients.lease.lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases {
        let ask = LeaseTimeToLiveRequest { id: lease.id, keys: true };
        let mut left = clients.lease.lease_time_to_live(ask).await?.into_inner();
        left.keys.sort();
        leases.insert(lease.id, left.keys);
    }
    let keys = answer.kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
    Ok(State { revision, keys, leases })
}

type Watching = (mpsc::Sender<WatchRequest>, Streaming<WatchResponse>);

/// Watches everything from `start` on.
async fn watch(endpoint: &str, start: i64) -> anyhow::Result<Watching> {
    let mut clients = Clients::connect(endpoint).await?;
    let (requests, outgoing) = mpsc::channel(4);
    let create = WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision: start,
        ..Default::default()
    };
    let union = watch_request::RequestUnion::CreateRequest(create);
    requests.send(WatchRequest { request_union: Some(union) }).await?;
    let responses = clients.watch.watch(ReceiverStream::new(outgoing)).await?.into_inner();
    Ok((requests, responses))
}

/// Takes events until the server dies.
async fn follow((_requests, mut responses): Watching) -> Vec<Event> {
    let mut events = Vec::new();
    while let Ok(Some(response)) = responses.message().await {
        events.extend(response.events);
    }
    events
}

/// Every event from `start` to `end`.
async fn events_until(endpoint: &str, start: i64, end: i64) -> anyhow::Result<Vec<Event>> {
    let mut events: Vec<Event> = Vec::new();
    if start > end {
        return Ok(events);
    }
    let (_requests, mut responses) = watch(endpoint, start).await?;
    while events.last().map_or(0, modified) < end {
        let response = tokio::time::timeout(PATIENCE, responses.message())
            .await
            .with_context(|| {
                format!("no events after {:?}, expected up to {end}", events.last().map(modified))
            })??
            .context("the watch ended")?;
        ensure!(!response.canceled, "the watch was canceled: {response:?}");
        events.extend(response.events);
    }
    Ok(events)
}
