//! One server's turn in a round: probe, start, parity, loads, stop, probe.

use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use api::etcdserverpb::PutRequest;
use measure::machine::{Counters, Device};
use measure::{Floor, Latencies, Progress, Stop, WorkDir, free_bytes, units};
use prost::Message;

use super::arguments::{Arguments, KEY_BYTES, Workload};
use super::command::Command;
use super::document::{Measured, Sample};
use super::heir::Heir;
use super::parity::Turn;
use super::server::Server;
use crate::calls::{Calls, Done, Next, drive};
use crate::client::{Lean, Method};
use crate::error::{Error, Result};
use crate::load::{self, End, Kind, Pace, Plan, Shape, Spread, Which};
use crate::process::usage_of_all;

/// Of rest and of puts, each, when parity is checked.
const MOMENT: Duration = Duration::from_millis(250);
/// How often.
const MOMENTS: usize = 3;
/// A server's end, and the removal of what it wrote, keep the disk busy for a moment.
const SETTLE: Duration = Duration::from_millis(250);
/// No load begins with less free: it might fill the disk, and others may live on it.
const RESERVE_BYTES: u64 = 1 << 30;
/// Clients that fill the key space.
const FILLERS: usize = 256;

/// What turns are made with.
pub(super) struct Rounds<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) dir: &'a WorkDir,
    pub(super) floor: Floor,
    pub(super) device: Option<Device>,
    pub(super) heir: Rc<Heir>,
    pub(super) stop: &'a Stop,
    pub(super) progress: Progress,
}

impl Rounds<'_> {
    /// Measures one server on a fresh folder. Returns also what it says its version is.
    pub(super) fn turn(&mut self, round: u32, command: &Command) -> Result<(Measured, String)> {
        let stage =
            |what: &str| format!("round {round} of {}, {}: {what}", self.arguments.rounds, command.name);
        self.progress.stage(&stage("parity and fill"));
        let before = self.floor.probe(self.arguments.probe, self.stop)?;
        let fresh = self.dir.fresh("server")?;
        let mut server = Server::start(command, fresh, &self.heir, self.stop)?;
        let parity = self.parity(&mut server)?;
        self.fill(&mut server)?;
        let mut samples = Vec::new();
        for workload in &self.arguments.loads {
            for clients in &self.arguments.clients {
                self.progress.stage(&stage(&format!("{}, clients: {clients}", workload.name())));
                samples.push(self.load(&mut server, *workload, *clients)?);
            }
        }
        server.check()?;
        let version = server.version.clone();
        drop(server);
        self.settle()?;
        let after = self.floor.probe(self.arguments.probe, self.stop)?;
        let moved = before.moved(&after);
        let server = command.name.clone();
        Ok((Measured { round, server, before, after, moved, dropped: false, parity, samples }, version))
    }

    /// Lets the disk finish what the server's turn has left it to do, so that the probe is of the disk alone.
    fn settle(&self) -> Result<()> {
        let path = self.dir.path();
        let synced = File::open(path).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
        synced.map_err(Error::io("sync", path))?;
        Ok(self.stop.sleep(SETTLE)?)
    }

    /// Rests and puts in turns, with the device's counters around them.
    fn parity(&self, server: &mut Server) -> Result<Vec<Turn>> {
        let counters = || self.device.as_ref().and_then(Device::counters);
        let between = |before: Option<Counters>, after: Option<Counters>| Some(after?.since(before?));
        let mut turns = Vec::new();
        for _ in 0..MOMENTS {
            let first = counters();
            self.stop.sleep(MOMENT)?;
            let second = counters();
            let mut client = Lean::connect(&server.target, 1)?;
            let mut puts = OneClient::new(Instant::now() + MOMENT);
            drive(&mut client, 1, self.stop, &mut puts)?;
            let third = counters();
            if let Some(why) = puts.failed {
                server.check_gone()?;
                return Err(Error::Wrong(format!("{}: a put failed: {why}", server.name)));
            }
            turns.push(Turn {
                puts: puts.latencies.count(),
                p50_us: puts.latencies.micros(0.5),
                during: between(second, third),
                rest: between(first, second),
            });
        }
        Ok(turns)
    }

    /// Puts every key once.
    fn fill(&self, server: &mut Server) -> Result<()> {
        let plan = Plan {
            spread: Spread::Sequential,
            end: End::Total(self.arguments.key_space),
            clients: FILLERS,
            connections: FILLERS.div_ceil(self.arguments.clients_per_connection as usize),
            ..self.plan(server, Kind::Put)
        };
        self.measure(server, &plan).map(drop)
    }

    fn load(&self, server: &mut Server, workload: Workload, clients: u32) -> Result<Sample> {
        check_reserve(free_bytes(self.dir.path())?)?;
        let connections = self.arguments.connections(clients);
        let plan = Plan { clients: clients as usize, connections, ..self.plan(server, workload.kind()) };
        if !self.arguments.warm_up.is_zero() {
            // A load of its own, so that the server's usage can be read between it and what counts.
            self.measure(server, &Plan { end: End::After(self.arguments.warm_up), ..plan.clone() })?;
        }
        let processes = server.processes();
        let before = usage_of_all(&processes);
        let found = self.measure(server, &plan)?;
        let after = usage_of_all(&processes);
        let results = found.results;
        let puts = results.kinds.iter().find(|kind| kind.name == "put");
        Ok(Sample {
            name: workload.name().to_owned(),
            clients,
            connections,
            per_second: results.per_second,
            requests: results.requests,
            puts: puts.map_or(0, |kind| kind.timeline.total().count()),
            latency: results.latency,
            failures: results.failures,
            cpu_seconds: (after.cpu_seconds - before.cpu_seconds).max(0.0),
            client_cpu_us: results.client_cpu_us,
            written_bytes: after
                .written_bytes
                .zip(before.written_bytes)
                .map(|(after, before)| after.saturating_sub(before)),
            rss_anon_bytes: after.rss_anon_bytes,
            rss_file_bytes: after.rss_file_bytes,
        })
    }

    fn measure(&self, server: &mut Server, plan: &Plan) -> Result<load::Document> {
        let measured = load::measure(plan, self.stop, &mut Progress::silent());
        self.stop.check()?;
        // Whatever went wrong, a server that has ended is the reason.
        let complaint = match &measured {
            Ok(document) => document.complaint(),
            Err(error) => Some(error.to_string()),
        };
        if let Some(complaint) = complaint {
            server.check_gone()?;
            return Err(Error::Wrong(format!("{}: {complaint}", server.name)));
        }
        measured
    }

    fn plan(&self, server: &Server, kind: Kind) -> Plan {
        Plan {
            kind,
            target: server.target.clone(),
            credentials: None,
            process: None,
            client: Which::Lean,
            threads: 1,
            connections: 1,
            clients: 1,
            pace: Pace::Closed,
            end: End::After(self.arguments.duration),
            warm_up: Duration::ZERO,
            shape: Shape::Plain,
            key_size: KEY_BYTES,
            key_space: self.arguments.key_space,
            spread: Spread::Uniform,
            value_sizes: self.arguments.value_size,
            seed: self.arguments.seed,
            fills: false,
            files: load::Files::default(),
        }
    }
}

