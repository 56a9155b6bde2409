//! The commands, one file each. Names that only etcdutl knows are here too, because prefixes are told apart by all names.

mod check;
mod inspect;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::examine::examine;
use super::finding::Verdict;
use super::print::Format;
use super::report::Report;
use crate::cli::exit::{Code, Exit};
use crate::cli::flags::{Flag, Kind};
use crate::cli::tree::{Action, Command, Invocation};

/// The program itself.
pub(super) static ROOT: Command = Command {
    short: "An administrative command line tool for the files of a stopped member.",
    inherited: &[Flag::with_short(
        "write-out",
        'w',
        Kind::Text("simple"),
        "set the output format (json, simple)",
    )],
    subcommands: &[
        &check::CHECK,
        &inspect::INSPECT,
        &Command::missing("completion"),
        &Command::missing("defrag"),
        &Command::missing("hashkv"),
        &Command::missing("migrate"),
        &Command::missing("snapshot"),
        &Command::missing("version"),
    ],
    action: Action::Overview,
    ..Command::EMPTY
};

/// What `check` and `inspect` take.
static FLAGS: [Flag; 1] = [Flag::new(
    "wal-dir",
    Kind::Text(""),
    "directory of the log, where the member was started with --wal-dir",
)];

/// Looks at the one path that was given.
fn look(invocation: &Invocation<'_>) -> Result<(Report, Format), Exit> {
    let undecided = |text: String| Exit::new(Code::Undecided, text);
    let format = Format::parse(invocation.flags.text("write-out"))
        .ok_or_else(|| undecided("unsupported output format".to_owned()))?;
    let name = invocation.path.command().name();
    let [path] = invocation.args.as_slice() else {
        return Err(undecided(format!("{name} command needs 1 argument: a data directory or a file of one")));
    };
    let wal_dir = Some(invocation.flags.text("wal-dir")).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let path = PathBuf::from(OsString::from_vec(path.clone()));
    Ok((examine(&path, wal_dir.as_deref()).map_err(undecided)?, format))
}

/// How the program ends.
fn end(report: &Report) -> Result<(), Exit> {
    match report.verdict {
        Verdict::Sound => Ok(()),
        Verdict::Damaged => Err(Exit::silent(Code::Error)),
        Verdict::Unknown => Err(Exit::silent(Code::Undecided)),
    }
}
