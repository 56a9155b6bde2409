//! `honesty check`: what can be said at once, without cutting the power.
//!
//! `evidence` is what the kernel says about the devices below a directory, and what it counted while `probe` synced;
//! `judge` says what that means. A device that deceives the kernel as well can not be found here, so that the best answer
//! is "plausible". Whoever may be honest is not accused: power-loss protection, a battery behind a controller and a host
//! below a virtual machine all make syncs fast for good reasons.

mod evidence;
mod judge;
mod probe;
mod stretch;
#[cfg(test)]
mod tests;

use std::path::Path;

use measure::{Maker, Result, Stop, WorkDir};

use super::super::environment::{Place, Root};
use super::super::guard;
use super::super::outcome::Outcome;
use super::super::terminal::{note, say};
use evidence::Evidence;
use judge::{Answer, judge};

const MAKER: Maker = Maker { program: "graven-disk", option: "another DIR" };

/// Looks, measures for a few seconds, and says what it means.
pub(super) fn run(dir: &Path) -> Result<Outcome> {
    guard::check_dir(dir, true)?;
    guard::check_space(dir, probe::BYTES, "free some, or give another DIR")?;
    let stop = Stop::listen()?;
    note(format_args!(
        "{}: writes and syncs one block for a few seconds; everything is removed at the end",
        dir.display()
    ));
    let work = WorkDir::create(dir, MAKER)?;
    let root = Root::real();
    let mut evidence = Evidence::gather(&root, &Place::of(work.path()));
    let (probe, counted) = probe::run(work.path(), &stop, &|| evidence.counts())?;
    evidence.measured(&counted, probe);
    drop(work);
    let verdict = judge(&evidence);
    for (name, value) in evidence.figures() {
        say(format_args!("{name:<14}{value}"));
    }
    for reason in &verdict.reasons {
        say(format_args!("  {reason}"));
    }
    say(match verdict.answer {
        Answer::Plausible => "plausible: nothing speaks against it; a power cut would prove it",
        Answer::Suspicious => "suspicious: see above",
        Answer::CannotTell => "cannot tell: see above; a power cut would (graven-disk honesty write --help)",
    });
    Ok(match verdict.answer {
        Answer::Plausible => Outcome::Fit,
        Answer::Suspicious => Outcome::Unfit,
        Answer::CannotTell => Outcome::CouldNotTell,
    })
}
