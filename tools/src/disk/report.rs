//! `graven-disk report`: shows a report again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use measure::{Error, Result, check_outputs_beside, hdr_log};

use super::document::Document;
use super::outcome::Outcome;
use super::qualify::{show, write_page};

/// Options of `graven-disk report`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// A report that `qualify --json` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Write a page with pictures to PAGE instead.
    #[arg(long, value_name = "PAGE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the latencies over time to LOG instead, as HdrHistogram's plotters read them.
    #[arg(long, value_name = "LOG", conflicts_with = "html")]
    pub(crate) hdr: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let asked = [("--html", arguments.html.as_deref()), ("--hdr", arguments.hdr.as_deref())];
    check_outputs_beside([arguments.file.as_path()], asked)?;
    let document = Document::read(&arguments.file)?;
    match (&arguments.html, &arguments.hdr) {
        (Some(path), _) => write_page(&document, path)?,
        (_, Some(path)) => write_log(&document, path)?,
        _ => show(&document),
    }
    Ok(Outcome::Fit)
}

/// Why there can be no such log.
pub(crate) fn no_latencies(path: &Path) -> Error {
    Error::Usage(format!(
        "--hdr {}: the report has no latencies over time; run the phase time",
        path.display()
    ))
}

/// Every durable write of the run, and the records of the steady section.
pub(crate) fn write_log(document: &Document, path: &Path) -> Result<()> {
    let Some(time) = &document.over_time else { return Err(no_latencies(path)) };
    let steady = time.spans.iter().rev().find(|span| span.name == "time").map_or(0.0, |span| span.from);
    let steady = Duration::try_from_secs_f64(steady).unwrap_or_default();
    let begun = UNIX_EPOCH + Duration::from_secs(document.begun);
    let tracks = [("sync", Duration::ZERO, &time.syncs), ("record", steady, &time.steady)];
    let mut log = Vec::new();
    hdr_log::write_from(&mut log, begun, &tracks).map_err(Error::io("write", path))?;
    fs::write(path, log).map_err(Error::io("write", path))
}