fn check_reserve(free: u64) -> Result<()> {
    if free < RESERVE_BYTES {
        let (free, least) = (units::bytes(free), units::bytes(RESERVE_BYTES));
        return Err(Error::Usage(format!(
            "too little space: {free} are free and a load begins with {least} at least; choose another --dir, or a shorter \
             --duration"
        )));
    }
    Ok(())
}

/// One put after the other until a moment.
struct OneClient {
    until: Instant,
    request: Vec<u8>,
    latencies: Latencies,
    failed: Option<String>,
}

impl OneClient {
    fn new(until: Instant) -> OneClient {
        let (key, value) = (b"graven-bench/parity".to_vec().into(), vec![b'v'; 256].into());
        let request = PutRequest { key, value, ..PutRequest::default() }.encode_to_vec();
        OneClient { until, request, latencies: Latencies::new(), failed: None }
    }
}

impl Calls for OneClient {
    fn next(&mut self, _: usize, now: Instant, message: &mut Vec<u8>) -> Result<Next> {
        if now >= self.until || self.failed.is_some() {
            return Ok(Next::End);
        }
        message.extend_from_slice(&self.request);
        Ok(Next::Call(Method::Put))
    }

    fn done(&mut self, done: Done<'_>) -> Result<()> {
        match done.answer {
            Ok(_) => self.latencies.record(done.at.saturating_duration_since(done.sent)),
            Err(failure) => self.failed = Some(failure.to_string()),
        }
        Ok(())
    }
}

/// Where a comparison writes, in full: commands may run anywhere.
pub(super) fn absolute(dir: &Path) -> Result<std::path::PathBuf> {
    dir.canonicalize().map_err(|error| {
        Error::Usage(format!("--dir {}: {error}; give a directory that exists", dir.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_the_space_is_left_to_others() {
        assert!(check_reserve(RESERVE_BYTES).is_ok());
        assert!(check_reserve(RESERVE_BYTES - 1).is_err_and(|error| error.to_string().contains("--dir")));
    }
}
