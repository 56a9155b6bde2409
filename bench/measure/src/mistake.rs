//! Mistakes on the command line: both programs say each of their complaints in one line.

use clap::error::ErrorKind;

/// What is wrong with a command line, and where to look; none where help or the version was asked for, which clap prints.
pub fn mistake(program: &str, error: &clap::Error) -> Option<String> {
    mistake_in(program, program, error)
}

/// The same, where the command is known whose help lists what could have been meant ([`command_of`]).
pub fn mistake_in(program: &str, command: &str, error: &clap::Error) -> Option<String> {
    let what = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return None,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing".to_owned(),
        _ => {
            let text = error.to_string();
            // Behind the first paragraph come tips and the usage.
            let about: Vec<&str> =
                text.split("\n\n").next().unwrap_or_default().lines().map(str::trim).collect();
            about.join(" ").trim_start_matches("error: ").to_owned()
        }
    };
    Some(format!("{program}: {what}; see {command} --help"))
}

/// The command that these arguments name, as one would type it: `prog sub`.
pub fn command_of(command: &clap::Command, arguments: impl IntoIterator<Item = String>) -> String {
    let (mut command, mut name) = (command, command.get_name().to_owned());
    for argument in arguments {
        match command.find_subcommand(&argument) {
            Some(sub) => {
                name.push(' ');
                name.push_str(sub.get_name());
                command = sub;
            }
            None => break,
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn said(arguments: &[&str]) -> Option<String> {
        let first = Arg::new("first").long("first").required(true).value_parser(["one", "two"]);
        let command = Command::new("prog").version("1").arg_required_else_help(true).arg(first);
        let second = Arg::new("second").long("second").required(true);
        let error = command.arg(second).try_get_matches_from([&["prog"], arguments].concat());
        mistake("prog", &error.expect_err("each is wrong or asks for help"))
    }

    #[test]
    fn the_command_is_found_whose_help_says_more() {
        let command = Command::new("prog").subcommand(Command::new("sub").subcommand(Command::new("below")));
        let of = |arguments: &[&str]| command_of(&command, arguments.iter().map(|one| (*one).to_owned()));
        assert_eq!(of(&[]), "prog");
        assert_eq!(of(&["sbu", "below"]), "prog");
        assert_eq!(of(&["sub", "--first", "below"]), "prog sub");
        assert_eq!(of(&["sub", "below", "--first"]), "prog sub below");
        let error = command.clone().try_get_matches_from(["prog", "sub", "--frist"]).unwrap_err();
        assert!(mistake_in("prog", "prog sub", &error).unwrap().ends_with("; see prog sub --help"));
    }

    #[test]
    fn is_told_in_one_line() {
        assert_eq!((said(&["--help"]), said(&["--version"])), (None, None));
        assert_eq!(said(&[]).unwrap(), "prog: a command is missing; see prog --help");
        let all = [&["--first", "one"][..], &["--first", "three", "--second", "x"], &["--frist"]];
        for (arguments, words) in all.into_iter().zip(["--second <second>", "one, two", "--frist"]) {
            let line = said(arguments).unwrap();
            assert!(line.starts_with("prog: ") && line.ends_with("; see prog --help"), "{line}");
            assert!(line.contains(words) && !line.contains('\n') && !line.contains("error: "), "{line}");
        }
    }
}
