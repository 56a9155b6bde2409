//! `report`: shows again what was measured, from the file that `--json` wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use measure::report::Page;
use measure::{Timeline, check_outputs_beside, hdr_log, write_output};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::{compare, load, preset, storage};

/// Of every file this program writes.
pub(crate) const FORMAT: &str = "graven-bench";
/// Goes up when a reader of the former version would misunderstand a file.
pub(crate) const VERSION: u32 = 1;

/// `graven-bench report`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// What a load, `compare`, `perf` or `datascale` wrote with --json.
    file: PathBuf,
    /// Write a page with pictures to PAGE instead of printing.
    #[arg(long, value_name = "PAGE")]
    html: Option<PathBuf>,
    /// Write a log of histograms, one a second, to LOG instead of printing (HdrHistogram's log format V2).
    #[arg(long, value_name = "LOG")]
    hdr: Option<PathBuf>,
}

/// What a measurement found, as it stands in a file.
pub(crate) trait Document: DeserializeOwned {
    /// Prints it.
    fn print(&self);

    /// The page of it.
    fn page(&self) -> Page;

    /// When counting began, and names and latencies over time; none where only sums were kept.
    fn timelines(&self) -> Option<(SystemTime, Vec<(&str, &Timeline)>)> {
        None
    }
}

/// Shows a file again.
///
/// # Errors
/// [`Error::Usage`] when it is none of ours, newer, or damaged.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.file;
    let refused = |what: String| Error::Usage(format!("{} {what}", path.display()));
    let asked = [("--html", arguments.html.as_deref()), ("--hdr", arguments.hdr.as_deref())];
    check_outputs_beside([path.as_path()], asked)?;
    let text = fs::read(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    let no_report = || refused("is no report: give a file that graven-bench wrote with --json".to_owned());
    if serde_json::from_slice::<storage::Report>(&text).is_ok() {
        return Err(refused(
            "is of `storage`, whose table is printed when it ends; give one of a load, of compare, perf or datascale"
                .to_owned(),
        ));
    }
    let head: Head = serde_json::from_slice(&text).map_err(|_| no_report())?;
    if head.format != FORMAT {
        return Err(no_report());
    }
    if head.version > VERSION {
        let version = head.version;
        return Err(refused(format!(
            "has version {version} of the format, and this program knows up to {VERSION}: use a newer graven-bench"
        )));
    }
    let damaged = |error: serde_json::Error| refused(format!("is a damaged report: {error}"));
    match head.kind.as_deref() {
        Some(load::KIND) => show(&parse::<load::Document>(&text).map_err(damaged)?, arguments),
        Some(compare::KIND) => show(&parse::<compare::Document>(&text).map_err(damaged)?, arguments),
        Some(preset::PERF | preset::DATASCALE) => {
            show(&parse::<preset::Document>(&text).map_err(damaged)?, arguments)
        }
        Some(kind) => Err(refused(format!(
            "is a report of {kind:?}, which can't be shown again: give one of a load, of compare, perf or datascale"
        ))),
        None => Err(no_report()),
    }
}

/// What every version has, and every file but those of `storage`, which are of another make.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
    kind: Option<String>,
}

fn parse<D: Document>(text: &[u8]) -> serde_json::Result<D> {
    serde_json::from_slice(text)
}

fn show(document: &impl Document, arguments: &Arguments) -> Result<()> {
    if let Some(path) = &arguments.html {
        write_page(document, path)?;
    }
    if let Some(path) = &arguments.hdr {
        write_log(document, path)?;
    }
    if arguments.html.is_none() && arguments.hdr.is_none() {
        document.print();
    }
    Ok(())
}

/// Writes the document for people and programs: indented, with a line's end.
pub(crate) fn write_json(document: &impl serde::Serialize, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(document).expect("documents have no maps with odd keys");
    text.push('\n');
    Ok(write_output(path, |out| out.write_all(text.as_bytes()))?)
}

/// Writes the page.
pub(crate) fn write_page(document: &impl Document, path: &Path) -> Result<()> {
    let page = document.page().html();
    Ok(write_output(path, |out| out.write_all(page.as_bytes()))?)
}

/// Writes the log of histograms.
///
/// # Errors
/// [`Error::Usage`] for a document without latencies over time.
pub(crate) fn write_log(document: &impl Document, path: &Path) -> Result<()> {
    let Some((started, timelines)) = document.timelines() else {
        let path = path.display();
        return Err(Error::Usage(format!("--hdr {path}: only loads have latencies over time; leave it out")));
    };
    Ok(write_output(path, |mut out| hdr_log::write(&mut out, started, &timelines))?)
}
