//! The log: every segment, every frame, every entry, and what opening would recover.

use std::path::Path;
use std::sync::Arc;

use wal::{Error, SegmentContent, SegmentReport, Summary};

use crate::utl::finding::{Finding, Severity, remedy};
use crate::utl::report::{HardState, Log, Segment, SegmentState};

/// Walks over the log in a directory. The summary is there when a member would open it.
pub(super) fn examine(dir: &Path, findings: &mut Vec<Finding>) -> (Log, Option<Summary>) {
    let mut log = Log { dir: dir.to_path_buf(), ..Log::default() };
    let mut entries = Vec::new();
    let walked = wal::walk(dir, Arc::new(wal::OsIo::new()), &mut |segment| {
        unusable_entries(&segment, &mut entries);
        log.segments.push(line(&segment));
    });
    let walk = match walked {
        Ok(walk) => walk,
        Err(error) => {
            findings.push(of_error(dir, &error));
            return (log, None);
        }
    };
    (log.spares, log.unfinished) = (walk.spares, walk.unfinished);
    match walk.verdict {
        Ok(summary) => {
            findings.append(&mut entries);
            torn_tail(&summary, findings);
            (log.start_index, log.last_index) = (Some(summary.start.index), Some(summary.last_index));
            log.oldest_needed = Some(summary.oldest);
            log.hard_state = summary.hard_state.map(|state| HardState {
                term: state.term,
                vote: format!("{:x}", state.vote),
                commit: state.commit,
            });
            (log, Some(summary))
        }
        Err(error) => {
            findings.push(of_error(dir, &error));
            (log, None)
        }
    }
}

/// One segment by itself, as if it were the newest.
pub(super) fn examine_segment(path: &Path, findings: &mut Vec<Finding>) -> Option<Segment> {
    let (segment, verdict) = wal::inspect_segment(path, Arc::new(wal::OsIo::new()))?;
    if let Err(error) = verdict {
        findings.push(of_error(path, &error));
    }
    unusable_entries(&segment, findings);
    Some(line(&segment))
}

fn torn_tail(summary: &Summary, findings: &mut Vec<Finding>) {
    if let Some(torn) = &summary.torn_tail {
        let reason = format_args!(
            "the last write was cut short ({} bytes): it had not been acknowledged, and the next start leaves it out",
            torn.bytes
        );
        findings
            .push(Finding::new(Severity::Note, &torn.file, reason, remedy::NOTHING).at_offset(torn.offset));
    }
}

/// Entries whose frames hold and that nobody could apply.
fn unusable_entries(segment: &SegmentReport, findings: &mut Vec<Finding>) {
    let SegmentContent::Frames { frames, .. } = &segment.content else { return };
    for frame in frames {
        for entry in &frame.entries {
            if let Err(error) = replication::check_entry(entry.clone()) {
                let reason = format_args!("entry {}: {error}", entry.index);
                findings.push(
                    Finding::new(Severity::Damage, &segment.file, reason, remedy::REPLACE)
                        .at_offset(frame.offset),
                );
            }
        }
    }
}

fn line(segment: &SegmentReport) -> Segment {
    let empty = Segment {
        file: segment.file.clone(),
        id: segment.id,
        state: SegmentState::Unreadable,
        file_bytes: std::fs::metadata(&segment.file).map_or(0, |meta| meta.len()),
        used_bytes: 0,
        frames: 0,
        entries: 0,
        first_index: None,
        last_index: None,
        sequence: 0,
        watermark: 0,
        oldest_needed: 0,
    };
    match &segment.content {
        SegmentContent::Unreadable(_) => empty,
        SegmentContent::Unused => Segment { state: SegmentState::Blank, ..empty },
        SegmentContent::Frames { frames, end, oldest, .. } => {
            let indexes = || frames.iter().flat_map(|frame| &frame.entries).map(|entry| entry.index);
            let last = frames.last();
            Segment {
                state: SegmentState::Begun,
                used_bytes: *end,
                frames: frames.len() as u64,
                entries: frames.iter().map(|frame| frame.entries.len() as u64).sum(),
                first_index: indexes().min(),
                last_index: indexes().max(),
                sequence: last.map_or(0, |frame| frame.sequence),
                watermark: last.map_or(0, |frame| frame.watermark),
                oldest_needed: last.map_or(*oldest, |frame| frame.oldest),
                ..empty
            }
        }
    }
}

/// What the log says, with its place.
fn of_error(dir: &Path, error: &Error) -> Finding {
    match error {
        Error::Damaged(damage) => {
            let reason =
                format_args!("expected {}, found {} ({})", damage.expected, damage.found, damage.evidence);
            Finding::new(Severity::Damage, &damage.path, reason, remedy::REPLACE).at_offset(damage.offset)
        }
        Error::MissingSegment { path, .. } => {
            Finding::new(Severity::Damage, path, error, remedy::PUT_BACK).at_offset(0)
        }
        Error::Misplaced { path, .. } | Error::Foreign { path, .. } => {
            Finding::new(Severity::Damage, path, error, remedy::PUT_BACK).at_offset(0)
        }
        Error::NewerVersion { path, .. } => {
            Finding::new(Severity::Unknown, path, error, remedy::NEWER).at_offset(0)
        }
        Error::NotFound { dir } => Finding::new(Severity::Refusal, dir, error, remedy::PUT_BACK),
        Error::Io { path, offset, .. } => {
            Finding::new(Severity::Unknown, path, error, remedy::READABLE).at_offset(*offset)
        }
        _ => Finding::new(Severity::Unknown, dir, error, remedy::READABLE),
    }
}
