//! Values over time, or over another measure.

use super::super::figure::{Lines, Scale};
use super::Room;
use super::axis::Axis;
use super::plot::{Area, EndLabel, Plot, span_rows};
use super::svg::Svg;

/// Steps over which another measure than time is better drawn logarithmically.
const LINEAR: f64 = 100.0;

pub(super) fn draw(picture: &Lines, room: Room) -> Svg {
    let height = if room == Room::Wide { 320.0 } else { 300.0 };
    let names: Vec<&str> = picture.lines.iter().map(|line| &*line.name).collect();
    let area = Area::new(room, height, &names, span_rows(&picture.spans));
    let places = || picture.lines.iter().flat_map(|line| line.points.iter().copied());
    let (least, most) =
        places().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, _)| (low.min(x), high.max(x)));
    let x = match least > 0.0 && most > least * LINEAR && picture.spans.is_empty() && picture.x != "seconds" {
        true => Axis::around(Scale::Log, [least, most], area.left, area.right),
        false => Axis::around(Scale::Linear, [least, most], area.left, area.right),
    };
    let y = Axis::around(picture.scale, places().map(|(_, y)| y), area.bottom, area.top).rounded(5);

    let mut plot = Plot::new(room, height, area, x, y);
    let title = if picture.unit == "us" { "latency" } else { &picture.unit };
    plot.spans(&picture.spans);
    plot.vertical(title, if picture.unit == "us" { "us" } else { "" });
    plot.horizontal_numbers(&picture.x);
    let mut labels = Vec::new();
    for (number, line) in picture.lines.iter().enumerate() {
        let class = format!("s{}", number % 6 + 1);
        let points: Vec<(f64, f64)> =
            line.points.iter().map(|(x, y)| (plot.x.place(*x), plot.y.place(*y))).collect();
        let end = points.iter().rev().find(|(_, y)| y.is_finite()).map_or(f64::NAN, |(_, y)| *y);
        plot.svg.polyline(&format!("line {class}"), points);
        labels.push(EndLabel { name: &line.name, class, y: end });
    }
    plot.thresholds(&picture.thresholds);
    plot.end_labels(labels);
    plot.svg
}
