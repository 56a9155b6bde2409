//! Which words of a `watch` line are keys and which are the command to run: etcdctl's rules, letter for letter.
//!
//! On the command line the flag parser has taken `--` away, so the place of the command is found again in what was
//! typed; an interactive line still has its `--`.

use super::super::exit::Exit;
use super::super::flags::{FlagError, Flags};

const BAD_NUMBER: &str = "bad number of arguments";
const CONFLICT: &str = "bad number of arguments (found conflicting environment key)";
const NO_COMMAND: &str = "bad number of arguments (found separator --, but no commands)";

/// Keys from `ETCDCTL_WATCH_KEY` and `ETCDCTL_WATCH_RANGE_END`; empty: not set.
#[derive(Clone, Debug, Default)]
pub(super) struct EnvironmentKeys {
    pub(super) key: Vec<u8>,
    pub(super) range_end: Vec<u8>,
}

impl EnvironmentKeys {
    fn prepend_to(&self, args: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let keys = [&self.key, &self.range_end].into_iter().filter(|_| !self.key.is_empty());
        keys.filter(|key| !key.is_empty()).cloned().chain(args).collect()
    }
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) keys: Vec<Vec<u8>>,
    /// Empty: nothing is run.
    pub(super) command: Vec<Vec<u8>>,
}

/// From the command line. `typed` is everything after the program's name, `args` what is no flag.
pub(super) fn from_command_line(
    typed: &[Vec<u8>],
    args: &[Vec<u8>],
    environment: &EnvironmentKeys,
) -> Result<Words, Exit> {
    let typed = match typed.iter().position(|word| word == b"watch") {
        Some(at) => &typed[at + 1..],
        None => typed,
    };
    let separator = typed.iter().position(|word| word == b"--");
    if separator.is_some_and(|at| at == typed.len() - 1) {
        return Err(Exit::bad_args(NO_COMMAND));
    }
    if separator.is_none() && typed.is_empty() && environment.key.is_empty() {
        return Err(Exit::bad_args(BAD_NUMBER));
    }
    if !environment.key.is_empty() {
        // Keys from both places: arguments that are not words of the command.
        let command_words = separator.map_or(0, |at| typed.len() - at - 1);
        if args.len() > command_words {
            return Err(Exit::bad_args(CONFLICT));
        }
    }
    Ok(split_off_command(environment.prepend_to(args.to_vec()), separator.map(|at| &typed[at + 1..])))
}

/// From a line typed at an interactive watch; its first word is `watch`. Sets `flags`.
pub(super) fn from_interactive_line(
    words: &[Vec<u8>],
    environment: &EnvironmentKeys,
    flags: &mut Flags,
) -> Result<Words, Exit> {
    let words = &words[1..];
    let separator = words.iter().position(|word| word == b"--");
    if separator.is_some_and(|at| at == words.len() - 1) {
        return Err(Exit::bad_args(NO_COMMAND));
    }
    let args = flags.parse(words).map_err(|error| match error {
        FlagError::Help => Exit::bad_args("pflag: help requested"),
        FlagError::Bad(why) => Exit::bad_args(why),
    })?;
    if separator.is_none() {
        match (args.is_empty(), environment.key.is_empty()) {
            (true, true) => return Err(Exit::bad_args(BAD_NUMBER)),
            (false, false) => return Err(Exit::bad_args(CONFLICT)),
            _ => {}
        }
    }
    Ok(split_off_command(environment.prepend_to(args), separator.map(|at| &words[at + 1..])))
}

/// The last word that equals the command's first ends the keys.
fn split_off_command(mut keys: Vec<Vec<u8>>, command: Option<&[Vec<u8>]>) -> Words {
    let Some(command) = command else {
        return Words { keys, command: Vec::new() };
    };
    let end = keys.iter().rposition(|word| *word == command[0]).unwrap_or(0);
    keys.truncate(end);
    Words { keys, command: command.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::super::super::tree::Path;
    use super::super::ROOT;
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
    }

    fn environment(line: &str) -> EnvironmentKeys {
        let mut keys = words(line).into_iter();
        EnvironmentKeys { key: keys.next().unwrap_or_default(), range_end: keys.next().unwrap_or_default() }
    }

    #[test]
    fn keys_and_command() {
        for (line, from_environment, keys, command) in [
            ("watch foo", "", "foo", ""),
            ("watch foo bar", "", "foo bar", ""),
            ("watch foo -- echo x", "", "foo", "echo x"),
            ("watch foo bar --rev 1 -- echo foo", "", "foo bar", "echo foo"),
            ("watch --rev 1 foo -- echo -n", "", "foo", "echo -n"),
            ("-w json watch foo", "", "foo", ""),
            ("watch", "foo", "foo", ""),
            ("watch", "foo bar", "foo bar", ""),
            ("watch -- echo x", "foo bar", "foo bar", "echo x"),
            ("watch --rev 1 -- echo x", "foo", "foo", "echo x"),
        ] {
            let typed = words(line);
            let (path, rest) = Path::find("ctl", &ROOT, &typed);
            let args = path.flags().parse(&rest).unwrap();
            let found = from_command_line(&typed, &args, &environment(from_environment)).unwrap();
            let expected = Words { keys: words(keys), command: words(command) };
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn refused_command_lines() {
        for (line, from_environment, why) in [
            ("watch", "", BAD_NUMBER),
            ("watch foo --", "", NO_COMMAND),
            ("watch --", "foo", NO_COMMAND),
            ("watch foo", "bar", CONFLICT),
            ("watch foo -- echo x", "bar", CONFLICT),
        ] {
            let typed = words(line);
            let (path, rest) = Path::find("ctl", &ROOT, &typed);
            let args = path.flags().parse(&rest).unwrap();
            let refused = from_command_line(&typed, &args, &environment(from_environment));
            assert_eq!(refused, Err(Exit::bad_args(why)), "{line}");
        }
    }

    #[test]
    fn interactive_lines() {
        let parse = |line: &str, from_environment: &str| {
            let mut flags = Flags::new(super::super::watch::WATCH.flags);
            from_interactive_line(&words(line), &environment(from_environment), &mut flags)
                .map(|words| (words, flags.int("rev")))
        };
        for (line, from_environment, keys, command, revision) in [
            ("watch foo", "", "foo", "", 0),
            ("watch foo --rev 3", "", "foo", "", 3),
            ("watch foo bar -- echo x", "", "foo bar", "echo x", 0),
            ("watch", "foo bar", "foo bar", "", 0),
            ("watch --rev 2 -- echo x", "foo", "foo", "echo x", 2),
        ] {
            let expected = (Words { keys: words(keys), command: words(command) }, revision);
            assert_eq!(parse(line, from_environment), Ok(expected), "{line}");
        }
        for (line, from_environment, why) in [
            ("watch", "", BAD_NUMBER),
            ("watch foo --", "", NO_COMMAND),
            ("watch foo", "bar", CONFLICT),
            ("watch foo --nope", "", "unknown flag: --nope"),
            ("watch foo -w json", "", "unknown shorthand flag: 'w' in -w"),
            ("watch --help", "", "pflag: help requested"),
        ] {
            assert_eq!(parse(line, from_environment), Err(Exit::bad_args(why)), "{line}");
        }
    }
}
