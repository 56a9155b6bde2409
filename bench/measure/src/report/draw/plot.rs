//! What pictures with two axes share: the frame, grid, bounds, spans of time, and names at the ends of lines.

use super::super::figure::{Span, Threshold, value_text};
use super::Room;
use super::axis::Axis;
use super::svg::{Anchor, LINE, Svg, width_of, wrapped};
use crate::units;

/// Between a line's end and its name.
const GAP: f64 = 8.0;
/// Room for the axis' title above, the ticks below.
const ABOVE: f64 = 26.0;
const BELOW: f64 = 38.0;

/// Where the data goes, in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Area {
    /// Leaves room for the ticks to the left, names to the right, and rows of span labels above.
    pub(super) fn new(room: Room, height: f64, names: &[&str], span_rows: usize) -> Area {
        let share = if room == Room::Wide { 0.24 } else { 0.27 };
        let longest = names.iter().map(|name| width_of(name)).fold(0.0, f64::max);
        let names = if longest > 0.0 { (longest + GAP + 4.0).min(room.width() * share) } else { 12.0 };
        Area {
            left: if room == Room::Wide { 66.0 } else { 56.0 },
            right: room.width() - names,
            top: ABOVE + span_rows as f64 * LINE,
            bottom: height - BELOW,
        }
    }
}

/// A picture with axes.
pub(super) struct Plot {
    pub(super) svg: Svg,
    pub(super) area: Area,
    pub(super) x: Axis,
    pub(super) y: Axis,
    room: Room,
}

/// A name at the end of a line.
pub(super) struct EndLabel<'a> {
    pub(super) name: &'a str,
    pub(super) class: String,
    pub(super) y: f64,
}

impl Plot {
    pub(super) fn new(room: Room, height: f64, area: Area, x: Axis, y: Axis) -> Plot {
        Plot { svg: Svg::new(room.width(), height), area, x, y, room }
    }

    /// The vertical axis: a title, horizontal grid lines, ticks.
    pub(super) fn vertical(&mut self, title: &str, unit: &str) {
        self.svg.text("axis", (0.0, 12.0), Anchor::Start, title);
        for tick in self.y.ticks(6) {
            let y = self.y.place(tick);
            self.svg.line("grid", (self.area.left, y), (self.area.right, y));
            self.svg.text("tick", (self.area.left - 6.0, y + 4.0), Anchor::End, &value_text(tick, unit));
        }
    }

    /// The horizontal axis with ticks of one's own.
    pub(super) fn horizontal(&mut self, title: &str, ticks: &[(f64, String)]) {
        let Area { left, right, bottom, .. } = self.area;
        self.svg.line("base", (left, bottom), (right, bottom));
        let mut free = f64::NEG_INFINITY;
        for (value, text) in ticks {
            let x = self.x.place(*value);
            let half = width_of(text) / 2.0;
            if x - half < free {
                continue;
            }
            free = x + half + 4.0;
            self.svg.line("base", (x, bottom), (x, bottom + 4.0));
            self.svg.text("tick", (x, bottom + 17.0), Anchor::Middle, text);
        }
        self.svg.text("axis", (right, bottom + 33.0), Anchor::End, title);
    }

    /// The horizontal axis with round numbers.
    pub(super) fn horizontal_numbers(&mut self, title: &str) {
        let about = if self.room == Room::Wide { 8 } else { 4 };
        let ticks: Vec<(f64, String)> =
            self.x.ticks(about).into_iter().map(|tick| (tick, units::rounded(tick))).collect();
        self.horizontal(title, &ticks);
    }

    /// Bounds of values that lie within the picture; after the lines, so that their names can be read over them.
    pub(super) fn thresholds(&mut self, thresholds: &[Threshold]) {
        let Area { left, right, .. } = self.area;
        for threshold in thresholds {
            if threshold.at < self.y.low() || threshold.at > self.y.high() {
                continue;
            }
            let y = self.y.place(threshold.at);
            self.svg.line("bound", (left, y), (right, y));
            // Above its line, unless the picture ends there.
            let lines = wrapped(&threshold.label, right - left - 8.0);
            let above = y - 5.0 - (lines.len() as f64 - 1.0) * LINE;
            let first = if above > self.area.top + 6.0 { above } else { y + 13.0 };
            for (number, line) in lines.iter().enumerate() {
                let at = (left + 5.0, first + number as f64 * LINE);
                self.svg.text("bound-name halo", at, Anchor::Start, line);
            }
        }
    }

