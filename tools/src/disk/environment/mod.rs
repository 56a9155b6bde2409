//! What a reader of the figures has to know about the machine and the disk, each fact with the reason why it matters.

use std::path::Path;
use std::time::Duration;

use measure::Result;
use serde::{Deserialize, Serialize};

use super::document::Document;
use super::qualify::{Cost, Phase, Session};

pub(crate) const PHASE: Phase = Phase {
    name: "environment",
    about: "the device, the file system and what limits them",
    cost: |_| Cost { written: 1 << 20, at_once: 1 << 20, time: Duration::from_secs(1) },
    run,
    table,
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

fn run(session: &mut Session) -> Result<()> {
    session.document.environment = Some(look(Path::new("/")));
    Ok(())
}

/// Looks around below a root, which is `/` but in tests.
fn look(root: &Path) -> Environment {
    let release = std::fs::read_to_string(root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
    let facts = vec![Fact {
        name: "kernel".to_owned(),
        value: release.trim().to_owned(),
        why: "RWF_DSYNC needs 4.7, io_uring 5.1.".to_owned(),
        level: Level::Fine,
    }];
    Environment { facts }
}

fn table(document: &Document) -> String {
    let Some(found) = &document.environment else { return String::new() };
    found.facts.iter().map(|fact| format!("{:<20} {}\n", fact.name, fact.value)).collect()
}
