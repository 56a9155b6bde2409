//! The page's text.

use std::fmt::Write as _;

use super::draw;
use super::figure::{Figure, Picture};
use super::matrix;
use super::{Block, Fact, Page, Section, Verdict};
use crate::table::{Align, Table, Tone};

const STYLE: &str = include_str!("page.css");

impl Page {
    /// The page as one file: valid HTML that needs nothing else.
    pub fn html(&self) -> String {
        let mut out = Html::default();
        out.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        out.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        out.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
        // Else a browser would ask the server it came from for one.
        out.raw("<link rel=\"icon\" href=\"data:,\">\n");
        out.element("title", "", &self.title);
        out.raw("<style>\n").raw(STYLE).raw("</style>\n</head>\n<body>\n<main>\n<header>\n");
        out.element("h1", "", &self.title);
        out.words("subtitle", &self.subtitle);
        out.raw("</header>\n");
        if let Some(verdict) = &self.verdict {
            out.verdict(verdict);
        }
        out.contents(&self.sections);
        out.facts(&self.facts);
        for section in &self.sections {
            out.section(section);
        }
        out.raw("</main>\n<footer>\n");
        out.words("", &self.footer);
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

/// Sources write `us` and `+-`; a page can do better.
pub(super) fn typeset(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let escaped = escaped(text);
    let mut words = escaped.split(' ').peekable();
    while let Some(word) = words.next() {
        let bare = match word {
            "&lt;=" | "&gt;=" => "",
            word => word.trim_end_matches(|c: char| !c.is_alphanumeric()),
        };
        match (bare, &word[bare.len()..]) {
            ("us", end) => out.push_str(&format!("&micro;s{end}")),
            ("", "&lt;=") => out.push_str("&le;"),
            ("", "&gt;=") => out.push_str("&ge;"),
            _ => out.push_str(&word.replace("+-", "&plusmn;")),
        }
        // A number stays with its unit.
        let number = word.ends_with(|c: char| c.is_ascii_digit());
        let unit = words.peek().map(|next| next.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '%'));
        match unit {
            Some("ns" | "us" | "ms" | "s" | "min" | "h" | "%" | "B" | "KiB" | "MiB" | "GiB" | "TiB")
                if number =>
            {
                out.push_str("&nbsp;");
            }
            Some(_) => out.push(' '),
            None => {}
        }
    }
    out
}

pub(super) fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Good => "good",
        Tone::Warn => "warn",
        Tone::Bad => "bad",
        Tone::Strong => "strong",
        Tone::Faint => "faint",
    }
}

/// Color alone says nothing to some: a mark does.
fn mark(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "<span class=\"mark\" role=\"img\" aria-label=\"good\">&#10003;</span> ",
        Tone::Warn => "<span class=\"mark\" role=\"img\" aria-label=\"attention\">!</span> ",
        Tone::Bad => "<span class=\"mark\" role=\"img\" aria-label=\"bad\">&#10007;</span> ",
        Tone::Plain | Tone::Strong | Tone::Faint => "",
    }
}

impl Html {
    fn raw(&mut self, text: &str) -> &mut Html {
        self.text.push_str(text);
        self
    }

    fn element(&mut self, name: &str, class: &str, text: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let _ = writeln!(self.text, "<{name}{class}>{}</{name}>", typeset(text));
    }

    /// A paragraph, unless there is nothing to say.
    fn words(&mut self, class: &str, text: &str) {
        if !text.is_empty() {
            self.element("p", class, text);
        }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        let tone = verdict.tone;
        let _ = writeln!(self.text, "<section class=\"verdict {}\" id=\"answer\">", tone_class(tone));
        let _ = writeln!(self.text, "<p class=\"headline\">{}{}</p>", mark(tone), typeset(&verdict.headline));
        if !verdict.figures.is_empty() {
            self.raw("<dl class=\"large\">\n");
            for fact in &verdict.figures {
                let _ = writeln!(
                    self.text,
                    "<div class=\"{}\"><dt>{}</dt><dd>{}</dd></div>",
                    tone_class(fact.tone),
                    typeset(&fact.name),
                    typeset(&fact.value)
                );
            }
            self.raw("</dl>\n");
        }
        if !verdict.reasons.is_empty() {
            self.raw("<ul>\n");
            for reason in &verdict.reasons {
                self.element("li", "", reason);
            }
            self.raw("</ul>\n");
        }
        self.raw("</section>\n");
    }

