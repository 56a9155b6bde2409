//! The command line.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::error::Result;
use crate::load::{self, Kind, Load, LoadArguments, Plan};
use crate::terminal::note;
use crate::{compare, preset, report, storage};

/// Measurements of Graven.
#[derive(Parser)]
#[command(
    name = "graven-bench",
    version,
    about = "Loads etcd-compatible servers, and measures Graven's storage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Puts.
    Put(Box<Load<load::Nothing>>),
    /// Reads of single keys, of a range, or of all keys with a prefix.
    Range(Box<Load<load::RangeArguments>>),
    /// Transactions of puts.
    TxnPut(Box<Load<load::TxnArguments>>),
    /// Transactions of puts and transactions of reads.
    TxnMixed(Box<Load<load::TxnMixedArguments>>),
    /// Single puts and single reads.
    Mixed(Box<Load<load::MixedArguments>>),
    /// Leases: granted, kept alive, revoked.
    Lease(Box<Load<load::LeaseArguments>>),
    /// Optimistic transactions: read, compare, write, again after a conflict.
    Stm(Box<Load<load::StmArguments>>),
    /// The whole database as a stream, beside puts if asked for.
    Snapshot(Box<Load<load::SnapshotArguments>>),
    /// Watches, and puts whose events they have to see: events/s, and how long each is on its way.
    Watch(Box<Load<load::WatchArguments>>),
    /// One watch or a few: how long an event takes from its put's beginning, and from its put's answer. Puts 100 a second
    /// unless --rate says otherwise. An event that comes before the answer has taken no time after it.
    WatchLatency(Box<Load<load::WatchLatencyArguments>>),
    /// Reads while many watches are open, idle or catching up with the past.
    WatchGet(Box<Load<load::WatchGetArguments>>),
    /// What the control plane of a Kubernetes asks for: Leases, nodes, pods, Events, lists, watches, compaction.
    Kubernetes(Box<Load<load::KubernetesArguments>>),
    /// The log and the engine without a network, against their goals and beside other embedded stores.
    #[command(after_help = storage::rows_help())]
    Storage(Box<storage::Arguments>),
    /// Two or more servers on the same disk, in turns: requests/s, latencies, CPU, memory, bytes written.
    #[command(after_help = COMPARE_HELP)]
    Compare(Box<compare::Arguments>),
    /// etcd's `check perf`: does a cluster carry the puts of its size, and how long does each take?
    #[command(after_help = CHECK_HELP)]
    Perf(Box<preset::PerfArguments>),
    /// etcd's `check datascale`: how much memory does a server take for the keys of its size?
    #[command(after_help = CHECK_HELP)]
    Datascale(Box<preset::DatascaleArguments>),
    /// Shows again what a load, `compare`, `perf` or `datascale` wrote with --json.
    #[command(after_help = REPORT_HELP)]
    Report(report::Arguments),
    /// What a measurement kills or looks at from outside: a member in a process of its own.
    #[command(hide = true)]
    StorageChild(storage::ChildArguments),
    /// What ends the servers of a comparison that is killed.
    #[command(hide = true, name = compare::HEIR)]
    CompareHeir,
}

const COMPARE_HELP: &str = "Commands are run by the shell, with {dir} replaced by a fresh folder, {client-port} and {peer-port} by free ports, \
    {endpoint} by 127.0.0.1:PORT:\n  --b 'etcd --data-dir {dir}/data --listen-client-urls http://{endpoint} --advertise-client-urls http://{endpoint} \
    --listen-peer-urls http://127.0.0.1:{peer-port}'\n\nExit codes: 0 compared, 1 a server does not sync, 2 the request cannot be \
    carried out or a server ended in the middle, 130 interrupted.";

const REPORT_HELP: &str =
    "Exit codes: 0 shown, whatever it says; 2 the file is none of this program's, newer, or damaged.";

const CHECK_HELP: &str = "Loads: s (50 clients, 150 puts/s or 10,000 keys), m (200; 1,000; 100,000), l (500; 8,000; 1,000,000), xl \
    (1,000; 15,000; 3,000,000).\n\nExit codes: 0 passed, 1 failed, 2 the request cannot be carried out, 130 interrupted.";

/// Runs the command line of this process. The exit code is 0 when everything asked for was measured, whether goals were
/// reached or not; 2 when the request is at fault, or a server that dies midway; 130 after Ctrl-C; 1 otherwise.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let result = match cli.command {
        Command::Put(load) => run_load(Ok(Kind::Put), &load.shared, false),
        Command::Range(load) => {
            run_load(load::what(&load.own).map(Kind::Range), &load.shared, load.own.how.fill)
        }
        Command::TxnPut(load) => {
            run_load(Ok(Kind::TxnPut { operations: load.own.operations }), &load.shared, false)
        }
        Command::TxnMixed(load) => {
            let operations = load.own.txn.operations;
            let kind =
                load::reads(&load.own.mixed).map(|(reads, what)| Kind::TxnMixed { operations, reads, what });
            run_load(kind, &load.shared, load.own.mixed.range.how.fill)
        }
        Command::Mixed(load) => {
            let kind = load::reads(&load.own).map(|(reads, what)| Kind::Mixed { reads, what });
            run_load(kind, &load.shared, load.own.range.how.fill)
        }
        Command::Lease(load) => {
            run_load(Ok(Kind::Lease(load::LeaseLoad::from(&load.own))), &load.shared, false)
        }
        Command::Stm(load) => Plan::stm(&load.own, &load.shared).and_then(|plan| load::run(&plan)),
        Command::Snapshot(load) => Plan::snapshot(&load.own, &load.shared).and_then(|plan| load::run(&plan)),
        Command::Watch(load) => run_load(Ok(Kind::Watch(load.own.watching.clone())), &load.shared, false),
        Command::WatchLatency(load) => {
            let rate = load.shared.rate.or(Some(load::WatchLatencyArguments::RATE));
            let shared = LoadArguments { rate, ..load.shared.clone() };
            run_load(Ok(Kind::WatchLatency(load.own.watching())), &shared, false)
        }
        Command::WatchGet(load) => {
            let load::WatchGetArguments { watching, history, how } = &load.own;
            let (watching, history, what) = (watching.clone(), *history, load::how(how));
            run_load(Ok(Kind::WatchGet { watching, history, what }), &load.shared, how.fill)
        }
        Command::Kubernetes(load) => {
            run_load(Ok(Kind::Kubernetes(load.own.cluster.clone())), &load.shared, false)
        }
        Command::Storage(arguments) => storage::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Perf(arguments) => preset::run_perf(&arguments),
        Command::Datascale(arguments) => preset::run_datascale(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::StorageChild(arguments) => storage::run_child(&arguments),
        Command::CompareHeir => {
            compare::run_heir();
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("graven-bench: {error}"));
            error.exit_code()
        }
    }
}

/// Help as clap prints it; a mistake in one line.
fn refused(error: &clap::Error) -> ExitCode {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let command = measure::command_of(&Cli::command(), arguments);
    match measure::mistake_in("graven-bench", &command, error) {
        Some(line) => {
            note(line);
            ExitCode::from(2)
        }
        None => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
    }
}

fn run_load(kind: Result<Kind>, shared: &LoadArguments, fills: bool) -> Result<()> {
    load::run(&Plan::new(kind?, shared, fills)?)
}
