//! The command line: every flag of etcd 3.7, its environment variable, and how the two combine.
//!
//! Go's flag syntax is accepted (`-name v`, `--name v`, `--name=v`, `--bool`, `--bool=false`). A flag that is not
//! given is looked up as `ETCD_` + its name in upper case with `-` as `_`; giving both is an error, as in etcd.
//!
//! Each flag says how far it goes today: [`Effect::Used`] changes something, [`Effect::Inert`] is accepted because it
//! tunes a part of etcd that Graven does not have, [`Effect::Absent`] names a feature that is not built yet and is
//! refused unless it is given its default. Nothing is accepted and then silently not done.

mod table;

use std::collections::BTreeMap;
use std::fmt;

use table::{Effect, FLAGS, Flag, IGNORED, Kind};

/// Why the command line can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagError {
    /// Broken syntax or an unknown flag: the process exits with 2 after a usage line.
    Usage(String),
    /// A word that belongs to no flag: exit 1.
    Positional(String),
    /// Flag and environment variable both given: exit 1.
    Shadowed {
        /// The environment variable.
        env: String,
    },
    /// A feature that is not built yet was asked for: exit 1.
    Absent {
        /// The flag's name.
        flag: &'static str,
    },
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::Positional(word) => write!(f, "{word:?} is not a valid flag"),
            Self::Shadowed { env } => write!(
                f,
                "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag)): {env}"
            ),
            Self::Absent { flag } => {
                write!(f, "--{flag} is not supported yet; leave it at its default")
            }
        }
    }
}

impl std::error::Error for FlagError {}

/// Whether the process should go on after reading its command line.
#[derive(Debug)]
pub enum Parsed {
    /// `-h`, `--help`.
    Help,
    /// The values to start with.
    Run(Flags),
}

/// Values by flag name, with where each came from.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    values: BTreeMap<&'static str, String>,
    given: BTreeMap<&'static str, Source>,
    /// Lines for the log, once there is one: (warning?, text).
    pub(crate) notices: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Line,
    Env,
}

