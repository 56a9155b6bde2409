//! A bar for each value, with its figure at the end.

use super::super::figure::{Bars, Scale, value_text};
use super::Room;
use super::axis::Axis;
use super::svg::{Anchor, LINE, Svg, width_of, wrapped};
use crate::table::Tone;

const BAR: f64 = 16.0;
const GAP: f64 = 10.0;

pub(super) fn draw(picture: &Bars, room: Room) -> Svg {
    let longest = picture.bars.iter().map(|bar| width_of(&bar.name)).fold(0.0, f64::max);
    // On a phone a name stands above its bar.
    let above = room == Room::Narrow && longest > 80.0;
    let left = if above { 4.0 } else { (longest + 12.0).min(room.width() * 0.34) };
    let figures =
        picture.bars.iter().map(|bar| width_of(&value_text(bar.value, &picture.unit))).fold(0.0, f64::max);
    let right = room.width() - figures - 16.0;

    let heads: Vec<Vec<String>> = picture
        .bars
        .iter()
        .map(|bar| wrapped(&bar.name, if above { room.width() - 8.0 } else { left - 10.0 }))
        .collect();
    let height_of = |lines: usize| match above {
        true => lines as f64 * LINE + 4.0 + BAR,
        false => (lines as f64 * LINE).max(BAR),
    };
    let top = if picture.thresholds.is_empty() { 4.0 } else { 4.0 + LINE * picture.thresholds.len() as f64 };
    let body: f64 = heads.iter().map(|lines| height_of(lines.len()) + GAP).sum();
    let mut svg = Svg::new(room.width(), top + body + 2.0);

    let bounds = picture.thresholds.iter().map(|threshold| threshold.at);
    let ranges =
        picture.bars.iter().flat_map(|bar| bar.range.into_iter().flat_map(|(low, high)| [low, high]));
    let values = picture.bars.iter().map(|bar| bar.value).chain(bounds).chain(ranges);
    let axis = Axis::around(picture.scale, values, left, right);

    let mut y = top;
    for (bar, lines) in picture.bars.iter().zip(&heads) {
        let height = height_of(lines.len());
        let (bar_top, name_top) = match above {
            true => (y + height - BAR, y),
            false => (y + (height - BAR) / 2.0, y + (height - lines.len() as f64 * LINE) / 2.0),
        };
        for (number, line) in lines.iter().enumerate() {
            let baseline = name_top + (number as f64 + 0.78) * LINE;
            let (x, anchor) = if above { (left, Anchor::Start) } else { (left - 8.0, Anchor::End) };
            svg.text("name", (x, baseline), anchor, line);
        }
        let end = axis.place(bar.value);
        if bar.value.is_finite() {
            svg.rect(&format!("bar {}", class(bar.tone)), (left, bar_top), (end - left).max(1.5), BAR);
        }
        let mut words = end;
        if let Some((low, high)) = bar.range {
            let middle = bar_top + BAR / 2.0;
            svg.line("whisker", (axis.place(low), middle), (axis.place(high), middle));
            words = words.max(axis.place(high));
        }
        let text =
            if bar.value.is_finite() { value_text(bar.value, &picture.unit) } else { "none".to_owned() };
        let words = if words.is_finite() { words } else { left };
        svg.text("figure", (words + 6.0, bar_top + BAR - 4.0), Anchor::Start, &text);
        y += height + GAP;
    }
    for (number, threshold) in picture.thresholds.iter().enumerate() {
        let x = axis.place(threshold.at);
        let baseline = (number as f64 + 0.9) * LINE;
        svg.line("bound", (x, baseline - 8.0), (x, y - GAP / 2.0));
        let anchor = if x > room.width() / 2.0 { Anchor::End } else { Anchor::Start };
        let beside = if anchor == Anchor::End { -4.0 } else { 4.0 };
        svg.text("bound-name halo", (x + beside, baseline), anchor, &threshold.label);
    }
    if picture.scale == Scale::Linear {
        svg.line("base", (left, top), (left, y - GAP / 2.0));
    }
    svg
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "f1",
        Tone::Strong => "f-strong",
        Tone::Good => "f-good",
        Tone::Warn => "f-warn",
        Tone::Bad => "f-bad",
        Tone::Faint => "f-faint",
    }
}
