//! What the programs share: a command line with Go's rules (pflag, cobra), help texts in their layout, exit codes.

pub(crate) mod exit;
pub(crate) mod flags;
pub(crate) mod go;
pub(crate) mod help;
pub(crate) mod output;
pub(crate) mod table;
pub(crate) mod tree;

use exit::{Code, Exit};
use flags::FlagError;
use output::{write_err, write_out};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use tree::{Action, Command, Invocation, Path};

/// Runs one command line; the first of `args` is the program.
///
/// Called by the name of etcd's program, it calls itself so.
pub(crate) fn main(
    args: impl IntoIterator<Item = OsString>,
    name: &str,
    etcds_name: &str,
    root: &'static Command,
) -> ExitCode {
    let mut args = args.into_iter();
    let called = args.next().map(std::path::PathBuf::from);
    let is_etcds = called.is_some_and(|path| path.file_name().is_some_and(|file| file == etcds_name));
    let args: Vec<Vec<u8>> = args.map(OsString::into_vec).collect();
    let code = match run(if is_etcds { etcds_name } else { name }, root, &args) {
        Ok(()) => Code::Success,
        Err(exit) => {
            write_err(&exit.text);
            exit.code
        }
    };
    ExitCode::from(code.number())
}

fn run(program: &str, root: &'static Command, typed: &[Vec<u8>]) -> Result<(), Exit> {
    let (path, rest) = Path::find(program, root, typed);
    let command = path.command();
    if path.commands.len() == 1
        && let Some(&unknown) = path.words(&rest).first()
    {
        return Err(unknown_command(program, root, &String::from_utf8_lossy(&rest[unknown])));
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
            let text = format!("Error: {why}\n{}\n", help::usage(&path));
            return Err(Exit { code: command.misused, text });
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

fn unknown_command(program: &str, root: &'static Command, name: &str) -> Exit {
    let mut text = format!("Error: unknown command {} for {program:?}\n", go::quote(name.as_bytes()));
    let near = tree::suggestions(root, name);
    if !near.is_empty() {
        text += &format!("\nDid you mean this?\n\t{}\n\n", near.join("\n\t"));
    }
    text += &format!("Run '{program} --help' for usage.\n");
    Exit { code: root.misused, text }
}
