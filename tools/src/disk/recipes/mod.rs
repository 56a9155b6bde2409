//! The recipes that people know, as named rows, so that figures from here can be put beside theirs.
//!
//! A recipe is what fio does when it is given one: the file's whole length is allocated (`fallocate`, fio's default), then it
//! is written from front to back, each write followed by one fdatasync; the percentiles are those of the fdatasync alone. One
//! writer, nothing beside it: that is what the phases after this one add.

mod beside_fio;
mod follow;
mod show;

use std::time::Duration;

use measure::units::micros;
use measure::{Latencies, Result};
use serde::{Deserialize, Serialize};

pub(crate) use beside_fio::{Arguments as BesideFioArguments, run as run_beside_fio};
use follow::{Job, follow};
pub(crate) use show::section;

use super::qualify::{Cost, Phase, Session, Settings};
use super::terminal::note;

pub(crate) const PHASE: Phase = Phase {
    name: "recipes",
    about: "the fio recipes of IBM and OpenShift, for comparison",
    cost,
    run,
    table: show::table,
};

/// A recipe as it was published.
#[derive(Clone, Copy, Debug)]
struct Recipe {
    name: &'static str,
    by: &'static str,
    job: Job,
    /// 99 % of the syncs have to be shorter.
    bound: Duration,
}

const RECIPES: [Recipe; 2] = [
    Recipe {
        name: "ibm",
        by: "IBM 2019: fio, 22 MB in writes of 2,300 B",
        job: Job { total: 22 << 20, bytes: 2300 },
        bound: Duration::from_millis(10),
    },
    Recipe {
        name: "openshift",
        by: "OpenShift etcd-perf: fio, 100 MB in writes of 8,000 B",
        job: Job { total: 100 << 20, bytes: 8000 },
        bound: Duration::from_millis(20),
    },
];

/// On an ordinary disk both take a few seconds...
const USUAL: Duration = Duration::from_secs(3);
/// ...and on a slow one each is cut off after this, as OpenShift's is; in a run that is shorter than by default sooner.
const LONGEST: Duration = Duration::from_secs(60);

/// All recipes, followed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recipes {
    pub(crate) rows: Vec<Row>,
}

/// One recipe, followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) by: String,
    /// Of one write.
    pub(crate) bytes: u64,
    /// Of the file.
    pub(crate) total_bytes: u64,
    /// Bound of the sync's p99.
    pub(crate) bound_us: f64,
    /// Whether the file was written to its end; otherwise time ran out.
    pub(crate) complete: bool,
    pub(crate) seconds: f64,
    /// How long each fdatasync took.
    pub(crate) sync: Latencies,
}

impl Row {
    /// Whether the recipe would say yes.
    pub(crate) fn passes(&self) -> bool {
        self.sync.count() > 0 && self.sync.micros(0.99) < self.bound_us
    }

    pub(crate) fn writes_per_second(&self) -> f64 {
        self.sync.count() as f64 / self.seconds.max(1e-9)
    }
}

fn longest(settings: &Settings) -> Duration {
    if settings.scale < 1.0 { settings.scaled(4 * USUAL).max(Duration::from_secs(2)) } else { LONGEST }
}

fn cost(settings: &Settings) -> Cost {
    let written = RECIPES.iter().map(|recipe| recipe.job.total).sum();
    let at_once = RECIPES.iter().map(|recipe| recipe.job.total).max().unwrap_or(0);
    let time = USUAL.min(longest(settings)) * RECIPES.len() as u32;
    Cost { written, at_once, time }
}

fn run(session: &mut Session) -> Result<()> {
    let mut rows = Vec::new();
    for recipe in RECIPES {
        let scratch = session.dir.fresh(recipe.name)?;
        let followed = follow(recipe.job, scratch.path(), longest(&session.settings), &session.stop)?;
        note(format_args!("recipes: {}: p99 {}", recipe.name, micros(followed.sync.micros(0.99))));
        rows.push(Row {
            name: recipe.name.to_owned(),
            by: recipe.by.to_owned(),
            bytes: recipe.job.bytes as u64,
            total_bytes: recipe.job.total,
            bound_us: recipe.bound.as_secs_f64() * 1e6,
            complete: followed.complete,
            seconds: followed.took.as_secs_f64(),
            sync: followed.sync,
        });
    }
    session.document.recipes = Some(Recipes { rows });
    Ok(())
}
