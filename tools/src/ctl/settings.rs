//! The global flags, and what they say about the connection.

use super::exit::{Code, Exit};
use super::flags::{Flag, Flags, Kind};
use std::time::Duration;

/// In the order of their names, as `options` lists them.
pub(crate) static GLOBAL: [Flag; 21] = [
    Flag::new(
        "auth-jwt-token",
        Kind::Text(""),
        "JWT token used for authentication (if this option is used, --user and --password should not be set)",
    ),
    Flag::new(
        "cacert",
        Kind::Text(""),
        "verify certificates of TLS-enabled secure servers using this CA bundle",
    ),
    Flag::new("cert", Kind::Text(""), "identify secure client using this TLS certificate file"),
    Flag::new(
        "command-timeout",
        Kind::Duration(5_000_000_000),
        "timeout for short running command (excluding dial timeout)",
    ),
    Flag::new("debug", Kind::Bool(false), "enable client-side debug logging"),
    Flag::new("dial-timeout", Kind::Duration(2_000_000_000), "dial timeout for client connections"),
    Flag::with_short(
        "discovery-srv",
        'd',
        Kind::Text(""),
        "domain name to query for SRV records describing cluster endpoints",
    ),
    Flag::new("discovery-srv-name", Kind::Text(""), "service name to query when using DNS discovery"),
    Flag::new("endpoints", Kind::List(&["127.0.0.1:2379"]), "gRPC endpoints"),
    Flag::new("hex", Kind::Bool(false), "print byte strings as hex encoded strings"),
    Flag::new(
        "insecure-discovery",
        Kind::Bool(true),
        "accept insecure SRV records describing cluster endpoints",
    ),
    Flag::new(
        "insecure-skip-tls-verify",
        Kind::Bool(false),
        "skip server certificate verification (CAUTION: this option should be enabled only for testing purposes)",
    ),
    Flag::new("insecure-transport", Kind::Bool(true), "disable transport security for client connections"),
    Flag::new("keepalive-time", Kind::Duration(2_000_000_000), "keepalive time for client connections"),
    Flag::new("keepalive-timeout", Kind::Duration(6_000_000_000), "keepalive timeout for client connections"),
    Flag::new("key", Kind::Text(""), "identify secure client using this TLS key file"),
    Flag::new(
        "max-recv-bytes",
        Kind::Int(0),
        "client-side response receive limit in bytes (if 0, it defaults to \"math.MaxInt32\")",
    ),
    Flag::new(
        "max-request-bytes",
        Kind::Int(0),
        "client-side request send limit in bytes (if 0, it defaults to 2.0 MiB (2 * 1024 * 1024).)",
    ),
    Flag::new(
        "password",
        Kind::Text(""),
        "password for authentication (if this option is used, --user option shouldn't include password)",
    ),
    Flag::new(
        "user",
        Kind::Text(""),
        "username[:password] for authentication (prompt if password is not supplied)",
    ),
    Flag::with_short(
        "write-out",
        'w',
        Kind::Text("simple"),
        "set the output format (fields, json, protobuf, simple, table)",
    ),
];

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Nobody,
    Token(String),
    User { name: String, password: String },
}

/// How to reach the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) endpoints: Vec<String>,
    pub(crate) dial_timeout: Duration,
    pub(crate) keepalive_time: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_receive_bytes: usize,
    pub(crate) identity: Identity,
}

impl Settings {
    /// `ask_password` is called when a user is named without one.
    pub(crate) fn from_flags(
        flags: &Flags,
        ask_password: impl FnOnce() -> Result<String, Exit>,
    ) -> Result<Settings, Exit> {
        for name in ["cert", "key", "cacert"] {
            if flags.text(name).is_empty() && flags.is_changed(name) {
                return Err(Exit::bad_args(format!("empty string is passed to --{name} option")));
            }
        }
        let endpoints: Vec<_> = flags.list("endpoints").iter().map(|e| e.trim().to_owned()).collect();
        if !flags.text("discovery-srv").is_empty() {
            return Err(Exit::new(Code::Error, "--discovery-srv is not supported"));
        }
        let identity = identity(flags, ask_password)?;
        let wants_tls = !flags.bool("insecure-transport")
            || ["cert", "key", "cacert"].iter().any(|name| !flags.text(name).is_empty())
            || endpoints.iter().any(|e| e.starts_with("https://") || e.starts_with("unixs://"));
        if wants_tls {
            return Err(Exit::bad_args("TLS connections are not supported"));
        }
        let limit = |name, default| match flags.int(name) {
            0 => default,
            bytes => usize::try_from(bytes).unwrap_or(0),
        };
        let duration = |name| Duration::from_nanos(u64::try_from(flags.duration(name)).unwrap_or(0));
        Ok(Settings {
            endpoints,
            dial_timeout: duration("dial-timeout"),
            keepalive_time: duration("keepalive-time"),
            keepalive_timeout: duration("keepalive-timeout"),
            max_request_bytes: limit("max-request-bytes", 2 << 20),
            max_receive_bytes: limit("max-recv-bytes", i32::MAX as usize),
            identity,
        })
    }
}

fn identity(flags: &Flags, ask_password: impl FnOnce() -> Result<String, Exit>) -> Result<Identity, Exit> {
    let (user, password, token) = (flags.text("user"), flags.text("password"), flags.text("auth-jwt-token"));
    if !token.is_empty() {
        return Ok(Identity::Token(token.to_owned()));
    }
    if user.is_empty() {
        return Ok(Identity::Nobody);
    }
    let (name, password) = match (password.is_empty(), user.split_once(':')) {
        (false, _) => (user, password.to_owned()),
        (true, Some((name, password))) => (name, password.to_owned()),
        (true, None) => (user, ask_password()?),
    };
    Ok(Identity::User { name: name.to_owned(), password })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(line: &str) -> Result<Settings, Exit> {
        let mut flags = Flags::new(&GLOBAL);
        flags.parse(&line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>()).unwrap();
        Settings::from_flags(&flags, || Ok("asked".to_owned()))
    }

    #[test]
    fn identities() {
        let user =
            |name: &str, password: &str| Identity::User { name: name.into(), password: password.into() };
        for (line, expected) in [
            ("get", Identity::Nobody),
            ("--password p", Identity::Nobody),
            ("--user u:p:q", user("u", "p:q")),
            ("--user u", user("u", "asked")),
            ("--user u:x --password p", user("u:x", "p")),
            ("--user u --auth-jwt-token t", Identity::Token("t".into())),
        ] {
            assert_eq!(settings(line).unwrap().identity, expected, "{line}");
        }
    }

    #[test]
    fn refusals() {
        for (line, text) in [
            ("--cert=", "empty string is passed to --cert option"),
            ("--key=", "empty string is passed to --key option"),
            ("--cacert=", "empty string is passed to --cacert option"),
            ("--cacert x", "TLS connections are not supported"),
            ("--endpoints https://h:1", "TLS connections are not supported"),
            ("--insecure-transport=false", "TLS connections are not supported"),
        ] {
            assert_eq!(settings(line).unwrap_err(), Exit::bad_args(text), "{line}");
        }
    }
}
