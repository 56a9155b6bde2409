//! `check`

use super::{FLAGS, end, look};
use crate::cli::exit::{Code, Exit};
use crate::cli::output::write_out;
use crate::cli::tree::{Action, Command, Invocation};
use crate::utl::print;

pub(super) static CHECK: Command = Command {
    usage: "check <data directory | db | segment>",
    short: "Proves that a stopped member's files are whole and belong together",
    long: "Reads every page of the database and every frame of the log, compares heads, records, leases and counts with each
other and the state with the log, and says what is wrong, where, and what can be done. Changes nothing.

Exit code 0: sound. 1: damaged, or a member would refuse it. 2: could not tell.",
    flags: &FLAGS,
    action: Action::Run(run),
    misused: Code::Undecided,
    ..Command::EMPTY
};

fn run(invocation: Invocation<'_>) -> Result<(), Exit> {
    let (report, format) = look(&invocation)?;
    write_out(print::check(&report, format).as_bytes());
    end(&report)
}