impl Flags {
    /// Reads the words after the program's name, then the environment.
    pub fn parse(
        words: impl IntoIterator<Item = String>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Parsed, FlagError> {
        let mut flags = Self::default();
        if flags.read_line(words)? == Line::Help {
            return Ok(Parsed::Help);
        }
        flags.read_environment(environment)?;
        flags.refuse_absent()?;
        Ok(Parsed::Run(flags))
    }

    fn read_line(&mut self, words: impl IntoIterator<Item = String>) -> Result<Line, FlagError> {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(stripped) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                return Err(FlagError::Positional(word));
            };
            if stripped.is_empty() {
                // Go ends the flags at "--"; whatever follows is positional.
                return match words.next() {
                    Some(next) if word == "--" => Err(FlagError::Positional(next)),
                    None if word == "--" => Ok(Line::Run),
                    _ => Err(FlagError::Positional(word)),
                };
            }
            if stripped.starts_with('-') || stripped.starts_with('=') {
                return Err(FlagError::Usage(format!("bad flag syntax: {word}")));
            }
            let (name, inline) = match stripped.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (stripped, None),
            };
            if name == "h" || name == "help" {
                return Ok(Line::Help);
            }
            if IGNORED.contains(&name) {
                self.notices.push(format!("flag {name} is no longer supported - ignoring"));
                if inline.is_none() {
                    words.next();
                }
                continue;
            }
            let Some(flag) = FLAGS.iter().find(|f| f.name == name) else {
                return Err(FlagError::Usage(format!("flag provided but not defined: -{name}")));
            };
            let value = match (inline, flag.kind) {
                (Some(value), _) => value,
                (None, Kind::Bool) => "true".to_owned(),
                (None, _) => words
                    .next()
                    .ok_or_else(|| FlagError::Usage(format!("flag needs an argument: -{name}")))?,
            };
            let value = checked(flag, &value).map_err(|reason| match flag.kind {
                Kind::Bool => {
                    FlagError::Usage(format!("invalid boolean value {value:?} for -{name}: {reason}"))
                }
                _ => FlagError::Usage(format!("invalid value {value:?} for flag -{name}: {reason}")),
            })?;
            self.values.insert(flag.name, value);
            self.given.insert(flag.name, Source::Line);
        }
        Ok(Line::Run)
    }

    fn read_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), FlagError> {
        for (variable, value) in environment {
            let Some(rest) = variable.strip_prefix("ETCD_") else { continue };
            if matches!(rest, "UNSUPPORTED_ARCH" | "VERIFY") || value.is_empty() {
                continue;
            }
            if rest == "VERSION" {
                self.notices.push("cannot set special environment variable: ETCD_VERSION".to_owned());
                continue;
            }
            let Some(flag) = FLAGS.iter().find(|f| env_name(f.name) == variable) else {
                self.notices.push(format!("unrecognized environment variable: {variable}={value}"));
                continue;
            };
            if self.given.contains_key(flag.name) {
                return Err(FlagError::Shadowed { env: variable });
            }
            let value = checked(flag, &value).map_err(|reason| {
                FlagError::Usage(format!("invalid value {value:?} for {variable}: {reason}"))
            })?;
            self.notices.push(format!("recognized and used environment variable: {variable}={value}"));
            self.values.insert(flag.name, value);
            self.given.insert(flag.name, Source::Env);
        }
        Ok(())
    }

    fn refuse_absent(&self) -> Result<(), FlagError> {
        for flag in FLAGS.iter().filter(|f| f.effect == Effect::Absent) {
            if self.values.get(flag.name).is_some_and(|value| value != flag.default) {
                return Err(FlagError::Absent { flag: flag.name });
            }
        }
        Ok(())
    }

    /// `--version`.
    pub fn asks_for_version(&self) -> bool {
        self.bool("version")
    }

    /// The flag's value, or its default.
    pub(crate) fn text(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(value) => value,
            None => FLAGS.iter().find(|f| f.name == name).map_or("", |f| f.default),
        }
    }

    /// Whether the flag or its environment variable was given.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    pub(crate) fn bool(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    pub(crate) fn uint(&self, name: &str) -> u64 {
        self.text(name).parse().expect("checked when it was read")
    }

    pub(crate) fn int(&self, name: &str) -> i64 {
        self.text(name).parse().expect("checked when it was read")
    }

    pub(crate) fn duration(&self, name: &str) -> std::time::Duration {
        duration(self.text(name)).expect("checked when it was read")
    }
}

#[derive(PartialEq, Eq)]
enum Line {
    Help,
    Run,
}

/// The environment variable of a flag.
pub(crate) fn env_name(flag: &str) -> String {
    format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// Checks `value` against the flag's kind and brings it into one spelling.
fn checked(flag: &Flag, value: &str) -> Result<String, String> {
    let owned = || Ok(value.to_owned());
    match flag.kind {
        Kind::Text => owned(),
        Kind::Bool => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
            _ => Err("parse error".to_owned()),
        },
        Kind::Int => value.parse::<i64>().map(|n| n.to_string()).map_err(|_| "parse error".to_owned()),
        Kind::Uint => value.parse::<u64>().map(|n| n.to_string()).map_err(|_| "parse error".to_owned()),
        Kind::Uint32 => value.parse::<u32>().map(|n| n.to_string()).map_err(|_| "parse error".to_owned()),
        Kind::Duration => match duration(value) {
            Some(_) => owned(),
            None => Err("parse error".to_owned()),
        },
        Kind::OneOf(choices) if choices.contains(&value) => owned(),
        Kind::OneOf(choices) => Err(format!("must be one of {}", choices.join(", "))),
    }
}

