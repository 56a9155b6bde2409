//! One load on a member, seen from both sides.

use std::time::Duration;

use bench::PutLoad;
use measure::{Progress, Result, Stop};

use super::Puts;
use super::counters::Counters;
use super::member::Member;
use super::processors::Processors;

/// What the clients saw, what the log did meanwhile, and how many connections there were.
pub(super) fn load(
    member: &mut Member,
    clients: usize,
    warm_up: Duration,
    time: Duration,
    stop: &Stop,
    progress: &mut Progress,
) -> Result<(Puts, usize)> {
    let load = PutLoad { endpoint: member.address(), pid: member.pid(), clients, warm_up, time };
    let processors = Processors::read();
    let measured = Counters::read(load.endpoint).and_then(|before| {
        let figures = load.run(stop, progress)?;
        Ok((before, figures, Counters::read(load.endpoint)?))
    });
    let (before, figures, after) = measured.map_err(|error| member.explain(error))?;
    let (puts, syncs) = (after.puts - before.puts, after.syncs - before.syncs);
    let (syncing, wall) = (after.syncing - before.syncing, (after.at - before.at).as_secs_f64());
    let others = Processors::read().zip(processors);
    let others = others.map_or(0.0, |(now, then)| now.others_since(&then, after.cpu - before.cpu));
    let puts = Puts {
        clients,
        per_second: figures.per_second,
        mean_us: figures.latency.summary().mean_us,
        batch: puts / syncs.max(1.0),
        disk_idle: (1.0 - syncing / wall).clamp(0.0, 1.0),
        sync_us: syncing * 1e6 / syncs.max(1.0),
        latency: Some(figures.latency),
        by_second: figures.by_second,
        server_cpu_us: figures.server_cpu_us,
        client_cpu_us: figures.client_cpu_us,
        others_cpu: others,
    };
    Ok((puts, figures.connections))
}
