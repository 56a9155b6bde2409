//! Files that may not be read or written: modes, owners, read-only file systems. Root may do everything, so as root the
//! programs are run without the capabilities that make it so, where `setpriv` is there to take them away.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use tests::Trial;

use crate::{Expect, From, Row};

const POWERLESS: [&str; 4] = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
/// The directory is the last argument of either program's first two.
const READ_ONLY: &str = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";

fn works(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

pub(crate) fn rows() -> Vec<Row> {
    let mut through = Vec::new();
    if is_root() {
        if !works(Command::new(POWERLESS[0]).args(&POWERLESS[1..]).arg("true")) {
            println!("modes and owners are not tried: root, and setpriv does not work here");
            return Vec::new();
        }
        through.extend(POWERLESS.map(str::to_owned));
    }
    let mode = |path: &'static str, mode: u32| {
        move |data: &Path| fs::set_permissions(data.join(path), fs::Permissions::from_mode(mode)).unwrap()
    };
    let mut rows = vec![
        Row::new(
            "access",
            "a database nobody may read",
            From::Whole,
            Expect::Unknown("member/db".to_owned()),
            mode("member/db", 0),
        ),
        Row::new(
            "access",
            "a marker nobody may read",
            From::Whole,
            Expect::Unknown("GRAVEN".to_owned()),
            mode("GRAVEN", 0),
        ),
        Row::new("access", "a log nobody may list", From::Whole, Expect::Refused, mode("member/wal", 0)),
        Row::new("access", "a directory nobody may enter", From::Whole, Expect::Refused, mode("", 0)),
    ];
    if is_root() {
        let owner = |data: &Path| std::os::unix::fs::chown(data, Some(65_534), Some(65_534)).unwrap();
        rows.push(Row::new("access", "a directory of somebody else", From::Whole, Expect::Refused, owner));
    }
    // Looking is possible where nothing can be written; serving is not, and that is not the files' fault.
    rows.into_iter()
        .map(|row| Row { trial: Trial { through: through.clone(), ..Trial::default() }, ..row })
        .collect()
}

/// Runs a program on a directory that it sees read-only, where this may be arranged.
pub(crate) fn read_only(data: &Path) -> Option<Trial> {
    let data = data.to_str()?;
    let words = ["unshare", "--mount", "sh", "-c", READ_ONLY, data].map(str::to_owned).to_vec();
    works(Command::new(&words[0]).args(&words[1..]).arg("true"))
        .then(|| Trial { through: words, ..Trial::default() })
}
