//! A server's command line: where the folder and the ports go, and which flags would make a comparison worthless.

use std::path::Path;

use crate::error::{Error, Result};

/// Switches that trade durability for speed, and what they are of.
const UNSAFE: [&str; 3] = ["unsafe-no-fsync", "ETCD_UNSAFE_NO_FSYNC", "GRAVEN_UNSAFE_NO_FSYNC"];
/// What may stand in braces.
const PLACES: [&str; 4] = ["dir", "client-port", "peer-port", "endpoint"];

/// One of the servers that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// `--a`, for messages.
    pub(super) flag: String,
    /// In the results.
    pub(super) name: String,
    line: String,
}

/// What the places become.
pub(super) struct Places<'a> {
    pub(super) dir: &'a Path,
    pub(super) client: u16,
    pub(super) peer: u16,
}

impl Command {
    /// # Errors
    /// [`Error::Usage`] when it can't be put in a fresh folder and on a free port, or does not sync.
    pub(super) fn parse(letter: char, line: &str, name: Option<&str>) -> Result<Command> {
        let flag = format!("--{letter}");
        let wrong = |what: &str| Err(Error::Usage(format!("{flag}: {what}")));
        if line.trim().is_empty() {
            return wrong("is empty; give the command that starts the server");
        }
        if let Some(found) = UNSAFE.iter().find(|flag| line.contains(**flag)) {
            return wrong(&format!("{found} makes puts that a power cut loses; compare servers that sync"));
        }
        if !line.contains("{dir}") {
            return wrong("has no {dir}: say where its data goes, as in --data-dir {dir}/data");
        }
        if !line.contains("{client-port}") && !line.contains("{endpoint}") {
            return wrong("has neither {client-port} nor {endpoint}: say where it listens for clients");
        }
        if let Some(other) = unknown_place(line) {
            let known = PLACES.map(|place| format!("{{{place}}}")).join(", ");
            return wrong(&format!("{{{other}}} is no placeholder; there are {known}"));
        }
        let name = match name {
            Some(name) if name.trim().is_empty() => return wrong("its name is empty"),
            Some(name) => name.to_owned(),
            None => program(line).unwrap_or_else(|| letter.to_string()),
        };
        Ok(Command { flag, name, line: line.to_owned() })
    }

    /// As it was given.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// For the shell.
    pub(super) fn filled(&self, places: &Places<'_>) -> String {
        self.line
            .replace("{dir}", &places.dir.display().to_string())
            .replace("{client-port}", &places.client.to_string())
            .replace("{peer-port}", &places.peer.to_string())
            .replace("{endpoint}", &format!("127.0.0.1:{}", places.client))
    }
}

/// A path is put into command lines as it is.
pub(super) fn check_dir(dir: &Path) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@,=".contains(c);
    match dir.to_str() {
        Some(text) if text.chars().all(plain) => Ok(()),
        _ => Err(Error::Usage(format!(
            "--dir {}: is put into command lines as {{dir}}; give one of letters, digits and /._-+@,= only",
            dir.display()
        ))),
    }
}

/// A word in braces that is nothing of ours, nor of the shell's (`${word}`, `{a,b}`).
fn unknown_place(line: &str) -> Option<&str> {
    let mut rest = line;
    let mut before = None;
    while let Some(at) = rest.find('{') {
        if at > 0 {
            before = rest[..at].chars().next_back();
        }
        rest = &rest[at + 1..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
        let word = &rest[..end];
        if rest[end..].starts_with('}') && !word.is_empty() && before != Some('$') && !PLACES.contains(&word)
        {
            return Some(word);
        }
        before = None;
    }
    None
}

/// The program's own name.
fn program(line: &str) -> Option<String> {
    let first = line.split_whitespace().find(|word| !word.contains('='))?;
    let name = first.rsplit('/').next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

/// Names that tell the servers apart.
pub(super) fn distinct(commands: &mut [Command]) {
    let names: Vec<String> = commands.iter().map(|command| command.name.clone()).collect();
    for command in commands {
        if names.iter().filter(|name| **name == command.name).count() > 1 {
            command.name = format!("{} ({})", command.name, command.flag.trim_start_matches('-'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        Command::parse('a', line, None).unwrap_err().to_string()
    }

    #[test]
    fn places_are_filled() {
        let line =
            "x=1 bin/etcd --data-dir {dir}/d --l http://{endpoint} --p {peer-port} --c {client-port} ${HOME}";
        let command = Command::parse('a', line, None).unwrap();
        assert_eq!(command.name, "etcd");
        let filled = command.filled(&Places { dir: Path::new("/t"), client: 5, peer: 6 });
        assert_eq!(filled, "x=1 bin/etcd --data-dir /t/d --l http://127.0.0.1:5 --p 6 --c 5 ${HOME}");
    }

    #[test]
    fn what_can_not_be_compared_is_refused() {
        assert!(refused("").contains("is empty"));
        assert!(refused("etcd --listen {endpoint}").contains("has no {dir}"));
        assert!(refused("etcd --data-dir {dir}").contains("neither {client-port}"));
        assert!(refused("etcd {dir} {endpoint} {data}").contains("{data} is no placeholder"));
        for durable in ["--unsafe-no-fsync", "--unsafe-no-fsync=true"] {
            assert!(refused(&format!("etcd {durable} {{dir}} {{endpoint}}")).contains("power cut"));
        }
        assert!(refused("ETCD_UNSAFE_NO_FSYNC=true etcd {dir} {endpoint}").contains("power cut"));
        assert!(check_dir(Path::new("/tmp/a b")).is_err() && check_dir(Path::new("/tmp/a-b_1.x")).is_ok());
    }

    #[test]
    fn equal_names_are_told_apart() {
        let one = |letter| Command::parse(letter, "etcd {dir} {endpoint}", None).unwrap();
        let mut commands = [one('a'), one('b')];
        distinct(&mut commands);
        assert_eq!(commands.map(|command| command.name), ["etcd (a)", "etcd (b)"]);
    }
}
