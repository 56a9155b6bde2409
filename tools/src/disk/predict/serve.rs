//! `graven-disk serve-member DIR`, hidden: a member as `graven` runs one, for as long as whoever started it lives.
//!
//! It listens on a free port, says on standard output where, and ends when its standard input does: a process that is killed closes its
//! end of the pipe, whatever else it could not do any more.

use std::io;
use std::path::PathBuf;

use clap::Args;
use measure::{Error, Result, WalMethod};
use server::{Config, Flags, Parsed, Server};

use crate::disk::outcome::Outcome;
use crate::disk::terminal::say;

/// The command's name.
pub(super) const COMMAND: &str = "serve-member";

/// Options of `graven-disk serve-member`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// An empty directory.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// How appends to the log are made durable.
    #[arg(long, value_enum, default_value_t = WalMethod::Auto)]
    method: WalMethod,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let config = config(arguments)?;
    let failed = |error: &dyn std::fmt::Display| Error::Wrong(format!("the server failed: {error:#}"));
    server::start_log(&config.log_level, config.log_format, &config.log_output).map_err(|e| failed(&e))?;
    let server = Server::start(&config).map_err(|error| failed(&error))?;
    for address in server.client_addresses() {
        say(address);
    }
    let ended = io::copy(&mut io::stdin().lock(), &mut io::sink());
    server.stop().map_err(|error| failed(&error))?;
    ended.map(|_| Outcome::Fit).map_err(|error| failed(&error))
}

/// The defaults of `graven`, but for ports that nobody else uses. Its environment variables are not looked at.
fn config(arguments: &Arguments) -> Result<Config> {
    const ANYWHERE: &str = "http://127.0.0.1:0";
    let dir = arguments.dir.to_str().ok_or_else(|| {
        Error::Usage(format!("{} is no text, as the server's flags are", arguments.dir.display()))
    })?;
    let method = arguments.method.name();
    let words = [
        ("--data-dir", dir),
        ("--listen-client-urls", ANYWHERE),
        ("--advertise-client-urls", ANYWHERE),
        ("--listen-peer-urls", ANYWHERE),
        ("--wal-sync-method", &method),
    ];
    let words = words.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]);
    let wrong = |error: &dyn std::fmt::Display| Error::Wrong(format!("the server's flags: {error}"));
    match Flags::parse(words, []).map_err(|error| wrong(&error))? {
        Parsed::Run(flags) => Config::from_flags(&flags).map_err(|error| wrong(&error)),
        Parsed::Help => unreachable!("no flag above asks for help"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_the_defaults_of_graven() {
        let arguments = Arguments { dir: "/nowhere/data".into(), method: WalMethod::Dsync };
        let Parsed::Run(flags) = Flags::parse([], []).unwrap() else { panic!("nobody asked for help") };
        let (found, plain) = (config(&arguments).unwrap(), Config::from_flags(&flags).unwrap());
        assert_eq!((found.wal_method.as_str(), found.data_dir.as_path()), ("dsync", arguments.dir.as_path()));
        let adjusted = Config {
            data_dir: plain.data_dir.clone(),
            client_listeners: plain.client_listeners.clone(),
            peer_listeners: plain.peer_listeners.clone(),
            advertise_client_urls: plain.advertise_client_urls.clone(),
            wal_method: plain.wal_method.clone(),
            notices: plain.notices.clone(),
            ..found
        };
        assert_eq!(format!("{adjusted:?}"), format!("{plain:?}"));
    }
}
