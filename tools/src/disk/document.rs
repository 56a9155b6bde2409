//! What a run found, as it is written to JSON. Tables, pages and comparisons are made from it, also from a file of another day.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use measure::{Error, Result};
use serde::{Deserialize, Serialize};

use super::commit::Commit;
use super::disturb::Disturbance;
use super::environment::Environment;
use super::matrix::Matrix;
use super::overtime::OverTime;
use super::predict::Prediction;
use super::recipes::Recipes;
use super::verdict::Verdict;

/// Says whose file it is.
pub(crate) const FORMAT: &str = "graven-disk";
/// Goes up when a reader of the former version would misunderstand a file. Version 1 had a prediction computed from a model, with
/// what the model knew of the machine; all else is as it was, and its files are read.
pub(crate) const VERSION: u32 = 2;

/// Which command made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Qualify,
}

/// How a run ended. What comes before the end is written too, and says so: nobody is there to say it if the program is killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ending {
    /// After its last phase. Earlier programs did not say.
    #[default]
    Complete,
    /// By Ctrl-C, or another request to end.
    Interrupted,
    /// By an error, or without a word: the program was killed.
    Unfinished,
}

impl Ending {
    /// What a reader has to know; none of a whole run.
    pub(crate) fn complaint(self) -> Option<&'static str> {
        match self {
            Ending::Complete => None,
            Ending::Interrupted => {
                Some("The run was interrupted: only phases that came to their end are here.")
            }
            Ending::Unfinished => {
                Some("The run failed or was killed: only phases that came to their end are here.")
            }
        }
    }
}

/// One run. A phase that was not asked for, or did not come to its end, has left no field.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) format: String,
    pub(crate) version: u32,
    pub(crate) kind: Kind,
    /// Of the program that measured.
    pub(crate) program: String,
    /// When it began: seconds since 1970, UTC.
    pub(crate) begun: u64,
    /// The directory that was measured.
    pub(crate) dir: String,
    /// Whether the sizes were those of --quick: the figures prove little.
    pub(crate) quick: bool,
    #[serde(default)]
    pub(crate) ending: Ending,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<Environment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) matrix: Option<Matrix>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recipes: Option<Recipes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<Commit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disturbance: Option<Disturbance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) over_time: Option<OverTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prediction: Option<Prediction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<Verdict>,
}

impl Document {
    /// Nothing measured yet.
    pub(crate) fn new(dir: &Path, quick: bool) -> Document {
        Document {
            format: FORMAT.to_owned(),
            version: VERSION,
            kind: Kind::Qualify,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            begun: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            dir: dir.display().to_string(),
            quick,
            ending: Ending::Unfinished,
            environment: None,
            matrix: None,
            recipes: None,
            commit: None,
            disturbance: None,
            over_time: None,
            prediction: None,
            verdict: None,
        }
    }

    /// Whether no phase has put anything in.
    pub(crate) fn is_empty(&self) -> bool {
        let Document { environment, matrix, recipes, commit, .. } = self;
        let Document { disturbance, over_time, prediction, verdict, .. } = self;
        let first = environment.is_none() && matrix.is_none() && recipes.is_none() && commit.is_none();
        first && disturbance.is_none() && over_time.is_none() && prediction.is_none() && verdict.is_none()
    }

    /// Reads a file that [`Document::write`] made.
    pub(crate) fn read(path: &Path) -> Result<Document> {
        let refused = |what: String| Error::Usage(format!("{} {what}", path.display()));
        let text = fs::read(path).map_err(|error| {
            refused(format!("cannot be read: {error}: give a file that graven-disk wrote with --json"))
        })?;
        let no_report =
            || refused("is not a report: give a file that graven-disk wrote with --json".to_owned());
        let head: Head = serde_json::from_slice(&text).map_err(|_| no_report())?;
        if head.format != FORMAT {
            return Err(no_report());
        }
        if head.version > VERSION {
            let version = head.version;
            return Err(refused(format!(
                "has version {version} of the format, and this program knows up to {VERSION}: use a newer graven-disk"
            )));
        }
        let mut document: Document = serde_json::from_slice(&text)
            .map_err(|error| refused(format!("is a damaged report: {error}")))?;
        let commit = document.commit.iter_mut().map(|commit| &mut commit.method);
        let prediction = document.prediction.iter_mut().map(|prediction| &mut prediction.method);
        commit.chain(prediction).for_each(today);
        Ok(document)
    }

    /// Writes it for people and programs: indented, with a line's end.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self).expect("the document is plain data");
        text.push(b'\n');
        fs::write(path, text).map_err(Error::io("write", path))
    }
}

/// A method of the log by the server's word for it; there were programs that had other words.
fn today(method: &mut String) {
    let words = [
        ("DirectDsync", "direct-dsync"),
        ("Dsync", "dsync"),
        ("Fdatasync", "fdatasync"),
        ("Ring", "ring"),
        ("Auto", "auto"),
    ];
    for (former, word) in words {
        if let Some(rest) = method.strip_prefix(former) {
            *method = format!("{word}{rest}");
            return;
        }
    }
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_written_and_others_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let document = Document::new(Path::new("/data"), true);
        document.write(&path).unwrap();
        let found = Document::read(&path).unwrap();
        assert_eq!(format!("{found:?}"), format!("{document:?}"));

        let words = ["DirectDsync", "Dsync (the kernel is older than 4.7)", "ring"].map(|former| {
            let mut method = former.to_owned();
            today(&mut method);
            method
        });
        assert_eq!(words, ["direct-dsync", "dsync (the kernel is older than 4.7)", "ring"]);

        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            Document::read(&path).unwrap_err().to_string()
        };
        assert!(refused("lines").contains("is not a report"));
        assert!(refused(r#"{"format":"graven-bench","version":1}"#).contains("is not a report"));
        assert!(refused(r#"{"format":"graven-disk","version":3}"#).contains("use a newer graven-disk"));
        assert!(refused(r#"{"format":"graven-disk","version":1}"#).contains("is a damaged report"));
        fs::remove_file(&path).unwrap();
        assert!(Document::read(&path).unwrap_err().to_string().contains("cannot be read"));
    }
}
