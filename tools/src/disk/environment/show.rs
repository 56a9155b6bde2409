//! The facts in the terminal and on a page.

use measure::Tone;
use measure::report::{self, Section};

use super::{Environment, Fact, Level};
use crate::disk::document::Document;

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
        for line in wrapped(&fact.value) {
            out += &format!("{}{name:<NAME$} {line}\n", if name.is_empty() { ' ' } else { mark });
            name = "";
        }
        if fact.level != Level::Fine {
            for line in wrapped(&fact.why) {
                out += &format!(" {:<NAME$} {line}\n", "");
            }
        }
    }
    out
}

/// In lines that fit; a word that is longer than a line is cut.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    // Options of a mount are one word of many commas.
    let text = text.replace(',', ", ").replace(",  ", ", ");
    for word in text.split_whitespace() {
        let mut word = word;
        loop {
            let line = lines.last_mut().expect("there is always one");
            let needed = line.len() + usize::from(!line.is_empty()) + word.len();
            if needed <= TEXT {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
                break;
            }
            if line.is_empty() {
                let cut = (0..=TEXT).rev().find(|&cut| word.is_char_boundary(cut)).unwrap_or(0).max(1);
                line.push_str(&word[..cut]);
                word = &word[cut..];
            }
            lines.push(String::new());
        }
    }
    lines
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wider_than_a_terminal() {
        let long = "x".repeat(200);
        for text in ["", "word", "rw,relatime,discard", long.as_str(), &format!("a {long} b")] {
            let lines = wrapped(text);
            assert!(!lines.is_empty() && lines.iter().all(|line| line.len() <= TEXT), "{lines:?}");
            let count = |text: &str| text.chars().filter(|letter| *letter != ' ').count();
            assert_eq!(lines.iter().map(|line| count(line)).sum::<usize>(), count(text));
        }
    }
}
