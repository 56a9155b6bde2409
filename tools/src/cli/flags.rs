//! Command-line flags with the rules and error texts of Go's pflag: `--name value`, `--name=value`, `-n value`,
//! `-nvalue`, `-n=value`, flags anywhere among the arguments, `--` ends them. A flag without a value is possible
//! for truth values only.

use super::go::{format_duration, parse_bool, parse_duration, parse_int, quote};
use std::collections::BTreeMap;

/// The type of a flag and its default.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool(bool),
    Int(i64),
    Text(&'static str),
    /// Nanoseconds.
    Duration(i64),
    /// Comma-separated; giving the flag again adds to it.
    List(&'static [&'static str]),
}

/// One flag of one command.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) kind: Kind,
    pub(crate) usage: &'static str,
}

impl Flag {
    pub(crate) const fn new(name: &'static str, kind: Kind, usage: &'static str) -> Flag {
        Flag { name, short: None, kind, usage }
    }

    pub(crate) const fn with_short(name: &'static str, short: char, kind: Kind, usage: &'static str) -> Flag {
        Flag { name, short: Some(short), kind, usage }
    }

    /// Given without a value it means `true`.
    pub(crate) fn stands_alone(&self) -> bool {
        matches!(self.kind, Kind::Bool(_))
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bool(bool),
    Int(i64),
    Text(String),
    Duration(i64),
    List(Vec<String>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
            Value::Duration(nanos) => f.write_str(&format_duration(*nanos)),
            Value::List(items) => write!(f, "[{}]", items.join(",")),
        }
    }
}

/// Why the arguments could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FlagError {
    /// `--help` or `-h`.
    Help,
    Bad(String),
}

/// The flags a command takes, with their values.
#[derive(Debug)]
pub(crate) struct Flags {
    known: Vec<&'static Flag>,
    values: BTreeMap<&'static str, Value>,
    changed: Vec<&'static str>,
}

impl Flags {
    /// All at their defaults.
    pub(crate) fn new(known: impl IntoIterator<Item = &'static Flag>) -> Flags {
        let known: Vec<_> = known.into_iter().collect();
        let values = known.iter().map(|flag| {
            let value = match flag.kind {
                Kind::Bool(value) => Value::Bool(value),
                Kind::Int(value) => Value::Int(value),
                Kind::Text(value) => Value::Text(value.to_owned()),
                Kind::Duration(nanos) => Value::Duration(nanos),
                Kind::List(items) => Value::List(items.iter().map(|item| (*item).to_owned()).collect()),
            };
            (flag.name, value)
        });
        Flags { values: values.collect(), known, changed: Vec::new() }
    }

    /// Set by the user, on the command line or in the environment.
    pub(crate) fn is_changed(&self, name: &str) -> bool {
        self.changed.contains(&name)
    }

    /// # Panics
    /// When the command has no such flag of that type; so for the other getters.
    pub(crate) fn bool(&self, name: &str) -> bool {
        match self.values.get(name) {
            Some(Value::Bool(value)) => *value,
            other => panic!("flag {name} is {other:?}"),
        }
    }

