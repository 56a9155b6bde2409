//! The page's text.

use std::fmt::Write as _;

use super::{Block, Fact, Figure, Page, Section, Verdict};
use crate::table::{Align, Table, Tone};

const STYLE: &str = include_str!("page.css");

impl Page {
    /// The page as one file: valid HTML that needs nothing else.
    pub fn html(&self) -> String {
        let mut out = Html::default();
        out.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        out.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        out.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
        out.element("title", "", &self.title);
        out.raw("<style>\n").raw(STYLE).raw("</style>\n</head>\n<body>\n<main>\n<header>\n");
        out.element("h1", "", &self.title);
        out.element("p", "subtitle", &self.subtitle);
        out.raw("</header>\n");
        if let Some(verdict) = &self.verdict {
            out.verdict(verdict);
        }
        if !self.facts.is_empty() {
            out.facts(&self.facts);
        }
        for section in &self.sections {
            out.section(section);
        }
        out.raw("</main>\n<footer>\n");
        out.element("p", "", &self.footer);
        out.raw("</footer>\n</body>\n</html>\n");
        out.text
    }
}

/// A page in the making.
#[derive(Default)]
struct Html {
    text: String,
    figures: usize,
}

/// Text between tags or in a quoted attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // No document may hold these.
            c if c.is_control() && c != '\n' && c != '\t' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Good => "good",
        Tone::Warn => "warn",
        Tone::Bad => "bad",
        Tone::Strong => "strong",
        Tone::Faint => "faint",
    }
}

impl Html {
    fn raw(&mut self, text: &str) -> &mut Html {
        self.text.push_str(text);
        self
    }

    fn element(&mut self, name: &str, class: &str, text: &str) -> &mut Html {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let _ = writeln!(self.text, "<{name}{class}>{}</{name}>", escaped(text));
        self
    }

    fn verdict(&mut self, verdict: &Verdict) {
        let _ =
            writeln!(self.text, "<section class=\"verdict {}\" id=\"verdict\">", tone_class(verdict.tone));
        self.element("p", "headline", &verdict.headline);
        for reason in &verdict.reasons {
            self.element("p", "reason", reason);
        }
        self.facts(&verdict.figures);
        self.raw("</section>\n");
    }

    fn facts(&mut self, facts: &[Fact]) {
        self.raw("<table class=\"facts\">\n");
        for fact in facts {
            let _ = writeln!(
                self.text,
                "<tr class=\"{}\"><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                tone_class(fact.tone),
                escaped(&fact.name),
                escaped(&fact.value),
                escaped(&fact.why)
            );
        }
        self.raw("</table>\n");
    }

    fn section(&mut self, section: &Section) {
        let _ = writeln!(self.text, "<section id=\"{}\">", escaped(&section.id));
        self.element("h2", "", &section.title);
        for block in &section.blocks {
            match block {
                Block::Text(text) => {
                    self.element("p", "", text);
                }
                Block::Note(tone, text) => {
                    self.element("p", &format!("note {}", tone_class(*tone)), text);
                }
                Block::Facts(facts) => self.facts(facts),
                Block::Table(table) => self.table(table),
                Block::Figure(figure) => self.figure(figure),
            }
        }
        self.raw("</section>\n");
    }

    fn table(&mut self, table: &Table) {
        self.raw("<div class=\"scroll\"><table>\n<thead><tr>");
        let aligns: Vec<&str> = table
            .columns()
            .map(|(_, align)| match align {
                Align::Left => "left",
                Align::Right => "right",
            })
            .collect();
        for ((name, _), align) in table.columns().zip(&aligns) {
            let _ = write!(self.text, "<th scope=\"col\" class=\"{align}\">{}</th>", escaped(name));
        }
        self.raw("</tr></thead>\n<tbody>\n");
        for row in table.rows() {
            self.raw("<tr>");
            for (cell, align) in row.iter().zip(&aligns) {
                let tone = tone_class(cell.tone);
                let _ = write!(self.text, "<td class=\"{align} {tone}\">{}</td>", escaped(&cell.text));
            }
            self.raw("</tr>\n");
        }
        self.raw("</tbody>\n</table></div>\n");
    }

    fn figure(&mut self, figure: &Figure) {
        self.figures += 1;
        let _ = writeln!(self.text, "<figure id=\"figure-{}\">", self.figures);
        self.element("figcaption", "", &figure.title);
        self.table(&figure.picture.table());
        self.element("p", "caption", &figure.caption);
        self.raw("</figure>\n");
    }
}