/// A Go duration; negative ones are refused because no flag takes one.
pub(crate) fn duration(text: &str) -> Option<std::time::Duration> {
    const UNITS: &[(&str, f64)] =
        &[("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(std::time::Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = UNITS.iter().find(|(name, _)| *name == &rest[..end])?.1;
        nanos += number * unit;
        rest = &rest[end..];
    }
    (nanos < 9.2e18).then(|| std::time::Duration::from_nanos(nanos as u64))
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from("Usage:\n\n  graven [flags]\n    Start a member.\n\nFlags:\n\n");
    for flag in FLAGS {
        let note = match flag.effect {
            Effect::Used => "",
            Effect::Inert => " (accepted, no effect)",
            Effect::Absent => " (not supported yet)",
        };
        text.push_str(&format!("  --{} '{}'\n    {}{}\n", flag.name, flag.default, flag.help, note));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration as D;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn parse(line: &str, env: &[(&str, &str)]) -> Result<Flags, FlagError> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        match Flags::parse(words(line), env)? {
            Parsed::Run(flags) => Ok(flags),
            Parsed::Help => panic!("asked for help"),
        }
    }

    #[test]
    fn go_spellings() {
        for line in ["--name a", "-name a", "--name=a", "-name=a"] {
            assert_eq!(parse(line, &[]).unwrap().text("name"), "a", "{line}");
        }
        assert!(parse("--socket-reuse-port", &[]).unwrap().bool("socket-reuse-port"));
        assert!(!parse("--socket-reuse-port=F", &[]).unwrap().bool("socket-reuse-port"));
        assert_eq!(parse("--name=", &[]).unwrap().text("name"), "");
    }

    #[test]
    fn refusals_name_the_flag() {
        let cases = [
            ("--nmae x", "flag provided but not defined: -nmae"),
            ("--name", "flag needs an argument: -name"),
            ("---name x", "bad flag syntax: ---name"),
            ("--=x", "bad flag syntax: --=x"),
            ("--pre-vote=2", "invalid boolean value \"2\" for -pre-vote: parse error"),
            ("--max-txn-ops -1", "invalid value \"-1\" for flag -max-txn-ops: parse error"),
            (
                "--max-concurrent-streams 4294967296",
                "invalid value \"4294967296\" for flag -max-concurrent-streams: parse error",
            ),
            (
                "--grpc-keepalive-interval 5",
                "invalid value \"5\" for flag -grpc-keepalive-interval: parse error",
            ),
            (
                "--initial-cluster-state old",
                "invalid value \"old\" for flag -initial-cluster-state: must be one of new, existing",
            ),
            ("--enable-v2", "flag provided but not defined: -enable-v2"),
            ("--experimental-foo=1", "flag provided but not defined: -experimental-foo"),
            ("serve", "\"serve\" is not a valid flag"),
            ("--pre-vote false", "\"false\" is not a valid flag"),
            ("-- x", "\"x\" is not a valid flag"),
            ("--auto-tls", "--auto-tls is not supported yet; leave it at its default"),
            ("--unsafe-no-fsync", "--unsafe-no-fsync is not supported yet; leave it at its default"),
            ("--cert-file x", "--cert-file is not supported yet; leave it at its default"),
            ("--config-file x", "--config-file is not supported yet; leave it at its default"),
            (
                "--auto-compaction-retention 1h",
                "--auto-compaction-retention is not supported yet; leave it at its default",
            ),
        ];
        for (line, text) in cases {
            assert_eq!(parse(line, &[]).unwrap_err().to_string(), text, "{line}");
        }
    }

    #[test]
    fn environment_fills_what_the_line_leaves() {
        let flags = parse("", &[("ETCD_NAME", "e"), ("ETCD_DATA_DIR", ""), ("ETCD_WHAT", "1")]).unwrap();
        assert_eq!(flags.text("name"), "e");
        assert!(!flags.is_given("data-dir"));
        assert!(flags.notices.iter().any(|n| n.contains("unrecognized environment variable: ETCD_WHAT")));
        assert_eq!(
            parse("--name a", &[("ETCD_NAME", "e")]).unwrap_err(),
            FlagError::Shadowed { env: "ETCD_NAME".to_owned() }
        );
    }

    #[test]
    fn durations() {
        let cases = [
            ("0", Some(D::ZERO)),
            ("300ms", Some(D::from_millis(300))),
            ("1h2m3s", Some(D::from_secs(3723))),
            ("1.5s", Some(D::from_millis(1500))),
            ("2h0m0s", Some(D::from_secs(7200))),
            ("5", None),
            ("-5s", None),
            ("s", None),
            ("", None),
            ("1x", None),
            ("99999999999h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_default_is_of_its_kind() {
        for flag in FLAGS {
            assert!(checked(flag, flag.default).is_ok(), "{}", flag.name);
        }
        let mut names: Vec<_> = FLAGS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FLAGS.len(), "a flag stands twice");
    }
}