    pub(crate) fn int(&self, name: &str) -> i64 {
        match self.values.get(name) {
            Some(Value::Int(value)) => *value,
            other => panic!("flag {name} is {other:?}"),
        }
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(Value::Text(value)) => value,
            other => panic!("flag {name} is {other:?}"),
        }
    }

    /// Nanoseconds.
    pub(crate) fn duration(&self, name: &str) -> i64 {
        match self.values.get(name) {
            Some(Value::Duration(nanos)) => *nanos,
            other => panic!("flag {name} is {other:?}"),
        }
    }

    pub(crate) fn list(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some(Value::List(items)) => items,
            other => panic!("flag {name} is {other:?}"),
        }
    }

    /// As `--debug` shows it.
    pub(crate) fn shown(&self, name: &str) -> String {
        self.values.get(name).map(Value::to_string).unwrap_or_default()
    }

    /// Sets a flag from text. A number that cannot be read leaves zero behind, as pflag does.
    pub(crate) fn set(&mut self, name: &'static str, text: &[u8]) -> Result<(), String> {
        let first = !self.is_changed(name);
        let value = self.values.get_mut(name).expect("only known flags are set");
        let result = match value {
            Value::Bool(value) => {
                parse_bool(text).map(|parsed| *value = parsed).inspect_err(|_| *value = false)
            }
            Value::Int(value) => parse_int(text, 0).map(|parsed| *value = parsed).inspect_err(|_| *value = 0),
            Value::Duration(nanos) => {
                parse_duration(text).map(|parsed| *nanos = parsed).inspect_err(|_| *nanos = 0)
            }
            Value::Text(value) => {
                *value = String::from_utf8_lossy(text).into_owned();
                Ok(())
            }
            Value::List(items) => {
                if first {
                    items.clear();
                }
                items.extend(split_list(&String::from_utf8_lossy(text)));
                Ok(())
            }
        };
        if result.is_ok() && first {
            self.changed.push(name);
        }
        result
    }

    /// Takes the flags out of `args`; what remains are the arguments.
    pub(crate) fn parse(&mut self, args: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, FlagError> {
        let mut positional = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_slice() {
                b"--" => {
                    positional.extend(args.by_ref().cloned());
                }
                [b'-', b'-', long @ ..] => self.parse_long(long, &mut args)?,
                [b'-', short @ ..] if !short.is_empty() => self.parse_short(short, &mut args)?,
                _ => positional.push(arg.clone()),
            }
        }
        Ok(positional)
    }

    fn parse_long<'a>(
        &mut self,
        long: &[u8],
        rest: &mut impl Iterator<Item = &'a Vec<u8>>,
    ) -> Result<(), FlagError> {
        if matches!(long[0], b'-' | b'=') {
            return Err(FlagError::Bad(format!("bad flag syntax: --{}", String::from_utf8_lossy(long))));
        }
        let (name, given) = match long.iter().position(|&b| b == b'=') {
            Some(at) => (&long[..at], Some(&long[at + 1..])),
            None => (long, None),
        };
        let Some(flag) = self.known.iter().copied().find(|flag| flag.name.as_bytes() == name) else {
            if name == b"help" {
                return Err(FlagError::Help);
            }
            return Err(FlagError::Bad(format!("unknown flag: --{}", String::from_utf8_lossy(name))));
        };
        let value = match given {
            Some(value) => value,
            None if flag.stands_alone() => b"true",
            None => rest
                .next()
                .ok_or_else(|| FlagError::Bad(format!("flag needs an argument: --{}", flag.name)))?,
        };
        self.set_or_explain(flag, value)
    }

    fn parse_short<'a>(
        &mut self,
        cluster: &[u8],
        rest: &mut impl Iterator<Item = &'a Vec<u8>>,
    ) -> Result<(), FlagError> {
        let mut letters = cluster;
        while let Some((&letter, tail)) = letters.split_first() {
            let complain = |what: &str| {
                let all = String::from_utf8_lossy(cluster);
                FlagError::Bad(format!("{what}: {:?} in -{all}", char::from(letter)))
            };
            let known = |flag: &&&Flag| flag.short == Some(char::from(letter));
            let Some(flag) = self.known.iter().find(known).copied() else {
                return Err(if letter == b'h' {
                    FlagError::Help
                } else {
                    complain("unknown shorthand flag")
                });
            };
            let value = match tail {
                [b'=', value @ ..] if !value.is_empty() => value,
                _ if flag.stands_alone() => {
                    self.set_or_explain(flag, b"true")?;
                    letters = tail;
                    continue;
                }
                [] => rest.next().ok_or_else(|| complain("flag needs an argument"))?,
                value => value,
            };
            return self.set_or_explain(flag, value);
        }
        Ok(())
    }

    fn set_or_explain(&mut self, flag: &'static Flag, value: &[u8]) -> Result<(), FlagError> {
        self.set(flag.name, value).map_err(|why| {
            let name = match flag.short {
                Some(short) => format!("-{short}, --{}", flag.name),
                None => format!("--{}", flag.name),
            };
            FlagError::Bad(format!("invalid argument {} for \"{name}\" flag: {why}", quote(value)))
        })
    }
}

