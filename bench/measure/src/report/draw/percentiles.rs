//! Latency by percentile, both logarithmic: the tail takes as much room as the rest.

use super::super::figure::{Percentiles, Scale};
use super::Room;
use super::axis::Axis;
use super::plot::{Area, EndLabel, Plot};
use super::svg::Svg;
use crate::latencies::Latencies;

/// Steps from the median's side to the last nine.
const STEPS: u32 = 160;
/// More nines than these nobody measures long enough for.
const MOST_NINES: f64 = 6.0;

pub(super) fn draw(picture: &Percentiles, room: Room) -> Svg {
    let height = if room == Room::Wide { 340.0 } else { 300.0 };
    let names: Vec<&str> = picture.curves.iter().map(|curve| &*curve.name).collect();
    let area = Area::new(room, height, &names, 0);

    let count = picture.curves.iter().map(|curve| curve.latencies.count()).max().unwrap_or(0);
    let nines = (count.max(100) as f64).log10().min(MOST_NINES);
    let x = Axis::exact(Scale::Linear, 0.0, nines, area.left, area.right);
    let points: Vec<Vec<(f64, f64)>> =
        picture.curves.iter().map(|curve| points(&curve.latencies, nines)).collect();
    let values = points.iter().flatten().map(|(_, micros)| *micros);
    let y = Axis::around(Scale::Log, values, area.bottom, area.top);

    let mut plot = Plot::new(room, height, area, x, y);
    plot.vertical("latency", "us");
    plot.horizontal("share of requests that were faster", &ticks(nines));
    let mut labels = Vec::new();
    for (number, (curve, points)) in picture.curves.iter().zip(&points).enumerate() {
        let class = format!("s{}", number % 6 + 1);
        let places: Vec<(f64, f64)> =
            points.iter().map(|(nines, micros)| (plot.x.place(*nines), plot.y.place(*micros))).collect();
        if let Some(end) = places.last() {
            plot.svg.dot(&format!("dot {class}"), *end, 3.0);
            labels.push(EndLabel { name: &curve.name, class: class.clone(), y: end.1 });
        }
        plot.svg.polyline(&format!("line {class}"), places);
    }
    plot.thresholds(&picture.thresholds);
    plot.end_labels(labels);
    plot.svg
}

/// Nines and microseconds, up to the nine that the count supports; the last point is the longest.
fn points(latencies: &Latencies, nines: f64) -> Vec<(f64, f64)> {
    if latencies.count() == 0 {
        return Vec::new();
    }
    let own = (latencies.count() as f64).log10().min(nines);
    let mut points: Vec<(f64, f64)> = (0..STEPS)
        .map(|step| f64::from(step) / f64::from(STEPS) * own)
        .map(|nines| (nines, latencies.micros(1.0 - 10f64.powf(-nines))))
        .collect();
    points.push((own, latencies.longest().as_nanos() as f64 / 1e3));
    points
}

fn ticks(nines: f64) -> Vec<(f64, String)> {
    let named = [
        (0.5_f64, "50 %"),
        (0.9, "90 %"),
        (0.99, "99 %"),
        (0.999, "99.9 %"),
        (0.9999, "99.99 %"),
        (0.99999, "99.999 %"),
    ];
    let places = named.map(|(share, text)| (-(1.0 - share).log10(), text.to_owned()));
    places.into_iter().filter(|(place, _)| *place <= nines + 1e-9).collect()
}
