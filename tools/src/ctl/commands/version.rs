//! `version`

use super::super::exit::Exit;
use super::super::print::write_out;
use super::super::tree::{Action, Command, Group, Invocation};

pub(super) static VERSION: Command = Command {
    usage: "version",
    short: "Prints the version of etcdctl",
    group: Some(Group::Utility),
    action: Action::Run(run),
    ..Command::EMPTY
};

/// The version of etcd whose behavior this is, under the name scripts look for.
fn run(_: Invocation<'_>) -> Result<(), Exit> {
    write_out(b"etcdctl version: 3.7.1\nAPI version: 3.7\n");
    Ok(())
}