    /// Worth its room only where there is something to choose.
    fn contents(&mut self, sections: &[Section]) {
        if sections.len() < 3 {
            return;
        }
        self.raw("<nav aria-label=\"Contents\"><ul>\n");
        for section in sections {
            let (id, title) = (escaped(&section.id), typeset(&section.title));
            let _ = writeln!(self.text, "<li><a href=\"#{id}\">{title}</a></li>");
        }
        self.raw("</ul></nav>\n");
    }

    fn facts(&mut self, facts: &[Fact]) {
        if facts.is_empty() {
            return;
        }
        self.raw("<table class=\"facts\">\n<tbody>\n");
        for fact in facts {
            let _ = writeln!(
                self.text,
                "<tr class=\"{}\"><th scope=\"row\">{}</th><td>{}{}{}</td></tr>",
                tone_class(fact.tone),
                typeset(&fact.name),
                mark(fact.tone),
                typeset(&fact.value),
                match &*fact.why {
                    "" => String::new(),
                    why => format!("<span class=\"why\">{}</span>", typeset(why)),
                }
            );
        }
        self.raw("</tbody>\n</table>\n");
    }

    fn section(&mut self, section: &Section) {
        let _ = writeln!(self.text, "<section id=\"{}\">", escaped(&section.id));
        self.element("h2", "", &section.title);
        for block in &section.blocks {
            match block {
                Block::Text(text) => self.words("", text),
                Block::Note(tone, text) => {
                    let _ = writeln!(
                        self.text,
                        "<p class=\"note {}\">{}{}</p>",
                        tone_class(*tone),
                        mark(*tone),
                        typeset(text)
                    );
                }
                Block::Facts(facts) => self.facts(facts),
                Block::Table(table) => self.table(table),
                Block::Figure(figure) => self.figure(figure),
            }
        }
        self.raw("</section>\n");
    }

    fn table(&mut self, table: &Table) {
        self.raw("<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>");
        let aligns: Vec<&str> = table
            .columns()
            .map(|(_, align)| match align {
                Align::Left => "left",
                Align::Right => "right",
            })
            .collect();
        for ((name, _), align) in table.columns().zip(&aligns) {
            let _ = write!(self.text, "<th scope=\"col\" class=\"{align}\">{}</th>", typeset(name));
        }
        self.raw("</tr></thead>\n<tbody>\n");
        for row in table.rows() {
            self.raw("<tr>");
            for (cell, align) in row.iter().zip(&aligns) {
                let tone = tone_class(cell.tone);
                let text = typeset(&cell.text);
                let _ = write!(self.text, "<td class=\"{align} {tone}\">{}{text}</td>", mark(cell.tone));
            }
            self.raw("</tr>\n");
        }
        self.raw("</tbody>\n</table></div>\n");
    }

    fn figure(&mut self, figure: &Figure) {
        self.figures += 1;
        let _ = writeln!(self.text, "<figure id=\"figure-{}\">", self.figures);
        self.element("figcaption", "", &figure.title);
        if let Picture::Matrix(picture) = &figure.picture {
            self.raw(&matrix::drawn(picture, &figure.title));
        } else {
            self.raw(&draw::pictures(figure, self.figures));
        }
        self.words("caption", &figure.caption);
        // A matrix is a table already.
        if !matches!(figure.picture, Picture::Matrix(_)) {
            self.raw("<details><summary>The figures as a table</summary>\n");
            self.table(&figure.picture.table());
            self.raw("</details>\n");
        }
        self.raw("</figure>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        let page = Page { title: "<script>alert('1')</script>".to_owned(), ..Page::default() };
        let html = page.html();
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)"), "{html}");
        assert_eq!(escaped("a\u{1}b\"&"), "a b&quot;&amp;");
    }

    #[test]
    fn numbers_stay_with_their_units() {
        assert_eq!(
            typeset("p99 310 us, max 1.2 ms at 64 writers"),
            "p99 310&nbsp;&micro;s, max 1.2&nbsp;ms at 64 writers"
        );
        assert_eq!(typeset("ask us, +-3 %"), "ask &micro;s, &plusmn;3&nbsp;%");
        assert_eq!(typeset("<= 10 ms, >= 5"), "&le; 10&nbsp;ms, &ge; 5");
    }
}
