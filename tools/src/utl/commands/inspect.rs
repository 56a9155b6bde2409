//! `inspect`

use super::{FLAGS, end, look};
use crate::cli::exit::{Code, Exit};
use crate::cli::output::write_out;
use crate::cli::tree::{Action, Command, Invocation};
use crate::utl::print;

pub(super) static INSPECT: Command = Command {
    usage: "inspect <data directory | db | segment>",
    short: "Shows what is in a stopped member's files",
    long: "Shows the meta pages, buckets and free space of the database, the segments of the log, and what check finds.
Changes nothing.

Exit code as of check.",
    flags: &FLAGS,
    action: Action::Run(run),
    misused: Code::Undecided,
    ..Command::EMPTY
};

fn run(invocation: Invocation<'_>) -> Result<(), Exit> {
    let (report, format) = look(&invocation)?;
    write_out(print::inspect(&report, format).as_bytes());
    end(&report)
}
