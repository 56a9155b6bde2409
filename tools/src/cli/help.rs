//! Help and usage texts in cobra's layout.

use super::flags::{Flag, Kind};
use super::go::format_duration;
use super::tree::{Action, Command, Group, Path};
use std::fmt::Write;

/// What `--help` prints.
pub(crate) fn help(path: &Path) -> String {
    let command = path.command();
    let about = if command.long.is_empty() { command.short } else { command.long };
    let about = about.replace("{ctl}", &path.program);
    let mut out = format!("{}\n\n{}", about.trim_end(), usage(path));
    if lists_options(path) {
        let program = &path.program;
        line(
            &mut out,
            format_args!(
                "Use \"{program} options\" for a list of global command-line options (applies to all commands)."
            ),
        );
    }
    out
}

/// Whether the program has a command that shows the flags of its root; otherwise each command's help does.
fn lists_options(path: &Path) -> bool {
    path.commands[0].subcommands.iter().any(|command| command.name() == "options")
}

/// What follows an error in the flags.
pub(crate) fn usage(path: &Path) -> String {
    let command = path.command();
    let mut out = String::from("Usage:\n");
    if matches!(command.action, Action::Run(_)) {
        line(&mut out, format_args!("  {}{} [flags]", above(path), command.usage));
    }
    if !command.subcommands.is_empty() {
        line(&mut out, format_args!("  {} [command]", path.names()));
        overview(&mut out, path);
    }
    let is_root = path.commands.len() == 1;
    if !is_root {
        let help = format!("help for {}", command.name());
        let own: Vec<_> = path.own().collect();
        line(&mut out, format_args!("\nFlags:\n{}", flag_table(&own, Some(&help)).trim_end()));
        let first = usize::from(lists_options(path));
        let inherited: Vec<_> =
            path.commands[first..path.commands.len() - 1].iter().flat_map(|c| c.inherited).collect();
        if !inherited.is_empty() {
            line(&mut out, format_args!("\nGlobal Flags:\n{}", flag_table(&inherited, None).trim_end()));
        }
    }
    if !command.subcommands.is_empty() {
        line(
            &mut out,
            format_args!("\nUse \"{} [command] --help\" for more information about a command.", path.names()),
        );
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a string takes everything");
}

/// Names above the command, each followed by a space.
fn above(path: &Path) -> String {
    let names = path.names();
    names.strip_suffix(path.command().name()).unwrap_or_default().to_owned()
}

fn overview(out: &mut String, path: &Path) {
    let command = path.command();
    let mut present: Vec<_> = command.subcommands.iter().filter(|c| !c.is_missing()).copied().collect();
    present.sort_by_key(|c| c.name());
    let entry = |c: &Command| format!("  {:<11} {}", c.name(), c.short.replace("{ctl}", &path.program));
    if present.iter().all(|c| c.group.is_none()) {
        line(out, format_args!("\nAvailable Commands:"));
        present.iter().for_each(|c| line(out, format_args!("{}", entry(c))));
        return;
    }
    for (group, title) in Group::ALL {
        line(out, format_args!("\n{title}"));
        for c in present.iter().filter(|c| c.group == Some(group)) {
            line(out, format_args!("{}", entry(c)));
        }
    }
}

/// Flags in the order of their names, descriptions aligned. `help` is the text for `--help`.
pub(crate) fn flag_table(flags: &[&Flag], help: Option<&str>) -> String {
    let mut rows: Vec<(&str, String, String)> = flags
        .iter()
        .map(|flag| (flag.name, head(flag), format!("{}{}", flag.usage, default_note(&flag.kind))))
        .collect();
    if let Some(help) = help {
        rows.push(("help", "  -h, --help".to_owned(), help.to_owned()));
    }
    rows.sort_by_key(|row| row.0);
    let width = rows.iter().map(|(_, head, _)| head.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut out, (_, head, text)| {
        line(&mut out, format_args!("{head:<width$}   {text}"));
        out
    })
}

fn head(flag: &Flag) -> String {
    let value = match flag.kind {
        Kind::Bool(_) => "",
        Kind::Int(_) => " int",
        Kind::Text(_) => " string",
        Kind::Duration(_) => " duration",
        Kind::List(_) => " strings",
    };
    match flag.short {
        Some(short) => format!("  -{short}, --{}{value}", flag.name),
        None => format!("      --{}{value}", flag.name),
    }
}

fn default_note(kind: &Kind) -> String {
    match kind {
        Kind::Bool(false) | Kind::Int(0) | Kind::Text("") | Kind::Duration(0) | Kind::List([]) => {
            String::new()
        }
        Kind::Bool(value) => format!(" (default {value})"),
        Kind::Int(value) => format!(" (default {value})"),
        Kind::Text(value) => format!(" (default \"{value}\")"),
        Kind::Duration(nanos) => format!(" (default {})", format_duration(*nanos)),
        Kind::List(items) => format!(" (default [{}])", items.join(",")),
    }
}
