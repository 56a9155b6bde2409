//! `gravenctl`: etcdctl's commands, flags, environment, output and exit codes.
//!
//! Scripts read what etcdctl prints and act on how it exits, so both are kept to the letter. The layers, from the
//! command line inwards: `flags` and `tree` follow pflag and cobra, `help` prints in their layout, `environment`
//! completes the flags; each file of `commands` checks its arguments in etcdctl's order and makes its calls
//! through a `Session`; `print` has a file for each format. Where Go's own notation shows, `go` has it.

mod client;
mod commands;
mod environment;
mod exit;
mod flags;
mod go;
mod help;
mod log;
mod print;
mod range;
mod session;
mod settings;
mod tree;
mod words;

use exit::{Code, Exit};
use flags::FlagError;
use print::{write_err, write_out};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use tree::{Action, Invocation, Path};

/// Runs one command line; the first of `args` is the program.
///
/// Called as `etcdctl`, the program calls itself so.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let called = args.next().map(std::path::PathBuf::from);
    let is_etcdctl = called.is_some_and(|path| path.file_name().is_some_and(|name| name == "etcdctl"));
    let args: Vec<Vec<u8>> = args.map(OsString::into_vec).collect();
    let code = match run(if is_etcdctl { "etcdctl" } else { "gravenctl" }, &args) {
        Ok(()) => Code::Success,
        Err(exit) => {
            write_err(&exit.text);
            exit.code
        }
    };
    ExitCode::from(code as u8)
}

fn run(program: &str, typed: &[Vec<u8>]) -> Result<(), Exit> {
    let (path, rest) = Path::find(program, &commands::ROOT, typed);
    let command = path.command();
    if path.commands.len() == 1
        && let Some(&unknown) = path.words(&rest).first()
    {
        return Err(unknown_command(program, &String::from_utf8_lossy(&rest[unknown])));
    }
    if command.is_missing() {
        return Err(Exit::new(Code::Error, format!("\"{}\" is not available yet", path.names())));
    }
    let mut flags = path.flags();
    let args = match flags.parse(&rest) {
        Ok(args) => args,
        Err(FlagError::Help) => {
            write_out(help::help(&path).as_bytes());
            return Ok(());
        }
        Err(FlagError::Bad(why)) => {
            return Err(Exit { code: Code::Error, text: format!("Error: {why}\n{}\n", help::usage(&path)) });
        }
    };
    match command.action {
        Action::Run(run) => run(Invocation { path: &path, flags, args, raw: typed }),
        Action::Overview | Action::Missing => {
            write_out(help::help(&path).as_bytes());
            Ok(())
        }
    }
}

fn unknown_command(program: &str, name: &str) -> Exit {
    let mut text = format!("Error: unknown command {} for {program:?}\n", go::quote(name.as_bytes()));
    let near = tree::suggestions(&commands::ROOT, name);
    if !near.is_empty() {
        text += &format!("\nDid you mean this?\n\t{}\n\n", near.join("\n\t"));
    }
    text += &format!("Run '{program} --help' for usage.\n");
    Exit { code: Code::Error, text }
}
