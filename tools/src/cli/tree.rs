//! The tree of commands and how a command line finds its place in it: cobra's rules, with unique prefixes.

use super::exit::{Code, Exit};
use super::flags::{Flag, Flags, Kind};

/// The headings of the overview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    KeyValue,
    ClusterMaintenance,
    Utility,
}

impl Group {
    pub(crate) const ALL: [(Group, &'static str); 3] = [
        (Group::KeyValue, "Key-value commands"),
        (Group::ClusterMaintenance, "Cluster maintenance commands"),
        (Group::Utility, "Utility commands"),
    ];
}

/// What a command does when it is found.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// Nothing by itself: shows its subcommands.
    Overview,
    Run(fn(Invocation<'_>) -> Result<(), Exit>),
    /// etcdctl has it, this program does not yet. Its name still counts when prefixes are told apart.
    Missing,
}

/// One command.
pub(crate) struct Command {
    /// First word: the name.
    pub(crate) usage: &'static str,
    pub(crate) short: &'static str,
    /// Empty: `short` says it all.
    pub(crate) long: &'static str,
    pub(crate) group: Option<Group>,
    pub(crate) flags: &'static [Flag],
    /// Flags that every subcommand takes too.
    pub(crate) inherited: &'static [Flag],
    pub(crate) subcommands: &'static [&'static Command],
    pub(crate) action: Action,
    /// How the program ends when the flags make no sense.
    pub(crate) misused: Code,
}

impl Command {
    /// Everything left out of a command's definition.
    pub(crate) const EMPTY: Command = Command {
        usage: "",
        short: "",
        long: "",
        group: None,
        flags: &[],
        inherited: &[],
        subcommands: &[],
        action: Action::Missing,
        misused: Code::Error,
    };

    /// A command that only etcdctl has.
    pub(crate) const fn missing(usage: &'static str) -> Command {
        Command { usage, ..Command::EMPTY }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.usage.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.action, Action::Missing)
    }

    /// The subcommand of this name, or the only one whose name begins so.
    fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        if let Some(exact) = self.subcommands.iter().find(|command| command.name().as_bytes() == name) {
            return Some(exact);
        }
        let mut begin = self.subcommands.iter().filter(|command| command.name().as_bytes().starts_with(name));
        begin.next().filter(|_| begin.next().is_none()).copied()
    }
}

/// A command that was found, and what was given to it.
pub(crate) struct Invocation<'a> {
    pub(crate) path: &'a Path,
    pub(crate) flags: Flags,
    pub(crate) args: Vec<Vec<u8>>,
    /// Everything after the program's name, as typed.
    pub(crate) raw: &'a [Vec<u8>],
}

/// A command with those above it; the root comes first.
pub(crate) struct Path {
    pub(crate) program: String,
    pub(crate) commands: Vec<&'static Command>,
}

/// Every command takes this one.
pub(crate) static HELP: Flag = Flag::with_short("help", 'h', Kind::Bool(false), "");