/// Items between commas; an item in double quotes may hold commas.
fn split_list(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut items = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        let last = items.last_mut().expect("never empty");
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(String::new()),
            _ => last.push(c),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    static KNOWN: [Flag; 5] = [
        Flag::with_short("interactive", 'i', Kind::Bool(false), ""),
        Flag::new("limit", Kind::Int(0), ""),
        Flag::with_short("write-out", 'w', Kind::Text("simple"), ""),
        Flag::new("timeout", Kind::Duration(5_000_000_000), ""),
        Flag::new("endpoints", Kind::List(&["127.0.0.1:2379"]), ""),
    ];

    fn parse(line: &str) -> (Flags, Result<String, FlagError>) {
        let mut flags = Flags::new(&KNOWN);
        let args: Vec<_> = line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
        let rest = flags.parse(&args);
        let rest = rest.map(|rest| String::from_utf8(rest.join(&b' ')).unwrap());
        (flags, rest)
    }

    #[test]
    fn values_in_every_notation() {
        for line in ["--limit 3 a", "a --limit=3", "--limit=0x3 a", "--limit 1 --limit 3 a"] {
            let (flags, rest) = parse(line);
            assert_eq!((flags.int("limit"), rest), (3, Ok("a".into())), "{line}");
        }
        for line in ["-w json", "-wjson", "-w=json", "--write-out=json", "-iwjson"] {
            let (flags, rest) = parse(line);
            assert_eq!((flags.text("write-out"), rest), ("json", Ok(String::new())), "{line}");
        }
        let (flags, rest) = parse("-i --timeout 1m x -- -w y");
        assert!(flags.bool("interactive") && flags.is_changed("interactive") && !flags.is_changed("limit"));
        assert_eq!((flags.duration("timeout"), rest), (60_000_000_000, Ok("x -w y".into())));
        assert!(!parse("--interactive=false").0.bool("interactive"));
    }

    #[test]
    fn lists_replace_the_default_and_then_add() {
        assert_eq!(parse("").0.list("endpoints"), ["127.0.0.1:2379"]);
        assert_eq!(parse("--endpoints a,b --endpoints c").0.list("endpoints"), ["a", "b", "c"]);
        assert_eq!(parse("--endpoints=").0.list("endpoints"), [""; 0]);
        assert_eq!(parse("--endpoints=\"a,b\",c").0.shown("endpoints"), "[a,b,c]");
    }

    #[test]
    fn errors_have_pflags_text() {
        for (line, expected) in [
            ("--nope", "unknown flag: --nope"),
            ("--nope=1", "unknown flag: --nope"),
            ("-z", "unknown shorthand flag: 'z' in -z"),
            ("-iz", "unknown shorthand flag: 'z' in -iz"),
            ("--limit", "flag needs an argument: --limit"),
            ("-w", "flag needs an argument: 'w' in -w"),
            ("---x", "bad flag syntax: ---x"),
            ("--=x", "bad flag syntax: --=x"),
            (
                "--limit x",
                "invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "-i=maybe",
                "invalid argument \"maybe\" for \"-i, --interactive\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                "--timeout 3",
                "invalid argument \"3\" for \"--timeout\" flag: time: missing unit in duration \"3\"",
            ),
        ] {
            assert_eq!(parse(line).1, Err(FlagError::Bad(expected.into())), "{line}");
        }
        for line in ["--help", "-h", "-ih", "--help --nope"] {
            assert_eq!(parse(line).1, Err(FlagError::Help), "{line}");
        }
    }
}
