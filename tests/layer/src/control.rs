//! The control file: lines that set, text that tells.

use crate::disk::Disk;
use crate::error::{Error, Result};

/// In the root of the mount. Not listed, so that removing everything below the mount point works.
pub const CONTROL: &str = ".layer";

/// Follows lines like `latency 5ms`, `stall none`, `cut torn 7` or `cut-after 1000 torn 7`, up to the first that makes no sense.
pub(crate) fn follow(disk: &Disk, text: &str) -> Result<()> {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["cut", how] => drop(disk.cut(how.parse()?, disk.faults().seed)?),
            ["cut", how, seed] => {
                let seed = seed.parse().map_err(|_| Error::Setting(format!("{seed} is not a seed")))?;
                disk.cut(how.parse()?, seed)?;
            }
            ["cut-after", count, how, seed] => {
                let number =
                    |word: &str| word.parse().map_err(|_| Error::Setting(format!("{word} is not a number")));
                disk.cut_after(number(count)?, how.parse()?, number(seed)?)?;
            }
            [name, value] => disk.set(name, value)?,
            _ => return Err(Error::Setting(format!("{line}: is not a name and a value"))),
        }
    }
    Ok(())
}

/// Settings, counters and what a cut did, a line each.
pub(crate) fn tell(disk: &Disk) -> String {
    let counted = disk.counted();
    let mut text = disk.faults().to_string();
    for (name, count) in [
        ("reads", counted.reads),
        ("writes", counted.writes),
        ("durable-writes", counted.durable_writes),
        ("syncs", counted.syncs),
        ("dropped", counted.dropped),
        ("bytes", counted.bytes),
    ] {
        text.push_str(&format!("# {name} {count}\n"));
    }
    if let Some(report) = disk.cut_report() {
        text.push_str(&format!("# {report:?}\n"));
    }
    text
}
