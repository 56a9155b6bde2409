//! The engine's file.

use std::path::Path;
use std::sync::Arc;

use engine::{Error, OsFile};

use crate::utl::data_dir::regular;
use crate::utl::finding::{Finding, Severity, remedy};
use crate::utl::report::{Bucket, Database, MetaPage, Tree};

/// A database that could be looked into, open for more questions.
pub(super) struct Opened {
    pub(super) file: Arc<OsFile>,
    pub(super) applied: engine::Applied,
}

/// Walks over every page, every record and every head.
pub(super) fn examine(path: &Path, findings: &mut Vec<Finding>) -> (Option<Database>, Option<Opened>) {
    let file = match regular(path).and_then(|_| OsFile::open_read_only(path)) {
        Ok(file) => Arc::new(file),
        Err(error) => {
            findings.push(Finding::unreadable(path, "open it", &error));
            return (None, None);
        }
    };
    let found = match engine::inspect(&*file) {
        Ok(found) => found,
        Err(error) => {
            findings.push(of_error(path, &error));
            return (None, None);
        }
    };
    let before = findings.len();
    let newest = found.newest().copied();
    let tree = match &found.verdict {
        Ok(report) => {
            findings.extend(report.findings.iter().map(|finding| {
                Finding::new(Severity::Damage, path, &finding.reason, remedy::REPLACE).at_page(finding.page)
            }));
            if findings.len() == before {
                audit(path, &file, findings);
            }
            notes(path, &found, report, findings);
            Some(tree(report, &found))
        }
        Err(error) => {
            findings.push(of_error(path, error));
            None
        }
    };
    // A file in which nothing was ever stored has nothing applied.
    let applied = newest.map_or_else(engine::Applied::default, |meta| meta.applied);
    let opened = tree.is_some().then_some(Opened { file, applied });
    let metas = found.metas.map(|meta| meta.ok().map(of_meta));
    (Some(Database { file: path.to_path_buf(), file_bytes: found.file_bytes, metas, tree }), opened)
}

fn audit(path: &Path, file: &Arc<OsFile>, findings: &mut Vec<Finding>) {
    match engine::audit(Arc::clone(file) as Arc<dyn engine::File>) {
        Ok(contradictions) => findings.extend(
            contradictions.iter().map(|reason| Finding::new(Severity::Damage, path, reason, remedy::REPLACE)),
        ),
        Err(error) => findings.push(of_error(path, &error)),
    }
}

/// What a member starts on all the same.
fn notes(path: &Path, found: &engine::Inspection, report: &engine::Report, findings: &mut Vec<Finding>) {
    if report.generation == 0 {
        let reason = "nothing was ever stored in it; a member begins with an empty store and applies its log";
        findings.push(Finding::new(Severity::Note, path, reason, remedy::NOTHING));
    }
    if let Some(reason) = &report.other_meta {
        let other = found.metas.iter().position(Result::is_err).unwrap_or(0);
        let reason = format_args!(
            "{reason}; a checkpoint that was cut short leaves this, and the state before it is whole"
        );
        findings.push(Finding::new(Severity::Note, path, reason, remedy::NOTHING).at_page(other as u64));
    }
}

/// What the engine says, with its place.
pub(super) fn of_error(path: &Path, error: &Error) -> Finding {
    match error {
        Error::Damaged { page, reason, .. } => {
            Finding::new(Severity::Damage, path, reason, remedy::REPLACE).at_page(*page)
        }
        Error::Foreign(_) => Finding::new(Severity::Damage, path, error, remedy::REPLACE).at_page(0),
        Error::NewerFormat { .. } | Error::OlderFormat { .. } => {
            Finding::new(Severity::Unknown, path, error, remedy::NEWER)
        }
        Error::Io { offset, .. } => {
            Finding::new(Severity::Unknown, path, error, remedy::READABLE).at_offset(*offset)
        }
        _ => Finding::new(Severity::Damage, path, error, remedy::REPLACE),
    }
}

fn tree(report: &engine::Report, found: &engine::Inspection) -> Tree {
    let bucket = |(name, bucket): (&&'static str, &engine::BucketReport)| Bucket {
        name,
        entries: bucket.entries,
        live: bucket.live,
        pages: bucket.pages,
        bytes: bucket.bytes,
        runs: bucket.runs,
    };
    Tree {
        generation: report.generation,
        pages: report.pages,
        free_pages: report.free_pages,
        holes: report.holes.count,
        longest_hole_pages: report.holes.longest,
        free_pages_at_end: report.holes.at_end,
        bytes_behind: found.file_bytes.saturating_sub(report.pages * 4096),
        extents: found.history.extents,
        records: found.history.records,
        dropped_records: found.history.dropped_records,
        buckets: report.buckets.iter().map(bucket).collect(),
    }
}

fn of_meta(meta: engine::MetaPage) -> MetaPage {
    MetaPage {
        generation: meta.generation,
        pages: meta.pages,
        revision: meta.revision,
        compact_revision: meta.compact_revision,
        compaction_pending: meta.compaction_pending,
        dropped_bytes: meta.dropped_bytes,
        applied_index: meta.applied.index,
        applied_term: meta.applied.term,
    }
}
