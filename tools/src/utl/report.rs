//! What was found in a member's files, as plain values: the fields are those of `--write-out=json`.

use std::path::PathBuf;

use serde::Serialize;

use super::finding::{Finding, Verdict};

/// Everything there is to say.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) path: PathBuf,
    pub(crate) verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<Database>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<Log>,
    pub(crate) findings: Vec<Finding>,
}

/// The engine's file.
#[derive(Debug, Serialize)]
pub(crate) struct Database {
    pub(crate) file: PathBuf,
    pub(crate) file_bytes: u64,
    /// The two meta pages; `None` for one that can't be read.
    pub(crate) metas: [Option<MetaPage>; 2],
    /// `None`: no walk was possible.
    pub(crate) tree: Option<Tree>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct MetaPage {
    pub(crate) generation: u64,
    pub(crate) pages: u64,
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
    pub(crate) compaction_pending: bool,
    /// Of records that compaction has dropped and whose extents are still there.
    pub(crate) dropped_bytes: u64,
    pub(crate) applied_index: u64,
    pub(crate) applied_term: u64,
}

/// The newest state.
#[derive(Debug, Serialize)]
pub(crate) struct Tree {
    pub(crate) generation: u64,
    pub(crate) pages: u64,
    pub(crate) free_pages: u64,
    pub(crate) holes: u64,
    pub(crate) longest_hole_pages: u64,
    pub(crate) free_pages_at_end: u64,
    /// Bytes of the file behind its last page.
    pub(crate) bytes_behind: u64,
    /// Runs of pages that records share.
    pub(crate) extents: u64,
    pub(crate) records: u64,
    pub(crate) dropped_records: u64,
    pub(crate) buckets: Vec<Bucket>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Bucket {
    pub(crate) name: &'static str,
    pub(crate) entries: u64,
    pub(crate) live: u64,
    pub(crate) pages: u64,
    pub(crate) bytes: u64,
    /// Values in pages of their own.
    pub(crate) runs: u64,
}

/// The log's directory.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Log {
    pub(crate) dir: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) member_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_id: Option<String>,
    /// The index before the first entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_needed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hard_state: Option<HardState>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) spares: Vec<PathBuf>,
    pub(crate) unfinished: Vec<PathBuf>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct HardState {
    pub(crate) term: u64,
    pub(crate) vote: String,
    pub(crate) commit: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Segment {
    pub(crate) file: PathBuf,
    pub(crate) id: u64,
    pub(crate) state: SegmentState,
    pub(crate) file_bytes: u64,
    /// Bytes up to the end of the last frame.
    pub(crate) used_bytes: u64,
    pub(crate) frames: u64,
    pub(crate) entries: u64,
    /// Of the entries in it, replaced ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_index: Option<u64>,
    /// Of its last frame.
    pub(crate) sequence: u64,
    pub(crate) watermark: u64,
    pub(crate) oldest_needed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SegmentState {
    /// It has a header and frames.
    Begun,
    /// Made ready for use.
    Blank,
    /// Its header does not hold.
    Unreadable,
}
