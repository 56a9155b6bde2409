//! What the figures mean for somebody who has to decide: fit or unfit, each with its reason and its figure.

mod rules;
mod show;
mod timeouts;

use std::time::Duration;

use measure::Result;
use serde::{Deserialize, Serialize};

pub(crate) use show::page;
pub(crate) use timeouts::Timeouts;

use crate::disk::outcome::Outcome;
use crate::disk::qualify::{Cost, Phase, Session, Settings};

/// See the module.
pub(crate) const PHASE: Phase = Phase {
    name: "verdict",
    about: "fit or unfit, for what, and why",
    cost: |_: &Settings| Cost { time: Duration::ZERO, ..Cost::default() },
    run,
    table: show::table,
};

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// In all: what etcd's guidance and the user's own bounds say.
    pub(crate) outcome: Answer,
    /// Why the outcome is not plainly one or the other.
    pub(crate) doubts: Vec<String>,
    /// One for each size.
    pub(crate) sizes: Vec<Size>,
    /// What a cluster on such disks should be told.
    pub(crate) timeouts: Timeouts,
}

/// Whether a disk will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Fit,
    Unfit,
    CouldNotTell,
}

/// A named size and whether the disk carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) name: String,
    pub(crate) answer: Answer,
    pub(crate) demands: Vec<Demand>,
}

/// One thing that a size needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Demand {
    /// What is looked at.
    pub(crate) what: String,
    /// What was found, as shown; empty where it was not measured.
    pub(crate) found: String,
    /// Why there is no figure, where something was measured and it was too little.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) lacks: String,
    /// The bound, as shown.
    pub(crate) bound: String,
    pub(crate) answer: Answer,
}

impl Demand {
    /// For people: what was found, or why nothing.
    fn found_text(&self) -> &str {
        match (self.found.as_str(), self.lacks.as_str()) {
            ("", "") => "not measured",
            ("", lacks) => lacks,
            (found, _) => found,
        }
    }
}

impl Answer {
    /// The worse of two; not to know is worse than fit, unfit worse than not to know.
    pub(crate) fn and(self, other: Answer) -> Answer {
        match (self, other) {
            (Answer::Unfit, _) | (_, Answer::Unfit) => Answer::Unfit,
            (Answer::CouldNotTell, _) | (_, Answer::CouldNotTell) => Answer::CouldNotTell,
            _ => Answer::Fit,
        }
    }

    /// For people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Answer::Fit => "fit",
            Answer::Unfit => "unfit",
            Answer::CouldNotTell => "could not tell",
        }
    }
}

fn run(session: &mut Session) -> Result<()> {
    let verdict = rules::judge(&session.document, &session.settings.thresholds);
    session.outcome = match verdict.outcome {
        Answer::Fit => Outcome::Fit,
        Answer::Unfit => Outcome::Unfit,
        Answer::CouldNotTell => Outcome::CouldNotTell,
    };
    session.document.verdict = Some(verdict);
    Ok(())
}
