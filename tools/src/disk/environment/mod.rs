//! What a reader of the figures has to know about the machine and the disk, each fact with the reason why it matters.
//!
//! Everything is read below a root, which is `/` but in tests: `device.rs` finds the disks below a file system, `queue.rs` and
//! `mount.rs` say what they are like, `limits.rs` and `machine.rs` what stands between them and a program. `tried.rs` is what
//! no file says and has to be tried.

mod device;
mod limits;
mod machine;
mod mount;
mod queue;
mod show;
#[cfg(test)]
mod tests;
mod tried;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use measure::disks::Stack;
use measure::{Mount, Result};
use rustix::fs::{major, minor};
use serde::{Deserialize, Serialize};

pub(crate) use show::section;

use super::qualify::{Cost, Phase, Session, Settings};
pub(crate) use machine::virtualization;

pub(crate) const PHASE: Phase = Phase {
    name: "environment",
    about: "the device, the file system and what limits them",
    cost: |_: &Settings| Cost { written: tried::BYTES, at_once: tried::BYTES, time: Duration::from_secs(2) },
    run,
    table: show::table,
};

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) facts: Vec<Fact>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// Stays the same from run to run: `scheduler`.
    pub(crate) name: String,
    pub(crate) value: String,
    /// Why it matters, in one sentence.
    pub(crate) why: String,
    pub(crate) level: Level,
}

/// What a fact means for a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Fine,
    /// Worth knowing.
    Note,
    /// Worth changing.
    Warning,
}

impl Fact {
    fn new(name: &str, value: impl Into<String>, level: Level, why: &str) -> Fact {
        Fact { name: name.to_owned(), value: value.into(), why: why.to_owned(), level }
    }
}

fn run(session: &mut Session) -> Result<()> {
    let scratch = session.dir.fresh("environment")?;
    let at = Place::of(scratch.path());
    let mut facts = look(&Root::real(), &at);
    facts.extend(tried::facts(scratch.path(), &session.stop)?);
    session.document.environment = Some(Environment { facts });
    Ok(())
}

/// The directory as the kernel knows it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// Major and minor number of its device.
    pub(crate) device: (u32, u32),
}

impl Place {
    pub(crate) fn of(dir: &Path) -> Place {
        let device = fs::metadata(dir).map_or(0, |found| found.dev());
        let path = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        Place { path, device: (major(device), minor(device)) }
    }
}

/// Where `/sys` and `/proc` are.
#[derive(Clone, Debug)]
pub(crate) struct Root(pub(crate) PathBuf);

impl Root {
    pub(crate) fn real() -> Root {
        Root(PathBuf::from("/"))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The content of a file without the white space around it; none if it is absent, unreadable or empty.
    fn read(&self, path: &str) -> Option<String> {
        read(&self.path(path))
    }
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// What files say.
fn look(root: &Root, at: &Place) -> Vec<Fact> {
    let mount = Mount::of(&root.0, &at.path);
    let virtualized = machine::virtualization(root);
    let stack = Stack::of(&root.0, at.device, mount.as_ref());
    let mut facts = vec![device::fact(&stack)];
    facts.extend(stack.disks.iter().flat_map(|disk| {
        let several = stack.disks.len() > 1;
        queue::facts(disk, virtualized.is_some()).into_iter().map(move |mut fact| {
            // Of several disks below one file system each says its own.
            if several {
                fact.name = format!("{} of {}", fact.name, disk.name);
            }
            fact
        })
    }));
    facts.extend(mount.iter().flat_map(mount::facts));
    facts.extend(machine::facts(root, virtualized));
    facts.extend(limits::facts(root, &stack));
    facts
}
