//! The verdict in the terminal, and the page made of a whole document.

use measure::report::{Fact, Page, Section, Verdict as PageVerdict};
use measure::units::{micros, rounded};
use measure::{Align, Cell, Table, Tone};

use super::{Answer, Size, Verdict};
use crate::disk::document::Document;
use crate::disk::{commit, disturb, environment, matrix, overtime, predict, recipes};

pub(super) fn table(document: &Document) -> String {
    document.verdict.as_ref().map_or(String::new(), |verdict| {
        let mut text =
            format!("Verdict: {}{}\n{}\n", verdict.outcome.text(), of_whom(verdict), demands(verdict));
        for doubt in &verdict.doubts {
            text += &format!("  but: {doubt}\n");
        }
        timeouts(document, verdict).into_iter().for_each(|line| text += &format!("{line}\n"));
        text
    })
}

/// For whom it is said, and who is told otherwise.
fn of_whom(verdict: &Verdict) -> String {
    let asked = verdict.sizes.first().map_or(String::new(), |size| format!(", for {}", size.name));
    asked + &exception(verdict).map_or(String::new(), |size| format!("; unfit for {}", size.name))
}

/// The smallest size that a disk is unfit for, though what was asked says fit.
fn exception(verdict: &Verdict) -> Option<&Size> {
    let unfit = |size: &&Size| size.answer == Answer::Unfit;
    verdict.sizes.iter().skip(1).find(unfit).filter(|_| verdict.outcome == Answer::Fit)
}

/// None where no sync was seen over time: nothing speaks for any.
fn timeouts(document: &Document, verdict: &Verdict) -> Option<String> {
    document.over_time.as_ref().filter(|time| time.sync.count() > 0)?;
    Some(format!(
        "For a cluster on such disks: --heartbeat-interval {} --election-timeout {} (milliseconds), if members are near each other",
        verdict.timeouts.heartbeat_ms, verdict.timeouts.election_ms
    ))
}

fn demands(verdict: &Verdict) -> Table {
    let mut table = Table::new([
        ("for", Align::Left),
        ("needs", Align::Left),
        ("bound", Align::Right),
        ("found", Align::Right),
        ("", Align::Left),
    ]);
    for size in &verdict.sizes {
        for (number, demand) in size.demands.iter().enumerate() {
            let name = if number == 0 { size.name.as_str() } else { "" };
            table.row([
                Cell::from(name),
                Cell::from(demand.what.as_str()),
                Cell::from(demand.bound.as_str()),
                Cell::from(demand.found_text()),
                Cell::new(demand.answer.text(), tone(demand.answer)),
            ]);
        }
    }
    table
}

fn tone(answer: Answer) -> Tone {
    match answer {
        Answer::Fit => Tone::Good,
        Answer::Unfit => Tone::Bad,
        Answer::CouldNotTell => Tone::Warn,
    }
}

/// Everything a document holds, as one page.
pub(crate) fn page(document: &Document) -> Page {
    let mut page = Page {
        title: format!("What the disk of {} is worth to a control plane", document.dir),
        subtitle: {
            let quick = "A quick run: it shows that everything works, and proves little.";
            let said = [document.ending.complaint(), document.quick.then_some(quick)];
            said.into_iter().flatten().collect::<Vec<_>>().join(" ")
        },
        verdict: document.verdict.as_ref().map(|verdict| headline(document, verdict)),
        footer: format!("Made by graven-disk {}.", document.program),
        ..Page::default()
    };
    let sections = [
        document.verdict.as_ref().map(|verdict| {
            let section = Section::new("verdict", "For which size, and why").with(demands(verdict));
            match timeouts(document, verdict) {
                Some(line) => section.with(line.as_str()),
                None => section,
            }
        }),
        environment::section(document),
        matrix::section(document),
        recipes::section(document),
        commit::section(document),
        disturb::section(document),
        overtime::section(document),
        predict::section(document),
    ];
    page.sections = sections.into_iter().flatten().collect();
    page
}

fn headline(document: &Document, verdict: &Verdict) -> PageVerdict {
    let asked = verdict.sizes.first().map_or("", |size| size.name.as_str());
    let largest = verdict
        .sizes
        .iter()
        .rev()
        .find(|size| size.name.starts_with("Kubernetes") && size.answer == Answer::Fit);
    let headline = match (verdict.outcome, largest) {
        (Answer::Fit, Some(size)) => format!("Fit for {asked}, and for {}", size.name),
        (Answer::Fit, None) => match exception(verdict) {
            Some(size) => format!("Fit for {asked}, unfit for {}", size.name),
            None => format!("Fit for {asked}"),
        },
        (Answer::Unfit, _) => format!("Unfit for {asked}"),
        (Answer::CouldNotTell, _) => format!("Could not tell whether it is fit for {asked}"),
    };
    let findings =
        document.over_time.iter().flat_map(|time| time.findings.iter().map(overtime::Finding::text));
    let failed = verdict.sizes.first().into_iter().flat_map(|size| &size.demands);
    let failed = failed.filter(|demand| demand.answer != Answer::Fit).map(|demand| {
        let (what, bound) = (&demand.what, &demand.bound);
        match (demand.found.as_str(), demand.answer) {
            ("", _) => format!("{what}: {}, the bound is {bound}", demand.found_text()),
            (found, Answer::CouldNotTell) => {
                format!(
                    "{what}: {found} (the bound is {bound}), but most of the time the machine did other work"
                )
            }
            (found, _) => format!("{what}: {found}, the bound is {bound}"),
        }
    });
    let mut figures = Vec::new();
    if let Some(time) = &document.over_time {
        figures.push(Fact::new("p99 of a sync", micros(time.sync.micros(0.99))));
    }
    if let Some(knee) = document.commit.as_ref().and_then(|commit| commit.knee) {
        figures.push(Fact::new("records/s at the knee", rounded(knee.per_second)));
    }
    for puts in document.prediction.iter().flat_map(|prediction| &prediction.puts) {
        let clients = if puts.clients == 1 {
            "client".to_owned()
        } else {
            format!("{} clients", rounded(puts.clients as f64))
        };
        let name =
            if puts.clients == 1 { "puts/s, 1 client".to_owned() } else { format!("puts/s, {clients}") };
        figures.push(Fact::new(name, rounded(puts.per_second)));
    }
    PageVerdict {
        tone: tone(verdict.outcome),
        headline,
        reasons: failed.chain(findings).chain(verdict.doubts.iter().cloned()).collect(),
        figures,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Timeouts;
    use super::*;

    fn verdict(outcome: Answer, kubernetes: Answer) -> Verdict {
        let size = |name: &str, answer| Size { name: name.to_owned(), answer, demands: Vec::new() };
        let sizes = vec![size("etcd's guidance", outcome), size("Kubernetes, 100 nodes", kubernetes)];
        Verdict {
            outcome,
            doubts: Vec::new(),
            sizes,
            timeouts: Timeouts { heartbeat_ms: 100, election_ms: 1000 },
        }
    }

    #[test]
    fn who_is_told_otherwise_is_named() {
        let said = |outcome, kubernetes| of_whom(&verdict(outcome, kubernetes));
        assert_eq!(said(Answer::Fit, Answer::Fit), ", for etcd's guidance");
        assert_eq!(said(Answer::Unfit, Answer::Unfit), ", for etcd's guidance");
        assert_eq!(
            said(Answer::Fit, Answer::Unfit),
            ", for etcd's guidance; unfit for Kubernetes, 100 nodes"
        );
    }
}