impl Path {
    pub(crate) fn command(&self) -> &'static Command {
        self.commands.last().expect("the root is always there")
    }

    /// Names from the program's on.
    pub(crate) fn names(&self) -> String {
        let below = self.commands[1..].iter().map(|command| command.name());
        std::iter::once(self.program.as_str()).chain(below).collect::<Vec<_>>().join(" ")
    }

    /// Flags the command takes from those above it.
    pub(crate) fn inherited(&self) -> impl Iterator<Item = &'static Flag> {
        let (_, above) = self.commands.split_last().expect("the root is always there");
        above.iter().flat_map(|command| command.inherited)
    }

    /// Flags of its own.
    pub(crate) fn own(&self) -> impl Iterator<Item = &'static Flag> {
        self.command().flags.iter().chain(self.command().inherited)
    }

    /// Everything the command takes, `--help` aside.
    pub(crate) fn flags(&self) -> Flags {
        Flags::new(self.own().chain(self.inherited()))
    }

    /// Goes down as far as the arguments lead; gives the path and the arguments without the command names.
    pub(crate) fn find(program: &str, root: &'static Command, args: &[Vec<u8>]) -> (Path, Vec<Vec<u8>>) {
        let mut path = Path { program: program.to_owned(), commands: vec![root] };
        let mut args = args.to_vec();
        loop {
            let words = path.words(&args);
            let Some(next) = words.first().and_then(|&at| path.command().subcommand(&args[at])) else {
                return (path, args);
            };
            args.remove(words[0]);
            path.commands.push(next);
        }
    }

    /// Places of the arguments that are neither flags nor values of flags. A flag nobody knows is taken to have
    /// a value.
    pub(crate) fn words(&self, args: &[Vec<u8>]) -> Vec<usize> {
        // As in cobra, below the root `--help` is not known before the command is.
        let help = (self.commands.len() == 1).then_some(&HELP);
        let flags: Vec<_> = self.own().chain(self.inherited()).chain(help).collect();
        let mut words = Vec::new();
        let mut at = 0;
        while let Some(arg) = args.get(at) {
            let takes_next = match arg.as_slice() {
                b"--" => break,
                [b'-', b'-', name @ ..] if !name.contains(&b'=') => {
                    !flags.iter().any(|flag| flag.name.as_bytes() == name && flag.stands_alone())
                }
                [b'-', letter] if *letter != b'=' => {
                    !flags.iter().any(|flag| flag.short == Some(char::from(*letter)) && flag.stands_alone())
                }
                [b'-', ..] | [] => false,
                _ => {
                    words.push(at);
                    false
                }
            };
            at += 1 + usize::from(takes_next);
        }
        words
    }
}

/// Names close to one that does not exist: two edits away at most, or beginning with it. In the tree's order.
pub(crate) fn suggestions(root: &Command, typed: &str) -> Vec<&'static str> {
    let lower = typed.to_lowercase();
    let close =
        |name: &&str| distance(&lower, &name.to_lowercase()) <= 2 || name.to_lowercase().starts_with(&lower);
    root.subcommands
        .iter()
        .filter(|command| !command.is_missing())
        .map(|command| command.name())
        .filter(close)
        .collect()
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::ROOT;

    fn find(line: &str) -> (String, String) {
        let args: Vec<_> = line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
        let (path, rest) = Path::find("ctl", &ROOT, &args);
        (path.names(), String::from_utf8(rest.join(&b' ')).unwrap())
    }

    #[test]
    fn flags_may_stand_before_the_command() {
        for (line, names, rest) in [
            ("get a b", "ctl get", "a b"),
            ("-w json get a", "ctl get", "-w json a"),
            ("--endpoints get get a", "ctl get", "--endpoints get a"),
            ("--hex get a", "ctl get", "--hex a"),
            ("lease --hex grant 5", "ctl lease grant", "--hex 5"),
            ("--unknown x get a", "ctl get", "--unknown x a"),
            ("-- get a", "ctl", "-- get a"),
            ("endpoint --cluster status", "ctl endpoint status", "--cluster"),
        ] {
            assert_eq!(find(line), (names.to_owned(), rest.to_owned()), "{line}");
        }
    }

    #[test]
    fn prefixes_count_etcdctls_other_commands() {
        for (line, names) in [
            ("g a", "ctl get"),
            ("mem l", "ctl member list"),
            ("m", "ctl"),
            ("l", "ctl"),
            ("le tim 1", "ctl lease timetolive"),
            ("comp 1", "ctl"),
            ("compa 1", "ctl compaction"),
            ("e s", "ctl"),
            ("en s", "ctl endpoint status"),
        ] {
            assert_eq!(find(line).0, names, "{line}");
        }
    }

    #[test]
    fn suggests_what_is_near() {
        assert_eq!(suggestions(&ROOT, "gett"), ["get"]);
        assert_eq!(suggestions(&ROOT, "le"), ["get", "del", "lease"]);
        assert_eq!(suggestions(&ROOT, "nothing-like-it"), [""; 0]);
    }
}
