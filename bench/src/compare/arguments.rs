//! What can be asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use measure::check_outputs;

use super::command::{Command, check_dir, distinct};
use crate::error::{Error, Result};
use crate::load::{Kind, Sizes, What, time, time_or_none};

/// Length of a key.
pub(super) const KEY_BYTES: usize = 16;

/// `graven-bench compare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The command that starts the first server, with {dir}, {client-port} or {endpoint}, and {peer-port} in it.
    #[arg(long, value_name = "CMD")]
    a: String,
    /// The command of the second.
    #[arg(long, value_name = "CMD")]
    b: String,
    /// The command of a third.
    #[arg(long, value_name = "CMD")]
    c: Option<String>,
    /// The command of a fourth.
    #[arg(long, value_name = "CMD")]
    d: Option<String>,
    /// What the first is called in the results. [default: its program's name]
    #[arg(long, value_name = "NAME")]
    name_a: Option<String>,
    /// What the second is called.
    #[arg(long, value_name = "NAME")]
    name_b: Option<String>,
    /// What the third is called.
    #[arg(long, value_name = "NAME", requires = "c")]
    name_c: Option<String>,
    /// What the fourth is called.
    #[arg(long, value_name = "NAME", requires = "d")]
    name_d: Option<String>,

    /// The directory on the disk they are to use; each gets a fresh one below it in every round.
    #[arg(long, default_value = ".")]
    pub(super) dir: PathBuf,
    /// How often each server is started and measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) rounds: u32,
    /// Which loads, one after the other in every round.
    #[arg(
        long,
        value_enum,
        value_name = "LOAD,...",
        value_delimiter = ',',
        default_value = "put,range,mixed"
    )]
    pub(super) loads: Vec<Workload>,
    /// With how many clients each of them, every client with one request outstanding.
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',', default_value = "1,64,256", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) clients: Vec<u32>,
    /// How many clients share a connection.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) clients_per_connection: u32,
    /// Each load runs for so long before anything counts.
    #[arg(long, value_name = "TIME", value_parser = time_or_none, default_value = "1s")]
    pub(super) warm_up: Duration,
    /// And then for so long.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5s")]
    pub(super) duration: Duration,
    /// How many keys there are; all are put before anything is measured.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(super) key_space: u64,
    /// Length of a value, or two lengths between which it lies (64-1024).
    #[arg(long, value_name = "BYTES", default_value = "256")]
    pub(super) value_size: Sizes,
    /// Decides what is random.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// How long the disk is probed before and after each server's turn.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    pub(super) probe: Duration,

    /// Write everything that was measured to FILE.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write a page with pictures to FILE.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

/// The loads a comparison can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// Puts.
    Put,
    /// Linearizable reads of single keys.
    Range,
    /// The same, serializable.
    RangeSerializable,
    /// Half puts, half linearizable reads.
    Mixed,
}

impl Workload {
    /// As the command line knows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Workload::Put => "put",
            Workload::Range => "range",
            Workload::RangeSerializable => "range-serializable",
            Workload::Mixed => "mixed",
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Workload::Put => Kind::Put,
            Workload::Range => Kind::Range(What::default()),
            Workload::RangeSerializable => Kind::Range(What { serializable: true, ..What::default() }),
            Workload::Mixed => Kind::Mixed { reads: 0.5, what: What::default() },
        }
    }
}

impl Arguments {
    /// The servers, and everything that contradicts itself refused.
    pub(super) fn commands(&self) -> Result<Vec<Command>> {
        let given = [
            ('a', Some(&self.a), &self.name_a),
            ('b', Some(&self.b), &self.name_b),
            ('c', self.c.as_ref(), &self.name_c),
            ('d', self.d.as_ref(), &self.name_d),
        ];
        let given = given.into_iter().filter_map(|(letter, line, name)| Some((letter, line?, name)));
        let mut commands = given
            .map(|(letter, line, name)| Command::parse(letter, line, name.as_deref()))
            .collect::<Result<Vec<Command>>>()?;
        distinct(&mut commands);
        check_dir(&self.dir)?;
        let asked = [("--json", &self.json), ("--html", &self.html)];
        check_outputs(asked.map(|(option, path)| (option, path.as_deref())))?;
        let twice = |clients: &u32| self.clients.iter().filter(|other| *other == clients).count() > 1;
        if let Some(clients) = self.clients.iter().find(|clients| twice(clients)) {
            return Err(Error::Usage(format!("--clients has {clients} twice; give each number once")));
        }
        Ok(commands)
    }

    /// All keys with their values, at most.
    pub(super) fn fill_bytes(&self) -> u64 {
        self.key_space.saturating_mul((KEY_BYTES + self.value_size.most) as u64)
    }

    /// Connections of so many clients.
    pub(super) fn connections(&self, clients: u32) -> usize {
        clients.div_ceil(self.clients_per_connection) as usize
    }
}
