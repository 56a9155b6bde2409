//! Puts for another program of ours: what `graven-bench put --clients N` does, so that what it finds there and what it finds here
//! are the same measurement. Connections, keys, values and all else are as that command has them by default.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use measure::{Latencies, Progress, Stop};

use crate::error::Error;
use crate::load::{self, Ending, Kind, LoadArguments, Plan, Process};

/// A closed loop of puts by the lean client.
#[derive(Clone, Copy, Debug)]
pub struct PutLoad {
    /// Where the server listens for clients, without TLS.
    pub endpoint: SocketAddr,
    /// Its process on this machine.
    pub pid: u32,
    /// Puts outstanding.
    pub clients: usize,
    /// Loads for so long before anything counts; one second is `graven-bench put`'s.
    pub warm_up: Duration,
    /// Then counts for so long.
    pub time: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct PutFigures {
    /// Connections that the clients shared.
    pub connections: usize,
    /// Puts a second.
    pub per_second: f64,
    /// Of the puts.
    pub latency: Latencies,
    /// Puts by the second in which they were sent; the last one may be shorter.
    pub by_second: Vec<u64>,
    /// CPU time of the client, microseconds a put.
    pub client_cpu_us: f64,
    /// CPU time of the server's process, microseconds a put.
    pub server_cpu_us: f64,
}

/// The command line of the load alone: its defaults are `graven-bench put`'s.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    load: LoadArguments,
}

impl PutLoad {
    /// Loads until the time is over.
    ///
    /// # Errors
    /// [`measure::Error::Interrupted`] when `stop` was asked for; otherwise what went wrong, also where it went wrong midway: figures of
    /// a load that was not carried to its end would mean something else.
    pub fn run(&self, stop: &Stop, progress: &mut Progress) -> measure::Result<PutFigures> {
        let plan = self.plan().map_err(shared)?;
        let document = load::measure(&plan, stop, progress).map_err(shared)?;
        if document.ending == Ending::Interrupted {
            return Err(measure::Error::Interrupted);
        }
        if let Some(complaint) = document.complaint() {
            return Err(measure::Error::Wrong(complaint));
        }
        if let Some(failure) = document.results.failures.first() {
            return Err(measure::Error::Wrong(format!(
                "{} puts failed: {}",
                document.failed(),
                failure.what
            )));
        }
        let results = document.results;
        let by_second = results.kinds.iter().flat_map(|kind| kind.timeline.intervals());
        Ok(PutFigures {
            connections: plan.connections,
            per_second: results.per_second,
            by_second: by_second.map(|second| second.count()).collect(),
            client_cpu_us: results.client_cpu_us,
            server_cpu_us: results.process.map_or(0.0, |process| process.cpu_us),
            latency: results.latency,
        })
    }

    fn plan(&self) -> crate::error::Result<Plan> {
        let (endpoint, clients) = (self.endpoint.to_string(), self.clients.to_string());
        let line = Line::try_parse_from(["put", "--endpoints", &endpoint, "--clients", &clients]);
        let line = line.map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Plan {
            process: Some(Process::find(self.pid)?),
            warm_up: self.warm_up,
            end: load::End::After(self.time),
            ..Plan::new(Kind::Put, &line.load, false)?
        })
    }
}

fn shared(error: Error) -> measure::Error {
    match error {
        Error::Measure(error) => error,
        Error::Interrupted => measure::Error::Interrupted,
        other => measure::Error::Wrong(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_clients_is_the_commands_default() {
        let load = PutLoad {
            endpoint: "127.0.0.1:1".parse().unwrap(),
            pid: std::process::id(),
            clients: 64,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(4),
        };
        let plan = load.plan().unwrap();
        let line = Line::try_parse_from(["put", "--clients", "64", "--duration", "4s"]).unwrap();
        let command = Plan::new(Kind::Put, &line.load, false).unwrap();
        assert_eq!((plan.connections, plan.threads, plan.clients), (1, 1, 64));
        let all = |plan: &Plan| {
            let Plan { connections, threads, clients, warm_up, end, client, pace, .. } = *plan;
            let values =
                (plan.key_space, plan.key_size, plan.spread, plan.shape, plan.value_sizes, plan.seed);
            format!("{connections} {threads} {clients} {warm_up:?} {end:?} {client:?} {pace:?} {values:?}")
        };
        assert_eq!(all(&plan), all(&command));
        let nobody = PutLoad { pid: u32::MAX >> 1, ..load };
        assert!(nobody.run(&Stop::default(), &mut Progress::silent()).is_err());
    }
}
