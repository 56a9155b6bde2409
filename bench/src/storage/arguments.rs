//! What can be asked for, and the sizes that follow from it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use engine::CheckpointPolicy;
use measure::WalMethod;

use super::member::MemberOptions;

/// Options of `graven-bench storage`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Directory on the disk to measure. Only a directory made in it is written to, and removed at the end.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Measure only this row; may be given several times. See the list of rows below.
    #[arg(long, value_name = "ROW")]
    pub(crate) only: Vec<String>,
    /// Small sizes and short rounds: shows that everything works, the figures mean nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds of each row that has rounds (default: 5; with --quick 1).
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) rounds: Option<u16>,
    /// Also write everything to FILE, after each row.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Keep the rows that FILE (of --json) holds already, and measure the others.
    #[arg(long, requires = "json")]
    pub(crate) resume: bool,
    /// How appends to the log are made durable.
    #[arg(long, value_enum, default_value_t = WalMethod::Auto)]
    pub(crate) wal_method: WalMethod,
    /// The graven program whose memory is measured; without it that row is skipped.
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,
    /// Size of the large data set in GB (10^9 bytes of values).
    #[arg(long, value_name = "GB", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub(crate) large_gb: u64,
    /// Size of the file that is defragmented in MB (10^6 bytes of values; default: 4000, with --quick 24).
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) defragment_mb: Option<u64>,
    /// Seconds of load before a row's compaction or defragmentation begins (default: 60).
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) before: Option<u64>,
}

/// How much of everything.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub(crate) rounds: usize,
    /// Rounds of rows that open and of peers, of which each takes long.
    pub(crate) long_rounds: usize,
    /// One round of a rate.
    pub(crate) round: Duration,
    /// One probe of the device.
    pub(crate) probe: Duration,
    pub(crate) floor_bytes: u64,
    pub(crate) segment_bytes: u64,
    /// Bytes of changes that begin a checkpoint.
    pub(crate) dirty_bytes: usize,
    /// Keys where the goals say a million.
    pub(crate) million: u64,
    /// Keys where the goals say ten million.
    pub(crate) ten_million: u64,
    /// The minute before something is done under load.
    pub(crate) minute: Duration,
    /// Without requests, until the server's memory is looked at: longer than its checkpoint interval.
    pub(crate) idle: Duration,
    /// Overwrites, and of how many keys, of the row about the file's size.
    pub(crate) overwrites: u64,
    pub(crate) overwritten_keys: u64,
    /// Bytes of values in the file that is defragmented.
    pub(crate) defragment_bytes: u64,
    /// Bytes of values in the small and in the large data set.
    pub(crate) small_set_bytes: u64,
    pub(crate) large_set_bytes: u64,
    /// Puts, keys and point reads of the comparison with peers.
    pub(crate) peer_puts: u64,
    pub(crate) peer_keys: u64,
    pub(crate) peer_reads: u64,
}

const GB: u64 = 1_000_000_000;

impl Sizes {
    pub(crate) fn of(arguments: &Arguments) -> Sizes {
        let mut sizes = if arguments.quick { Sizes::quick() } else { Sizes::full(arguments.large_gb) };
        if let Some(rounds) = arguments.rounds {
            sizes.rounds = rounds.into();
            sizes.long_rounds = rounds.into();
        }
        if let Some(mb) = arguments.defragment_mb {
            sizes.defragment_bytes = mb * 1_000_000;
        }
        if let Some(seconds) = arguments.before {
            sizes.minute = Duration::from_secs(seconds);
        }
        sizes
    }

    /// The sizes that a child needs of its parent's.
    pub(crate) fn plain(quick: bool) -> Sizes {
        if quick { Sizes::quick() } else { Sizes::full(1) }
    }

    fn full(large_gb: u64) -> Sizes {
        Sizes {
            rounds: 5,
            long_rounds: 3,
            round: Duration::from_secs(3),
            probe: Duration::from_millis(500),
            floor_bytes: 64 << 20,
            segment_bytes: 64 << 20,
            dirty_bytes: CheckpointPolicy::dirty_bytes_for(measure::machine::memory_bytes()),
            million: 1_000_000,
            ten_million: 10_000_000,
            minute: Duration::from_secs(60),
            idle: Duration::from_secs(75),
            overwrites: 10_000_000,
            overwritten_keys: 100_000,
            defragment_bytes: 4 * GB,
            small_set_bytes: GB,
            large_set_bytes: large_gb * GB,
            peer_puts: 200_000,
            peer_keys: 100_000,
            peer_reads: 100_000,
        }
    }

    fn quick() -> Sizes {
        Sizes {
            rounds: 1,
            long_rounds: 1,
            round: Duration::from_millis(50),
            probe: Duration::from_millis(10),
            floor_bytes: 1 << 20,
            segment_bytes: 4 << 20,
            dirty_bytes: 1 << 20,
            million: 12_000,
            ten_million: 15_000,
            minute: Duration::from_millis(100),
            idle: Duration::from_millis(100),
            overwrites: 20_000,
            overwritten_keys: 2_000,
            defragment_bytes: 24_000_000,
            small_set_bytes: 1_000_000,
            large_set_bytes: 8_000_000,
            peer_puts: 1_280,
            peer_keys: 400,
            peer_reads: 1_000,
        }
    }

    /// A member of these sizes.
    pub(crate) fn member(&self, method: wal::Method) -> MemberOptions {
        MemberOptions {
            wal: self.wal(method),
            policy: CheckpointPolicy { dirty_bytes: self.dirty_bytes, ..CheckpointPolicy::default() },
        }
    }

    /// A log of these sizes.
    pub(crate) fn wal(&self, method: wal::Method) -> wal::Options {
        wal::Options { segment_bytes: self.segment_bytes, method, ..wal::Options::default() }
    }

    /// What a log takes on disk beside the data: the tail, prepared and spare segments, and those before the last
    /// checkpoint.
    pub(crate) fn log_bytes(&self) -> u64 {
        8 * self.segment_bytes + 4 * self.dirty_bytes as u64
    }
}
