//! Sends the same requests to two servers and compares every answer, event and error.

use std::process::ExitCode;

use clap::Parser;
use tests::twin::{Lie, Options, run};
use tests::{Dice, Upkeep};

#[derive(Parser)]
#[command(about)]
struct Flags {
    /// HOST:PORT of the server that is right, freshly started.
    reference: String,
    /// HOST:PORT of the server that is tested, freshly started.
    subject: String,
    /// Decides every request; printed, and taken from the clock when not given.
    #[arg(long, env = "GRAVEN_TWIN_SEED")]
    seed: Option<u64>,
    #[arg(long, env = "GRAVEN_TWIN_REQUESTS", default_value_t = 8000)]
    requests: usize,
    /// Plants a fault in an answer of the subject: the run must fail.
    #[arg(long)]
    lie: Option<Lie>,
    /// Has the subject defragment all the time.
    #[arg(long)]
    defragment: bool,
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
async fn main() -> ExitCode {
    let Flags { reference, subject, seed, requests, lie, defragment } = Flags::parse();
    let seed = seed.unwrap_or_else(|| Dice::seed("GRAVEN_TWIN_SEED"));
    println!("twin: seed {seed}, {requests} requests");
    let upkeep = match defragment {
        true => match Upkeep::start(&subject, 0, 0).await {
            Ok(upkeep) => Some(upkeep),
            Err(error) => {
                eprintln!("twin: {error:#}");
                return ExitCode::FAILURE;
            }
        },
        false => None,
    };
    let outcome = run(&Options { reference, subject, seed, requests, lie }).await;
    if let Some(upkeep) = upkeep {
        println!("twin: {} times defragmented", upkeep.rounds());
    }
    match outcome {
        Ok(report) => {
            println!("{report}\ntwin: no difference (seed {seed})");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("twin: DIFFERENCE (seed {seed})\n{error:#}");
            ExitCode::FAILURE
        }
    }
}
