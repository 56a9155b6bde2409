//! Shapes and words.

use std::fmt::Write as _;

use super::super::html::{escaped, typeset};

/// Of the widest usual font, at the size the style gives to words in pictures.
const CHAR: f64 = 6.9;

/// Height of a line of words.
pub(super) const LINE: f64 = 14.0;

/// Where words stand relative to their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture in the making. Places are in pixels from the upper left corner.
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Svg {
        Svg { width, height, body: String::new() }
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            place(x1),
            place(y1),
            place(x2),
            place(y2)
        );
    }

    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), width: f64, height: f64) {
        let (x, y, width, height) = (place(x), place(y), place(width.max(0.0)), place(height.max(0.0)));
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
        );
    }

    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        let _ = writeln!(
            self.body,
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\"/>",
            place(x),
            place(y),
            place(radius)
        );
    }

    /// Shapes of one class in SVG's own language.
    pub(super) fn path(&mut self, class: &str, shape: &str) {
        if !shape.is_empty() {
            let _ = writeln!(self.body, "<path class=\"{class}\" d=\"{shape}\"/>");
        }
    }

    /// A line through points; one that is not finite breaks it.
    pub(super) fn polyline(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut shape = String::new();
        let mut joined = false;
        for (x, y) in points {
            if x.is_finite() && y.is_finite() {
                let _ = write!(shape, "{}{} {}", if joined { "L" } else { "M" }, place(x), place(y));
                joined = true;
            } else {
                joined = false;
            }
        }
        self.path(class, &shape);
    }

    /// Words whose baseline begins, has its middle, or ends at a place. They are moved so that they stay in the picture.
    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let width = width_of(text);
        let last = (self.width - 2.0 - width).max(2.0);
        let (anchor, x) = match anchor {
            Anchor::Start => ("start", x.min(last).max(2.0)),
            Anchor::Middle => {
                ("middle", x.clamp(width / 2.0 + 2.0, (last + width / 2.0).max(width / 2.0 + 2.0)))
            }
            Anchor::End => ("end", x.max(width + 2.0)),
        };
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            place(x),
            place(y),
            typeset(text)
        );
    }

    /// The whole element, with its title and its description for those who can't see it.
    pub(super) fn finish(&self, id: &str, class: &str, title: &str, description: &str) -> String {
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\n\
             <title id=\"{id}-t\">{}</title>\n<desc id=\"{id}-d\">{}</desc>\n{}</svg>\n",
            place(self.width),
            place(self.height),
            escaped(title),
            escaped(if description.is_empty() {
                "The table below holds the same figures."
            } else {
                description
            }),
            self.body
        )
    }
}

/// How wide words are at most.
pub(super) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * CHAR
}

/// Words in lines of at most so many pixels, broken at blanks; a word that is too long by itself is cut.
pub(super) fn wrapped(text: &str, width: f64) -> Vec<String> {
    let most = ((width / CHAR) as usize).max(4);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = match word.chars().count() {
            length if length > most => word.chars().take(most - 2).chain("..".chars()).collect(),
            _ => word.to_owned(),
        };
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// A tenth of a pixel is enough.
pub(super) fn place(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_in_the_picture() {
        let mut svg = Svg::new(100.0, 20.0);
        svg.text("t", (98.0, 10.0), Anchor::Start, "0123456789");
        svg.text("t", (3.0, 10.0), Anchor::End, "0123456789");
        assert!(svg.body.contains("x=\"29\"") && svg.body.contains("x=\"71\""), "{}", svg.body);
    }

    #[test]
    fn words_wrap_at_blanks() {
        assert_eq!(wrapped("io_uring linked, depth 4", 100.0), ["io_uring", "linked, depth", "4"]);
        assert_eq!(wrapped("averyveryverylongword", 70.0), ["averyver.."]);
    }

    #[test]
    fn a_hole_breaks_the_line() {
        let mut svg = Svg::new(100.0, 20.0);
        svg.polyline("s", [(0.0, 1.0), (1.0, 2.25), (2.0, f64::NAN), (3.0, 4.0)]);
        assert!(svg.body.contains("d=\"M0 1L1 2.2M3 4\""), "{}", svg.body);
    }
}
