//! The facts in the terminal and on a page.

use measure::Tone;
use measure::report::{self, Section};

use super::{Environment, Fact, Level};
use crate::disk::document::Document;
use crate::disk::terminal::wrapped;

/// Columns of a terminal, less those of mark and name.
const NAME: usize = 22;
const TEXT: usize = 80 - NAME - 2;

/// One line a fact; those that matter with their reason below.
pub(super) fn table(document: &Document) -> String {
    let Some(Environment { facts }) = &document.environment else { return String::new() };
    let mut out = String::from("Environment (! worth changing, * worth knowing)\n");
    for fact in facts {
        let mark = match fact.level {
            Level::Fine => ' ',
            Level::Note => '*',
            Level::Warning => '!',
        };
        let mut name = fact.name.as_str();
        for line in wrapped(&spaced(&fact.value), TEXT) {
            out += &format!("{}{name:<NAME$} {line}\n", if name.is_empty() { ' ' } else { mark });
            name = "";
        }
        if fact.level != Level::Fine {
            for line in wrapped(&fact.why, TEXT) {
                out += &format!(" {:<NAME$} {line}\n", "");
            }
        }
    }
    out
}

/// Options of a mount are one word of many commas.
fn spaced(text: &str) -> String {
    text.replace(',', ", ").replace(",  ", ", ")
}

pub(crate) fn section(document: &Document) -> Option<Section> {
    let facts = &document.environment.as_ref()?.facts;
    let title = match facts.iter().filter(|fact| fact.level == Level::Warning).count() {
        0 => "Nothing about the machine speaks against it".to_owned(),
        1 => "One thing about the machine is worth changing".to_owned(),
        several => format!("{several} things about the machine are worth changing"),
    };
    let shown: Vec<_> = facts.iter().map(shown).collect();
    Some(Section::new("environment", title).with(shown))
}

fn shown(fact: &Fact) -> report::Fact {
    let tone = match fact.level {
        Level::Fine => Tone::Plain,
        Level::Note => Tone::Faint,
        Level::Warning => Tone::Warn,
    };
    report::Fact::new(fact.name.replace('_', " "), fact.value.clone()).why(fact.why.clone()).tone(tone)
}
