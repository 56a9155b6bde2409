//! The law that every row is held to; see the suite's introduction.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tests::{Outcome, Trial, picture, utl};

use crate::base::{self, Base, Bases};
use crate::truth::Truth;
use crate::{Expect, Row};

/// Whose word is taken for what is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Checker {
    Real,
    /// A planted fault: findings in files whose path contains this are lost.
    Blind(&'static str),
}

/// What `gravenutl check` said.
#[derive(Debug)]
struct Checked {
    code: i32,
    findings: Vec<Place>,
    text: String,
}

/// Where something is wrong that matters.
#[derive(Debug)]
struct Place {
    severity: String,
    file: String,
    page: Option<u64>,
    offset: Option<u64>,
}

pub(crate) fn judge(bases: &Bases, row: &Row, checker: Checker) -> anyhow::Result<()> {
    let base = bases.of(row.from);
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    base::copy(&base.data, &data)?;
    (row.spoil)(&data);
    let before = picture(&data);
    let mut trial = base::trial();
    trial.through.clone_from(&row.trial.through);
    trial.flags.extend(row.trial.flags.iter().cloned());
    let checked = check(&trial, &data, checker)?;
    ensure!(picture(&data) == before, "check changed something");
    as_expected(&row.expect, &checked)?;
    if row.serve {
        let refused = serve(&trial, &data, base, &checked)?;
        ensure!(!refused || picture(&data) == before, "the server refused and changed something");
    }
    Ok(())
}

fn check(trial: &Trial, data: &Path, checker: Checker) -> anyhow::Result<Checked> {
    let mut command = trial.command(utl());
    command.args(["check", "--write-out=json"]).arg(data).stdout(std::process::Stdio::piped());
    let output = command.output()?;
    let (out, err) =
        (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
    let code = output.status.code().with_context(|| format!("check: {} {err}", output.status))?;
    ensure!((0..=2).contains(&code) && !err.contains("panicked"), "check: {code} {err}");
    if out.is_empty() {
        return Ok(Checked { code, findings: Vec::new(), text: err });
    }
    let report: Value = serde_json::from_str(&out)?;
    let mut findings = Vec::new();
    for finding in report["findings"].as_array().context("a list of findings")? {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        ensure!(!text("reason").is_empty() && !text("remedy").is_empty(), "a finding says too little: {out}");
        let place = Place {
            severity: text("severity"),
            file: text("file"),
            page: finding["page"].as_u64(),
            offset: finding["offset"].as_u64(),
        };
        let is_lost = matches!(checker, Checker::Blind(part) if place.file.contains(part));
        if place.severity != "note" && !is_lost {
            findings.push(place);
        }
    }
    let code = match checker {
        Checker::Blind(_) if findings.is_empty() => 0,
        _ => code,
    };
    Ok(Checked { code, findings, text: out })
}

fn as_expected(expect: &Expect, checked: &Checked) -> anyhow::Result<()> {
    let (codes, file) = match expect {
        Expect::Sound => (0..=0, None),
        Expect::Damaged(file) => (1..=1, Some(file)),
        Expect::Unknown(file) => (2..=2, Some(file)),
        Expect::Refused => (1..=2, None),
        Expect::Lawful => (0..=2, None),
    };
    let named =
        file.is_none_or(|file| checked.findings.iter().any(|place| place.file.ends_with(file.as_str())));
    ensure!(
        codes.contains(&checked.code) && named,
        "expected {expect:?}, check says {}: {}",
        checked.code,
        checked.text
    );
    Ok(())
}

/// Whether it refused, which must leave everything as it was.
fn serve(trial: &Trial, data: &Path, base: &Base, checked: &Checked) -> anyhow::Result<bool> {
    let (status, said, at_start) = match trial.serve(data)? {
        Outcome::Refused(status, said) => (status, said, true),
        Outcome::Serving(mut serving) => {
            let truth = base::run(Truth::of(&serving.endpoint));
            if let Ok(truth) = truth {
                ensure!(truth == base.truth, "the server serves something else");
                ensure!(
                    checked.code == 0,
                    "the server serves everything, check says {}: {}",
                    checked.code,
                    checked.text
                );
                return Ok(false);
            }
            let (status, said) = serving.ended().context("it does not answer and does not end")?;
            (status, said, false)
        }
    };
    ensure!(!said.contains("panicked"), "the server panicked: {said}");
    ensure!(status.code() == Some(1), "the server ended with {status}: {said}");
    ensure!(checked.code != 0, "check finds nothing, the server: {said}");
    agree(checked, &said)?;
    // Damage that only applying the log comes upon stops a member that runs already, and may write.
    Ok(at_start && !said.contains("storage failed; the member stops"))
}

/// The server names a file that check names, and its place where check gives one.
fn agree(checked: &Checked, said: &str) -> anyhow::Result<()> {
    for place in &checked.findings {
        let number =
            |word: &str, number: Option<u64>| number.is_some_and(|n| says(said, &format!("{word} {n}")));
        // At its very beginning a file as a whole may be meant.
        let has_place =
            place.page.is_some_and(|page| page > 0) || place.offset.is_some_and(|offset| offset > 0);
        let names_place =
            number("page", place.page) || number("offset", place.offset) || number("byte", place.offset);
        let folder = Path::new(&place.file).parent().and_then(Path::to_str).unwrap_or(&place.file);
        if (said.contains(&place.file) || !has_place && said.contains(folder)) && (!has_place || names_place)
        {
            return Ok(());
        }
    }
    if checked.findings.is_empty() && checked.code == 2 {
        return Ok(());
    }
    bail!("check says {:?}, the server says: {said}", checked.findings)
}

/// Whether a phrase that ends with a number is there, and the number with it.
fn says(said: &str, phrase: &str) -> bool {
    said.match_indices(phrase).any(|(at, _)| {
        let next = said.as_bytes().get(at + phrase.len());
        next.is_none_or(|byte| !byte.is_ascii_digit())
    })
}
