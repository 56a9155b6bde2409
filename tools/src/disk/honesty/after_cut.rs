//! `honesty verify`: what a folder and the witness's record come to.

use std::path::Path;

use measure::{Error, Result};

use super::super::outcome::Outcome;
use super::super::terminal::{note, say};
use super::cut::book::{Runs, Witnessed};
use super::cut::folder::{self, Claim, FOLDER};
use super::cut::place::{Uptime, place};
use super::cut::verify::{Finding, Kind, Verdict, seconds, verify};

/// Findings that are shown one by one.
const SHOWN: usize = 20;

/// What verify was asked for.
pub(super) struct Asked<'a> {
    pub(super) run: Option<u64>,
    pub(super) no_reboot: bool,
    pub(super) json: Option<&'a Path>,
    pub(super) clean: bool,
}

/// Compares, and tells.
pub(super) fn judge(dir: &Path, runs: &Runs, asked: &Asked<'_>) -> Result<Outcome> {
    let folder = dir.join(FOLDER);
    let there = folder.is_dir();
    let about = folder::about(&folder)?;
    let own = about.as_ref().map(|about| about.run.id);
    let witnessed = select(dir, runs, asked.run, own)?;
    let id = witnessed.run.id;
    if witnessed.acknowledged() == 0 {
        return Err(Error::Usage(format!(
            "run {id:016x} acknowledged nothing: write for longer before the cut"
        )));
    }
    if !there && witnessed.run.dir != place(dir) {
        return Err(Error::Usage(format!(
            "{} has no {FOLDER}; the run was in {}: mount it there and verify that",
            dir.display(),
            witnessed.run.dir
        )));
    }
    let verdict = verify(&folder, witnessed)?;
    let uptime = about.and_then(|about| about.uptime);
    let was_up = !asked.no_reboot && uptime.is_some() && uptime == Uptime::now(&folder);
    // Who names the run knows that it is not the last one.
    let later: Vec<&Witnessed> = runs.later(witnessed).filter(|_| asked.run.is_none()).collect();
    let conclusion = Conclusion::of(&verdict, &later, was_up);
    let outcome = conclusion.outcome();
    tell(&verdict, witnessed, there);
    say(conclusion.text(&verdict));
    if let Some(json) = asked.json {
        let document = document(&verdict, witnessed, &conclusion);
        let mut text = serde_json::to_vec_pretty(&document).expect("plain data");
        text.push(b'\n');
        std::fs::write(json, text).map_err(Error::io("write", json))?;
    }
    if outcome == Outcome::Fit && asked.clean && there {
        Claim::earlier(&folder)?.remove()?;
    }
    Ok(outcome)
}

/// The run in question: the one asked for, the folder's own, or the only one that was in this directory.
fn select<'r>(dir: &Path, runs: &'r Runs, run: Option<u64>, own: Option<u64>) -> Result<&'r Witnessed> {
    let missing =
        |id: u64| Error::Usage(format!("the record has no run {id:016x}: give the record of that run"));
    if let Some(id) = run.or(own) {
        let own = own.unwrap_or(id);
        if own != id {
            return Err(Error::Usage(format!("{} holds run {own:016x}, not {id:016x}", dir.display())));
        }
        return runs.get(id).ok_or_else(|| missing(id));
    }
    let here = place(dir);
    let candidates = runs.iter().filter(|found| found.run.dir == here);
    // An earlier run in the same place was verified or removed before the next could begin.
    let last = candidates.max_by_key(|found| found.number);
    let only = runs.iter().next().filter(|_| runs.iter().count() == 1);
    last.or(only).ok_or_else(|| {
        Error::Usage(format!("{} has no {FOLDER}, and the record no run there: give --run ID", dir.display()))
    })
}

fn tell(verdict: &Verdict, witnessed: &Witnessed, there: bool) {
    let run = &witnessed.run;
    say(format_args!(
        "run {:016x} on {}, {}: {} acknowledged writes, {} of them still to be seen; {} more were in flight",
        run.id, run.host, run.dir, verdict.acknowledged, verdict.looked_at, verdict.beyond
    ));
    if witnessed.ended {
        note("this run came to its end: if the power was cut after it, the record says what must be there");
    }
    if !there {
        say("the folder itself is gone, although its directory was synced before the first write");
    }
    for finding in verdict.findings.iter().take(SHOWN) {
        say(line(finding));
    }
    if verdict.findings.len() > SHOWN {
        say(format_args!("and {} more; --json FILE has them all", verdict.findings.len() - SHOWN));
    }
}

