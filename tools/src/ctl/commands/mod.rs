//! The commands: one file for each, or for each group with subcommands.

mod compaction;
mod defrag;
mod del;
mod endpoint;
mod get;
mod help;
mod input;
mod lease;
mod member;
mod put;
mod txn;
mod version;
mod watch;
mod watch_args;
mod watch_stream;

use super::settings::GLOBAL;
use super::tree::{Action, Command};

/// The program itself. Names that only etcdctl knows are here too, because prefixes are told apart by all names.
pub(crate) static ROOT: Command = Command {
    short: "A simple command line client for etcd3.",
    inherited: &GLOBAL,
    subcommands: &[
        &get::GET,
        &put::PUT,
        &del::DEL,
        &txn::TXN,
        &compaction::COMPACTION,
        &endpoint::ENDPOINT,
        &defrag::DEFRAG,
        &watch::WATCH,
        &version::VERSION,
        &lease::LEASE,
        &member::MEMBER,
        &help::OPTIONS,
        &help::HELP_COMMAND,
        &Command::missing("alarm"),
        &Command::missing("auth"),
        &Command::missing("check"),
        &Command::missing("completion"),
        &Command::missing("downgrade"),
        &Command::missing("elect"),
        &Command::missing("lock"),
        &Command::missing("make-mirror"),
        &Command::missing("move-leader"),
        &Command::missing("role"),
        &Command::missing("snapshot"),
        &Command::missing("user"),
    ],
    action: Action::Overview,
    ..Command::EMPTY
};
