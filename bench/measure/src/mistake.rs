//! Mistakes on the command line: both programs say each of their complaints in one line.

use clap::error::ErrorKind;

/// What is wrong with a command line, and where to look; none where help or the version was asked for, which clap prints.
pub fn mistake(program: &str, error: &clap::Error) -> Option<String> {
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
    Some(format!("{program}: {what}; see {program} --help"))
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
