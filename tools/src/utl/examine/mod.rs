//! Looks at a member's files and collects what is in them and what is wrong with them.

mod database;
mod log;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use engine::SystemBucket;
use replication::LogRange;
use wal::Summary;

use super::data_dir::{DataDir, said};
use super::finding::{Finding, Severity, Verdict, remedy};
use super::report::{Log, Report};
use database::Opened;

/// Looks at `path`: a data directory, a database or a segment. The error says why there is nothing to look at.
pub(super) fn examine(path: &Path, wal_dir: Option<&Path>) -> Result<Report, String> {
    let kind = fs::metadata(path).map_err(|error| said(path, &error))?;
    let mut report = Report {
        path: path.to_path_buf(),
        verdict: Verdict::Sound,
        database: None,
        log: None,
        findings: Vec::new(),
    };
    if kind.is_dir() {
        member(path, wal_dir, &mut report)?;
    } else if wal_dir.is_some() {
        return Err(format!("{} is a file: --wal-dir goes with a data directory", path.display()));
    } else if path.extension().is_some_and(|ending| ending == "wal") {
        let segment = log::examine_segment(path, &mut report.findings)
            .ok_or_else(|| format!("{} is not the name of a segment", path.display()))?;
        let dir = path.parent().unwrap_or(Path::new("")).to_path_buf();
        report.log = Some(Log { dir, segments: vec![segment], ..Log::default() });
    } else {
        report.database = database::examine(path, &mut report.findings).0;
    }
    report.verdict = Verdict::of(&report.findings);
    Ok(report)
}

fn member(path: &Path, wal_dir: Option<&Path>, report: &mut Report) -> Result<(), String> {
    let findings = &mut report.findings;
    let dir = DataDir::open(path, wal_dir, findings)?;
    let is_unknown = findings.iter().any(|finding| finding.severity == Severity::Unknown);
    let is_foreign = !findings.is_empty() && !dir.database.exists() && !dir.wal.exists();
    if is_unknown || is_foreign {
        return Ok(());
    }
    let has_database = fs::symlink_metadata(&dir.database).is_ok();
    let mut opened = None;
    if has_database {
        (report.database, opened) = database::examine(&dir.database, findings);
    }
    let before = findings.len();
    if !dir.wal.is_dir() {
        let reason = "there is no log directory; a member with --wal-dir needs that flag here too";
        findings.push(Finding::new(Severity::Refusal, &dir.wal, reason, remedy::PUT_BACK));
        return Ok(());
    }
    let (mut log, summary) = log::examine(&dir.wal, findings);
    if let Some(summary) = &summary {
        belongs_together(&dir, &mut log, summary, has_database, opened.as_ref(), findings);
        let log_is_sound = findings[before..].iter().all(|finding| finding.severity == Severity::Note);
        if log_is_sound && summary.start.index == 0 {
            let of_database =
                |finding: &&mut Finding| finding.file == dir.database && finding.remedy == remedy::REPLACE;
            findings.iter_mut().filter(of_database).for_each(|finding| finding.remedy = remedy::REBUILD);
        }
    }
    report.log = Some(log);
    Ok(())
}

/// Whether the log covers what the state has applied, and both are of one member.
fn belongs_together(
    dir: &DataDir,
    log: &mut Log,
    summary: &Summary,
    has_database: bool,
    opened: Option<&Opened>,
    findings: &mut Vec<Finding>,
) {
    let identity = match replication::identity_of(&summary.metadata.0) {
        Ok(identity) => identity,
        Err(error) => {
            findings.push(Finding::new(Severity::Damage, &dir.wal, error, remedy::REPLACE));
            return;
        }
    };
    log.member_id = Some(format!("{:x}", identity.member_id));
    log.cluster_id = Some(format!("{:x}", identity.cluster_id));
    let applied = match (has_database, opened) {
        (true, None) => return,
        (true, Some(opened)) => opened.applied,
        (false, _) => engine::Applied::default(),
    };
    let range = LogRange {
        before: replication::Position { index: summary.start.index, term: summary.start.term },
        last: summary.last_index,
        commit: summary.hard_state.map_or(0, |state| state.commit),
    };
    let at = replication::Position { index: applied.index, term: applied.term };
    if let Err(error) = range.check_state(at, |index| summary.term_at(index).unwrap_or(0)) {
        findings.push(Finding::new(Severity::Damage, &dir.database, error, remedy::TOGETHER));
    } else if !has_database {
        let reason =
            "it is not there; the log begins with the first entry, and a member makes it anew from the log";
        findings.push(Finding::new(Severity::Note, &dir.database, reason, remedy::NOTHING));
    }
    if let Some(opened) = opened
        && applied.index > 0
    {
        knows_member(dir, opened, identity.member_id, findings);
    }
}

/// After the first applied entry the state knows whose it is.
fn knows_member(dir: &DataDir, opened: &Opened, member_id: u64, findings: &mut Vec<Finding>) {
    let file = Arc::clone(&opened.file) as Arc<dyn engine::File>;
    let known = engine::Store::open(file, engine::Options::default())
        .and_then(|store| Ok(store.system_get(SystemBucket::Members, &member_id.to_be_bytes())?.is_some()));
    match known {
        Ok(true) => {}
        Ok(false) => {
            let reason = format_args!(
                "it does not know member {member_id:x}, whose log is in {}: they do not belong together",
                dir.wal.display()
            );
            findings.push(Finding::new(Severity::Damage, &dir.database, reason, remedy::TOGETHER));
        }
        // The walk has said so already.
        Err(_) => {}
    }
}
