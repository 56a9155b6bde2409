//! A report as text.

use std::fmt::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::finding::{Finding, Severity, Verdict};
use super::report::{Database, Log, Report, SegmentState, Tree};
use crate::cli::go::byte_size;
use crate::cli::table::draw;

/// What the user asked for with `--write-out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Simple,
    Json,
}

impl Format {
    pub(super) fn parse(name: &str) -> Option<Format> {
        match name {
            "simple" | "table" => Some(Format::Simple),
            "json" => Some(Format::Json),
            _ => None,
        }
    }
}

/// The findings and the verdict.
pub(super) fn check(report: &Report, format: Format) -> String {
    #[derive(Serialize)]
    struct Check<'a> {
        path: &'a Path,
        verdict: Verdict,
        findings: &'a [Finding],
    }
    match format {
        Format::Json => {
            json(&Check { path: &report.path, verdict: report.verdict, findings: &report.findings })
        }
        Format::Simple => findings(report),
    }
}

/// Everything.
pub(super) fn inspect(report: &Report, format: Format) -> String {
    if format == Format::Json {
        return json(report);
    }
    let mut out = String::new();
    if let Some(found) = &report.database {
        database(&mut out, found);
    }
    if let Some(found) = &report.log {
        log(&mut out, found);
    }
    out + &findings(report)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values have a text") + "\n"
}

fn line(out: &mut String, text: fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a string takes everything");
}

fn findings(report: &Report) -> String {
    let mut out = String::new();
    for Finding { severity, file, page, offset, reason, remedy } in &report.findings {
        let severity = match severity {
            Severity::Note => "note",
            Severity::Unknown => "unknown",
            Severity::Refusal => "refusal",
            Severity::Damage => "damage",
        };
        let page = page.map_or_else(String::new, |page| format!(" page {page}"));
        let offset = offset.map_or_else(String::new, |offset| format!(" offset {offset}"));
        line(&mut out, format_args!("{severity}: {}{page}{offset}: {reason}", file.display()));
        line(&mut out, format_args!("    {remedy}"));
    }
    let verdict = match report.verdict {
        Verdict::Sound => "sound",
        Verdict::Damaged => "damaged",
        Verdict::Unknown => "could not tell",
    };
    line(&mut out, format_args!("{}: {verdict}", report.path.display()));
    out
}

fn number(value: impl ToString) -> String {
    value.to_string()
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn database(out: &mut String, found: &Database) {
    line(out, format_args!("database {} ({})", found.file.display(), byte_size(found.file_bytes)));
    let head =
        ["meta_page", "generation", "pages", "revision", "compact_revision", "applied_index", "applied_term"];
    let rows = found.metas.iter().enumerate().map(|(place, meta)| {
        let mut row = vec![number(place)];
        match meta {
            None => row.extend(["unreadable"].into_iter().chain(["-"; 5]).map(str::to_owned)),
            Some(meta) => row.extend([
                number(meta.generation),
                number(meta.pages),
                number(meta.revision),
                format!(
                    "{}{}",
                    meta.compact_revision,
                    if meta.compaction_pending { " (pending)" } else { "" }
                ),
                number(meta.applied_index),
                number(meta.applied_term),
            ]),
        }
        row
    });
    out.push_str(&draw(&head, &rows.collect::<Vec<_>>()));
    if let Some(found) = &found.tree {
        tree(out, found);
    }
}

fn tree(out: &mut String, found: &Tree) {
    let head = ["bucket", "entries", "live", "pages", "bytes", "fill", "large_values"];
    let rows = found.buckets.iter().map(|bucket| {
        let fill = (bucket.bytes * 100).checked_div(bucket.pages * 4096);
        vec![
            bucket.name.to_owned(),
            number(bucket.entries),
            // Elsewhere an entry's weight says other things than whether it lives.
            if bucket.name == "keys" { number(bucket.live) } else { "-".to_owned() },
            number(bucket.pages),
            number(bucket.bytes),
            fill.map_or_else(|| "-".to_owned(), |fill| format!("{fill} %")),
            number(bucket.runs),
        ]
    });
    out.push_str(&draw(&head, &rows.collect::<Vec<_>>()));
    line(
        out,
        format_args!(
            "{} of {} pages are free, in {} holes, the longest of {}; {} of them at the end, {} bytes behind the last page",
            found.free_pages,
            found.pages,
            found.holes,
            found.longest_hole_pages,
            found.free_pages_at_end,
            found.bytes_behind
        ),
    );
    line(
        out,
        format_args!(
            "history: {} records in {} extents, {} of them dropped by compaction",
            found.records, found.extents, found.dropped_records
        ),
    );
}

fn log(out: &mut String, found: &Log) {
    line(out, format_args!("log {}", found.dir.display()));
    if let (Some(member), Some(cluster)) = (&found.member_id, &found.cluster_id) {
        line(out, format_args!("member {member} of cluster {cluster}"));
    }
    if let (Some(start), Some(last)) = (found.start_index, found.last_index) {
        line(
            out,
            format_args!(
                "entries after index {start} up to {last}, segments from {} on",
                or_dash(found.oldest_needed)
            ),
        );
    }
    if let Some(state) = &found.hard_state {
        line(
            out,
            format_args!("term {}, vote for {}, commit index {}", state.term, state.vote, state.commit),
        );
    }
    let head = [
        "segment",
        "state",
        "frames",
        "entries",
        "first_index",
        "last_index",
        "sequence",
        "watermark",
        "oldest_needed",
        "used",
        "file_bytes",
    ];
    let rows = found.segments.iter().map(|segment| {
        let state = match segment.state {
            SegmentState::Begun => "begun",
            SegmentState::Blank => "blank",
            SegmentState::Unreadable => "unreadable",
        };
        vec![
            number(segment.id),
            state.to_owned(),
            number(segment.frames),
            number(segment.entries),
            or_dash(segment.first_index),
            or_dash(segment.last_index),
            number(segment.sequence),
            number(segment.watermark),
            number(segment.oldest_needed),
            number(segment.used_bytes),
            number(segment.file_bytes),
        ]
    });
    out.push_str(&draw(&head, &rows.collect::<Vec<_>>()));
    for (what, files) in [("spare", &found.spares), ("unfinished", &found.unfinished)] {
        for file in files {
            line(out, format_args!("{what}: {}", file.display()));
        }
    }
}
