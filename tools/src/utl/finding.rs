//! What can be wrong with a member's files, and what it means for the member.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Harmless: a member starts and repairs it by itself.
    Note,
    /// It could not be looked at.
    Unknown,
    /// A member refuses to start on it although no bytes are lost.
    Refusal,
    /// Bytes are not what was written.
    Damage,
}

/// One thing worth telling.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) file: PathBuf,
    /// Page of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<u64>,
    /// Byte offset in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
    pub(crate) reason: String,
    /// What can be done.
    pub(crate) remedy: &'static str,
}

/// All of it in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Sound,
    Damaged,
    Unknown,
}

impl Verdict {
    pub(crate) fn of(findings: &[Finding]) -> Verdict {
        match findings.iter().map(|finding| finding.severity).max() {
            None | Some(Severity::Note) => Verdict::Sound,
            Some(Severity::Unknown) => Verdict::Unknown,
            Some(Severity::Refusal | Severity::Damage) => Verdict::Damaged,
        }
    }
}

impl Finding {
    pub(crate) fn new(
        severity: Severity,
        file: &Path,
        reason: impl std::fmt::Display,
        remedy: &'static str,
    ) -> Finding {
        let (file, reason) = (file.to_path_buf(), reason.to_string());
        Finding { severity, file, page: None, offset: None, reason, remedy }
    }

    pub(crate) fn at_offset(self, offset: u64) -> Finding {
        Finding { offset: Some(offset), ..self }
    }

    pub(crate) fn at_page(self, page: u64) -> Finding {
        Finding { page: Some(page), offset: page.checked_mul(4096), ..self }
    }

    /// Something the operating system refused.
    pub(crate) fn unreadable(file: &Path, action: &str, error: &std::io::Error) -> Finding {
        Finding::new(Severity::Unknown, file, format_args!("cannot {action}: {error}"), remedy::READABLE)
    }
}

/// What can be done about it, in the words that people are shown.
pub(crate) mod remedy {
    pub(crate) const NOTHING: &str = "nothing to do";
    pub(crate) const REPLACE: &str = "do not start the member on it: with other members running, remove this one and add it again \
         with an empty directory; alone, restore it from a snapshot";
    pub(crate) const REBUILD: &str = "the log still begins with the first entry: move the file away, and the member makes it anew from the log";
    pub(crate) const TOGETHER: &str =
        "put the database and the log of one member together again, or restore it from a snapshot";
    pub(crate) const PUT_BACK: &str = "put the missing file back, or restore the member from a snapshot";
    pub(crate) const NEWER: &str = "use a release that reads this format";
    pub(crate) const READABLE: &str = "make it readable and check again";
    pub(crate) const MODE: &str = "make it accessible to its owner only (chmod 0700)";
    pub(crate) const ANOTHER_PLACE: &str = "choose another directory, or put the GRAVEN file back";
    pub(crate) const MARKER: &str =
        "put the file back: \"graven data directory\" and \"format 1\", each on a line of its own";
}
