//! `ETCDCTL_*` variables stand in for flags that are not given. One that is given both ways is an error, one
//! that names no flag is warned about.

use super::exit::{Code, Exit};
use super::flags::{Flag, Flags};
use super::log;

const PREFIX: &str = "ETCDCTL_";
/// The watch command reads these itself.
const WATCH_ONLY: [&str; 2] = ["ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"];

pub(crate) fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_uppercase().replace('-', "_"))
}

/// Sets flags from `variables`; gives the warnings. A value that cannot be read is passed over in silence.
pub(crate) fn apply(
    flags: &mut Flags,
    eligible: &[&'static Flag],
    is_watch: bool,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Vec<String>, Exit> {
    let given: Vec<_> =
        eligible.iter().filter(|flag| flags.is_changed(flag.name)).map(|f| variable(f.name)).collect();
    let mut warnings = Vec::new();
    for (name, value) in variables {
        if !name.starts_with(PREFIX) {
            continue;
        }
        if given.contains(&name) {
            let message = "conflicting environment variable is shadowed by corresponding command-line flag \
                           (either unset environment variable or disable flag))";
            warnings.push(log::line("fatal", "", message, &[("environment-variable", &name)]));
            return Err(Exit { code: Code::Error, text: warnings.concat() });
        }
        let used = !value.is_empty()
            && match eligible.iter().find(|flag| variable(flag.name) == name) {
                Some(flag) => {
                    let _ = flags.set(flag.name, value.as_bytes());
                    true
                }
                None => is_watch && WATCH_ONLY.contains(&name.as_str()),
            };
        if !used {
            let shown = format!("{name}={value}");
            warnings.push(log::line(
                "warn",
                "",
                "unrecognized environment variable",
                &[("environment-variable", &shown)],
            ));
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::super::flags::Kind;
    use super::*;

    static KNOWN: [Flag; 2] = [
        Flag::new("command-timeout", Kind::Duration(5_000_000_000), ""),
        Flag::new("endpoints", Kind::List(&["a"]), ""),
    ];

    fn run(args: &[&str], is_watch: bool, variables: &[(&str, &str)]) -> (Flags, Result<String, Exit>) {
        let mut flags = Flags::new(&KNOWN);
        flags.parse(&args.iter().map(|arg| arg.as_bytes().to_vec()).collect::<Vec<_>>()).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let eligible: Vec<_> = KNOWN.iter().collect();
        let result = apply(&mut flags, &eligible, is_watch, variables).map(|warnings| warnings.concat());
        (flags, result)
    }

    #[test]
    fn sets_flags_and_warns_of_the_unknown() {
        let (flags, warnings) = run(
            &[],
            false,
            &[
                ("ETCDCTL_ENDPOINTS", "x,y"),
                ("ETCDCTL_NOPE", "1"),
                ("HOME", "/"),
                ("ETCDCTL_COMMAND_TIMEOUT", ""),
            ],
        );
        assert_eq!(flags.list("endpoints"), ["x", "y"]);
        let warnings = warnings.unwrap();
        assert!(warnings.contains("\"environment-variable\":\"ETCDCTL_NOPE=1\""), "{warnings}");
        assert!(warnings.contains("\"environment-variable\":\"ETCDCTL_COMMAND_TIMEOUT=\""), "{warnings}");
        assert_eq!(warnings.lines().count(), 2);
    }

    #[test]
    fn a_flag_given_both_ways_is_an_error() {
        let (_, result) = run(&["--endpoints", "z"], false, &[("ETCDCTL_ENDPOINTS", "x")]);
        let exit = result.unwrap_err();
        assert_eq!(exit.code, Code::Error);
        assert!(
            exit.text.contains("\"level\":\"fatal\"") && exit.text.contains("ETCDCTL_ENDPOINTS"),
            "{}",
            exit.text
        );
    }

    #[test]
    fn an_unreadable_value_leaves_zero_as_pflag_does() {
        let (flags, warnings) = run(&[], false, &[("ETCDCTL_COMMAND_TIMEOUT", "soon")]);
        assert_eq!((flags.duration("command-timeout"), warnings.unwrap().as_str()), (0, ""));
    }

    #[test]
    fn the_watch_commands_own_variables_are_known_to_it_only() {
        let variables = [("ETCDCTL_WATCH_KEY", "k")];
        assert_eq!(run(&[], true, &variables).1.unwrap(), "");
        assert!(run(&[], false, &variables).1.unwrap().contains("unrecognized"));
    }
}
