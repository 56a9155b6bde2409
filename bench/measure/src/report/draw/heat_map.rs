//! Latency over time: darker where more requests were.

use std::fmt::Write as _;

use super::super::figure::{HeatMap, Scale};
use super::Room;
use super::axis::Axis;
use super::plot::{Area, EndLabel, Plot, span_rows};
use super::svg::{Svg, place};
use crate::latencies::Latencies;

/// Colors, from few to many.
const LEVELS: usize = 6;
/// Buckets of latency.
const ROWS: usize = 44;

pub(super) fn draw(picture: &HeatMap, room: Room) -> Svg {
    let (height, columns) = if room == Room::Wide { (340.0, 150) } else { (320.0, 60) };
    let area = Area::new(room, height, &["p99"], span_rows(&picture.spans));
    let columns = columns_of(picture, columns);
    let seconds = (picture.timeline.len().max(1)) as f64 * picture.timeline.interval().as_secs_f64();
    let x = Axis::exact(Scale::Linear, 0.0, seconds, area.left, area.right);
    let total = picture.timeline.total();
    let (low, high) = (total.histogram().min_nz() as f64 / 1e3, total.longest().as_nanos() as f64 / 1e3);
    let y = Axis::around(
        Scale::Log,
        if total.count() == 0 { [f64::NAN; 2] } else { [low, high] },
        area.bottom,
        area.top,
    );

    let mut plot = Plot::new(room, height, area, x, y);
    plot.vertical("latency", "us");
    plot.spans(&picture.spans);
    cells(&mut plot, &columns);
    plot.horizontal_numbers("seconds since the start");

    let mut labels = Vec::new();
    for (share, name, class) in [(0.5, "p50", "p50"), (0.99, "p99", "p99")] {
        let points: Vec<(f64, f64)> = columns
            .iter()
            .map(|(at, latencies)| match latencies.count() {
                0 => (0.0, f64::NAN),
                _ => (plot.x.place(*at), plot.y.place(latencies.micros(share))),
            })
            .collect();
        let end = points.iter().rev().find(|(_, y)| y.is_finite()).map_or(f64::NAN, |(_, y)| *y);
        plot.svg.polyline("line under", points.iter().copied());
        plot.svg.polyline(&format!("line {class}"), points);
        labels.push(EndLabel { name, class: class.to_owned(), y: end });
    }
    plot.thresholds(&picture.thresholds);
    plot.end_labels(labels);
    plot.svg
}

/// The middle of each column in seconds, and what it has seen.
fn columns_of(picture: &HeatMap, most: usize) -> Vec<(f64, Latencies)> {
    let interval = picture.timeline.interval().as_secs_f64();
    let together = picture.timeline.len().div_ceil(most).max(1);
    let mut columns: Vec<(f64, Latencies)> = Vec::new();
    for (number, latencies) in picture.timeline.intervals().enumerate() {
        match columns.last_mut().filter(|_| !number.is_multiple_of(together)) {
            Some((_, column)) => column.merge(&latencies),
            None => columns.push(((number as f64 + together as f64 / 2.0) * interval, latencies)),
        }
    }
    columns
}

/// A path for each color, rather than an element for each cell.
fn cells(plot: &mut Plot, columns: &[(f64, Latencies)]) {
    let Area { left, right, top, bottom } = plot.area;
    let (low, high) = (plot.y.low().ln(), plot.y.high().ln());
    let mut counts = vec![[0_u64; ROWS]; columns.len()];
    for (column, (_, latencies)) in counts.iter_mut().zip(columns) {
        for bucket in latencies.histogram().iter_recorded() {
            let share = ((bucket.value_iterated_to() as f64 / 1e3).ln() - low) / (high - low);
            let row = (share * ROWS as f64).clamp(0.0, ROWS as f64 - 1.0) as usize;
            column[row] += bucket.count_since_last_iteration();
        }
    }
    let most = counts.iter().flatten().copied().max().unwrap_or(0) as f64;
    let mut shapes = vec![String::new(); LEVELS];
    let width = (right - left) / columns.len().max(1) as f64;
    let height = (bottom - top) / ROWS as f64;
    for (number, column) in counts.iter().enumerate() {
        for (row, count) in column.iter().enumerate().filter(|(_, count)| **count > 0) {
            // Logarithmic: a single slow request must be seen beside thousands of fast ones.
            let share = (*count as f64 + 1.0).ln() / (most + 1.0).ln();
            let level = ((share * LEVELS as f64).ceil() as usize).clamp(1, LEVELS) - 1;
            let (x, y) = (left + number as f64 * width, bottom - (row + 1) as f64 * height);
            let (width, height) = (place(width + 0.3), place(height + 0.3));
            let _ = write!(shapes[level], "M{} {}h{width}v{height}h-{width}z", place(x), place(y));
        }
    }
    for (level, shape) in shapes.iter().enumerate() {
        plot.svg.path(&format!("h{}", level + 1), shape);
    }
}
