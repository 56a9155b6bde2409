//! Starts servers on empty data directories, runs a command with their addresses, and stops them.
//!
//! Each `--server PROGRAM` becomes one server; in the command `{0}`, `{1}` and so on stand for their HOST:PORT.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Parser;
use tests::Server;

#[derive(Parser)]
#[command(about)]
struct Flags {
    /// A program that takes etcd's flags; may be given several times.
    #[arg(long = "server", required = true)]
    servers: Vec<PathBuf>,
    /// A flag for every server.
    #[arg(long = "flag", allow_hyphen_values = true)]
    flags: Vec<String>,
    #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[expect(clippy::print_stderr, reason = "a program for the terminal")]
fn main() -> ExitCode {
    match serve(&Flags::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("with-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a program for the terminal")]
fn serve(flags: &Flags) -> anyhow::Result<ExitCode> {
    let extra: Vec<_> = flags.flags.iter().map(String::as_str).collect();
    let mut servers = Vec::new();
    for program in &flags.servers {
        servers.push(Server::start_program(program, &extra)?);
    }
    let mut words = flags.command.iter().map(|word| {
        servers
            .iter()
            .enumerate()
            .fold(word.clone(), |word, (n, server)| word.replace(&format!("{{{n}}}"), &server.endpoint()))
    });
    let program = words.next().context("clap requires a command")?;
    let status =
        Command::new(&program).args(words).status().with_context(|| format!("{program} does not run"))?;
    for (program, server) in flags.servers.iter().zip(&mut servers) {
        // etcd ends by the signal itself, so the status says nothing.
        let stopped = server.terminate().with_context(|| format!("{} does not stop", program.display()))?;
        if !status.success() {
            eprintln!("with-server: {} ended with {stopped}; the end of its log:", program.display());
            let log = server.log();
            let lines: Vec<_> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(20)..] {
                eprintln!("  {}", &line[..line.floor_char_boundary(300)]);
            }
        }
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
