//! `help` and `options`

use super::super::exit::Exit;
use super::super::help::{flag_table, help, usage};
use super::super::print::{write_err, write_out};
use super::super::settings::GLOBAL;
use super::super::tree::{Action, Command, Group, Invocation, Path};
use super::ROOT;

pub(super) static OPTIONS: Command = Command {
    usage: "options",
    short: "Show the global command-line flags",
    group: Some(Group::Utility),
    action: Action::Run(options),
    ..Command::EMPTY
};

pub(super) static HELP_COMMAND: Command = Command {
    usage: "help [command]",
    short: "Help about any command",
    long: "Help provides help for any command in the application.
Simply type {ctl} help [path to command] for full details.",
    group: Some(Group::Utility),
    action: Action::Run(help_of),
    ..Command::EMPTY
};

fn options(_: Invocation<'_>) -> Result<(), Exit> {
    let table = flag_table(&GLOBAL.iter().collect::<Vec<_>>(), None);
    write_out(format!("The following options can be passed to any command:\n\n{table}").as_bytes());
    Ok(())
}

fn help_of(invocation: Invocation<'_>) -> Result<(), Exit> {
    let (path, rest) = Path::find(&invocation.path.program, &ROOT, &invocation.args);
    if path.commands.len() == 1 && !rest.is_empty() || path.command().is_missing() {
        let topic: Vec<_> = invocation.args.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let topic = topic.join("` `");
        let root = Path { program: path.program, commands: vec![&ROOT] };
        write_err(&format!("Unknown help topic [`{topic}`]\n{}", usage(&root)));
        return Ok(());
    }
    write_out(help(&path).as_bytes());
    Ok(())
}