/// What it comes to.
enum Conclusion<'r> {
    Honest,
    Lies,
    /// The whole folder is from before this later run.
    TakenBack(&'r Witnessed),
    /// This later run was about to remove the folder.
    Replaced(&'r Witnessed),
    /// Everything is there, and need not be on the medium.
    NoCut,
}

impl<'r> Conclusion<'r> {
    fn of(verdict: &Verdict, later: &[&'r Witnessed], was_up: bool) -> Conclusion<'r> {
        if let Some(other) = later.iter().find(|other| other.acknowledged() > 0) {
            return Conclusion::TakenBack(other);
        }
        match (verdict.findings.is_empty(), later.first()) {
            (true, _) if was_up => Conclusion::NoCut,
            (true, _) => Conclusion::Honest,
            (false, Some(other)) => Conclusion::Replaced(other),
            (false, None) => Conclusion::Lies,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Conclusion::Honest => Outcome::Fit,
            Conclusion::Lies | Conclusion::TakenBack(_) => Outcome::Unfit,
            Conclusion::Replaced(_) | Conclusion::NoCut => Outcome::CouldNotTell,
        }
    }

    /// The last line.
    fn text(&self, verdict: &Verdict) -> String {
        match self {
            Conclusion::Honest => "honest: everything that was acknowledged is there".to_owned(),
            Conclusion::Lies => {
                let count = |kind| verdict.findings.iter().filter(|finding| finding.kind == kind).count();
                let kinds = [Kind::Lost, Kind::Torn, Kind::Reordered, Kind::Returned, Kind::Unreadable];
                let found = kinds.into_iter().filter(|kind| count(*kind) > 0);
                let counted: Vec<_> = found.map(|kind| format!("{} {}", count(kind), word(kind))).collect();
                format!("lies: of {} acknowledged writes, {}", verdict.looked_at, counted.join(", "))
            }
            Conclusion::TakenBack(later) => format!(
                "lies: the whole folder is from before run {:016x}, which began here later and of which {} writes were \
                 acknowledged; if it was taken back on purpose, say so with --run",
                later.run.id,
                later.acknowledged()
            ),
            Conclusion::Replaced(later) => format!(
                "cannot tell: run {:016x} began here later, and may have been removing this folder",
                later.run.id
            ),
            Conclusion::NoCut => {
                "no cut was seen: everything is there, but the machine has not been down since, nor the file system been \
                 mounted anew, so that this proves nothing; if the disk alone lost its power, or was taken back, say \
                 --no-reboot"
                    .to_owned()
            }
        }
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Lost => "lost",
        Kind::Torn => "torn",
        Kind::Reordered => "reordered",
        Kind::Returned => "returned",
        Kind::Unreadable => "unreadable",
    }
}

fn line(finding: &Finding) -> String {
    let acknowledged = match finding.acknowledged_us {
        _ if finding.sequence == 0 => "synced before the run began".to_owned(),
        Some(time) => format!("acknowledged at {}", seconds(time)),
        None => "acknowledged".to_owned(),
    };
    format!(
        "{}: {} at {}, {} bytes: write {}, {acknowledged}; found {}",
        word(finding.kind),
        finding.file,
        finding.offset,
        finding.length,
        finding.sequence,
        finding.found
    )
}

fn document(verdict: &Verdict, witnessed: &Witnessed, conclusion: &Conclusion<'_>) -> serde_json::Value {
    let run = &witnessed.run;
    let outcome = conclusion.outcome();
    let later = match conclusion {
        Conclusion::TakenBack(later) | Conclusion::Replaced(later) => Some(later),
        _ => None,
    };
    serde_json::json!({
        "format": super::super::document::FORMAT,
        "version": super::super::document::VERSION,
        "kind": "honesty",
        "run": format!("{:016x}", run.id),
        "host": run.host,
        "dir": run.dir,
        "seed": run.seed,
        "begun_ms": run.begun,
        // None where it could not be told.
        "honest": (outcome != Outcome::CouldNotTell).then_some(outcome == Outcome::Fit),
        "later_run": later.map(|later| format!("{:016x}", later.run.id)),
        "verdict": verdict,
    })
}
