//! `graven-disk compare`: several disks side by side, from the reports of their runs.
//!
//! A figure counts as the best of its row only if it is better by more than repeated runs of one disk differ. Reports that were
//! not measured alike (a quick one beside a whole one, records of another size) are not put side by side: the difference would
//! be that of the questions.

mod page;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use measure::{Align, Cell, Error, Result, Table, Tone, check_outputs_beside};

use super::document::Document;
use super::outcome::Outcome;
use super::overtime::Finding;
use super::terminal::{say, wrapped};
use rows::{Row, Value};

/// Options of `graven-disk compare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Reports that `qualify --json` wrote.
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub(crate) files: Vec<PathBuf>,
    /// Write a page with pictures to PAGE too.
    #[arg(long, value_name = "PAGE")]
    pub(crate) html: Option<PathBuf>,
}

/// Of a terminal.
const WIDTH: usize = 80;

/// A disk with the name that heads its column.
pub(crate) struct Disk {
    name: String,
    document: Document,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let read_files = arguments.files.iter().map(PathBuf::as_path);
    check_outputs_beside(read_files, [("--html", arguments.html.as_deref())])?;
    let disks = read(&arguments.files)?;
    say(table(&disks));
    findings(&disks).iter().flat_map(|line| wrapped(line, WIDTH)).for_each(say);
    say("* best of its row by more than repeated runs of one disk differ (10 %)");
    if let Some(path) = &arguments.html {
        fs::write(path, page::page(&disks).html()).map_err(Error::io("write", path))?;
    }
    Ok(Outcome::Fit)
}

fn read(files: &[PathBuf]) -> Result<Vec<Disk>> {
    let documents: Vec<Document> = files.iter().map(|path| Document::read(path)).collect::<Result<_>>()?;
    let first = documents.first().expect("the command line asks for two");
    for (path, document) in files.iter().zip(&documents) {
        alike(first, document).map_err(|difference| {
            let (first, other) = (files[0].display(), path.display());
            Error::Usage(format!("{first} and {other} cannot be compared: {difference}; measure both alike"))
        })?;
    }
    Ok(names(files).into_iter().zip(documents).map(|(name, document)| Disk { name, document }).collect())
}

/// What makes figures of two runs answers to different questions.
fn alike(one: &Document, other: &Document) -> std::result::Result<(), &'static str> {
    if one.quick != other.quick {
        return Err("only one of them is of a run with --quick");
    }
    let bytes = |document: &Document| document.commit.as_ref().map(|commit| commit.record_bytes);
    match (bytes(one), bytes(other)) {
        (Some(one), Some(other)) if one != other => Err("their records have different sizes"),
        _ => Ok(()),
    }
}

/// File names without their ending, or whole paths where those would be the same.
fn names(files: &[PathBuf]) -> Vec<String> {
    let stem =
        |path: &Path| path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let stems: Vec<String> = files.iter().map(|path| stem(path)).collect();
    let twice = |name: &String| stems.iter().filter(|other| *other == name).count() > 1;
    let name = |(path, stem): (&PathBuf, &String)| {
        if twice(stem) { path.display().to_string() } else { stem.clone() }
    };
    files.iter().zip(&stems).map(name).collect()
}

/// A column for each disk.
fn table(disks: &[Disk]) -> Table {
    let heads = disks.iter().map(|disk| (disk.name.clone(), Align::Right));
    let mut table = Table::new([(String::new(), Align::Left)].into_iter().chain(heads));
    for row in rows::all(disks) {
        let best = row.best();
        let cells =
            row.values.iter().enumerate().map(|(number, value)| cell(&row, value, best == Some(number)));
        table.row([Cell::from(row.name.clone())].into_iter().chain(cells));
    }
    table
}

/// What was found over time, a sentence each: too long for a column.
fn findings(disks: &[Disk]) -> Vec<String> {
    let of = |disk: &Disk| {
        let time = disk.document.over_time.as_ref();
        let found = time.map_or(Vec::new(), |time| time.findings.iter().map(Finding::text).collect());
        found.into_iter().map(|text: String| format!("{}: {text}", disk.name)).collect::<Vec<_>>()
    };
    disks.iter().flat_map(of).collect()
}

fn cell(row: &Row, value: &Value, best: bool) -> Cell {
    match value {
        Value::None => Cell::new("not measured", Tone::Faint),
        Value::Text(text, tone) => Cell::new(text.clone(), *tone),
        Value::Figure(figure) if best => Cell::new(format!("{} *", (row.text)(*figure)), Tone::Strong),
        Value::Figure(figure) => (row.text)(*figure).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_files_apart() {
        let files = ["a/nvme.json", "b/nvme.json", "ebs.json"].map(PathBuf::from);
        assert_eq!(names(&files), ["a/nvme.json", "b/nvme.json", "ebs"]);
    }

    #[test]
    fn what_was_not_measured_alike_is_refused() {
        let (quick, whole) = (Document::new(Path::new("/a"), true), Document::new(Path::new("/a"), false));
        assert!(alike(&quick, &quick).is_ok());
        assert!(alike(&quick, &whole).is_err_and(|why| why.contains("--quick")));
    }

    #[test]
    fn nothing_measured_is_said() {
        let disk =
            |name: &str| Disk { name: name.to_owned(), document: Document::new(Path::new("/a"), false) };
        let disks = [disk("one"), disk("two")];
        let text = table(&disks).to_string();
        assert!(text.contains("| one |") || text.contains("one"), "{text}");
        assert!(text.contains("not measured"), "{text}");
        assert!(page::page(&disks).html().contains("not measured"));
    }
}