    /// Shaded stretches of time; those of the same name share one label. Where one begins as the other ends they are parts
    /// of the whole, and every other one is shaded.
    pub(super) fn spans(&mut self, spans: &[Span]) {
        let Area { left, right, top, bottom } = self.area;
        let touch = (self.x.high() - self.x.low()) * 0.01;
        let parts = spans.len() > 1 && spans.windows(2).all(|pair| (pair[1].from - pair[0].to).abs() < touch);
        for span in spans.iter().step_by(if parts { 2 } else { 1 }) {
            let from = self.x.place(span.from).max(left);
            let to = self.x.place(span.to).min(right).max(from + 2.0);
            self.svg.rect("span", (from, top), to - from, bottom - top);
        }
        for (row, (label, from)) in span_labels(spans).into_iter().enumerate() {
            let x = self.x.place(from);
            let y = ABOVE + row as f64 * LINE + 8.0;
            self.svg.line("span-edge", (x, y - 8.0), (x, bottom));
            let text = wrapped(&label, self.room.width() - 10.0).into_iter().next().unwrap_or_default();
            self.svg.text("span-name halo", (x + 4.0, y), Anchor::Start, &text);
        }
    }

    /// Names to the right of where lines end, moved apart where they would overlap.
    pub(super) fn end_labels(&mut self, mut labels: Vec<EndLabel<'_>>) {
        labels.retain(|label| label.y.is_finite() && !label.name.is_empty());
        labels.sort_by(|one, other| one.y.total_cmp(&other.y));
        let x = self.area.right + GAP;
        let wide = self.room.width() - x - 2.0;
        let blocks: Vec<Vec<String>> = labels.iter().map(|label| wrapped(label.name, wide)).collect();
        let heights: Vec<f64> = blocks.iter().map(|lines| lines.len() as f64 * LINE).collect();
        let wanted: Vec<f64> =
            labels.iter().zip(&heights).map(|(label, height)| label.y - height / 2.0).collect();
        let tops =
            moved_apart(&wanted, &heights, self.area.top - ABOVE / 2.0, self.area.bottom + BELOW / 2.0);
        for ((label, lines), top) in labels.iter().zip(&blocks).zip(tops) {
            for (number, line) in lines.iter().enumerate() {
                let y = top + (number as f64 + 0.78) * LINE;
                self.svg.text(&format!("name {}", label.class), (x, y), Anchor::Start, line);
            }
        }
    }
}

/// How many rows the labels of spans take.
pub(super) fn span_rows(spans: &[Span]) -> usize {
    span_labels(spans).len()
}

/// A label for each name, at the first of its spans.
fn span_labels(spans: &[Span]) -> Vec<(String, f64)> {
    let mut found: Vec<(&str, f64, usize)> = Vec::new();
    for span in spans {
        match found.iter_mut().find(|(label, ..)| *label == span.label) {
            Some((_, from, count)) => (*from, *count) = (from.min(span.from), *count + 1),
            None => found.push((&span.label, span.from, 1)),
        }
    }
    let text =
        |label: &str, count| if count > 1 { format!("{label} ({count} times)") } else { label.to_owned() };
    found.into_iter().map(|(label, from, count)| (text(label, count), from)).collect()
}

/// Tops of blocks in the order of their wishes, without overlap, within bounds where that is possible.
fn moved_apart(wanted: &[f64], heights: &[f64], low: f64, high: f64) -> Vec<f64> {
    let mut tops = wanted.to_vec();
    let mut free = low;
    for (top, height) in tops.iter_mut().zip(heights) {
        *top = top.max(free);
        free = *top + height;
    }
    let mut end = high;
    for (top, height) in tops.iter_mut().zip(heights).rev() {
        *top = top.min(end - height);
        end = *top;
    }
    tops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_overlap() {
        let tops = moved_apart(&[50.0, 52.0, 53.0, 95.0], &[14.0; 4], 0.0, 100.0);
        assert!(tops.windows(2).all(|pair| pair[1] - pair[0] >= 14.0), "{tops:?}");
        assert!(tops[3] <= 86.0, "{tops:?}");
    }

    #[test]
    fn spans_of_a_name_share_a_label() {
        let span = |from, label: &str| Span { from, to: from + 1.0, label: label.to_owned() };
        let labels = span_labels(&[span(10.0, "stall"), span(31.0, "limit"), span(20.0, "stall")]);
        assert_eq!(labels, [("stall (2 times)".to_owned(), 10.0), ("limit".to_owned(), 31.0)]);
    }
}
