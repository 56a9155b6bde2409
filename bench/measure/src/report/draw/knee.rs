//! Throughput against latency: where more load buys only waiting.

use super::super::figure::{Knee, KneeSeries, Load, Scale};
use super::Room;
use super::axis::Axis;
use super::plot::{Area, EndLabel, Plot};
use super::svg::{Anchor, Svg, width_of};
use crate::units;

/// Throughputs that differ by more than this are drawn logarithmically: else the light loads would share a place.
const LINEAR: f64 = 20.0;

pub(super) fn draw(picture: &Knee, room: Room) -> Svg {
    let height = if room == Room::Wide { 360.0 } else { 330.0 };
    let curves = curves(picture);
    let names: Vec<&str> = curves.iter().map(|curve| curve.name).collect();
    let area = Area::new(room, height, &names, 1);

    let rates = || picture.series.iter().flat_map(|series| series.loads.iter().map(|load| load.per_second));
    let (least, most) =
        rates().fold((f64::INFINITY, 0.0_f64), |(low, high), rate| (low.min(rate), high.max(rate)));
    let scale = if least > 0.0 && most > least * LINEAR { Scale::Log } else { Scale::Linear };
    let x = Axis::around(scale, rates(), area.left, area.right).rounded(6);
    let values = curves.iter().flat_map(|curve| curve.series.loads.iter().map(|load| (curve.value)(load)));
    let y = Axis::around(Scale::Log, values, area.bottom, area.top);

    let mut plot = Plot::new(room, height, area, x, y);
    plot.vertical("latency", "us");
    plot.horizontal_numbers(&picture.unit);
    let mut labels = Vec::new();
    for curve in &curves {
        let place = |load: &Load| (plot.x.place(load.per_second), plot.y.place((curve.value)(load)));
        let places: Vec<(f64, f64)> = curve.series.loads.iter().map(place).collect();
        plot.svg.polyline(&format!("line {}", curve.class), places.iter().copied());
        for at in &places {
            plot.svg.dot(&format!("dot {}", curve.class), *at, 2.5);
        }
        if let Some(end) = places.last() {
            labels.push(EndLabel { name: curve.name, class: curve.class.clone(), y: end.1 });
        }
    }
    for series in &picture.series {
        knee(&mut plot, series, &picture.unit, picture.series.len());
    }
    if let [series] = &*picture.series {
        load_names(&mut plot, series);
    }
    plot.thresholds(&picture.thresholds);
    plot.end_labels(labels);
    plot.svg
}

struct Drawn<'a> {
    name: &'a str,
    class: String,
    series: &'a KneeSeries,
    value: fn(&Load) -> f64,
}

/// One series shows how its percentiles part; several show their p99.
fn curves<'a>(picture: &'a Knee) -> Vec<Drawn<'a>> {
    if let [series] = &*picture.series {
        let percentile = |name, class: &str, value| Drawn { name, class: class.to_owned(), series, value };
        return vec![
            percentile("p50", "s1", |load| load.latency.p50_us),
            percentile("p99", "s2", |load| load.latency.p99_us),
            percentile("p99.9", "s4", |load| load.latency.p999_us),
        ];
    }
    let drawn = |(number, series): (usize, &'a KneeSeries)| Drawn {
        name: &series.name,
        class: format!("s{}", number % 6 + 1),
        series,
        value: |load| load.latency.p99_us,
    };
    picture.series.iter().enumerate().map(drawn).collect()
}

/// A ring around it; for a single series also a line and words.
fn knee(plot: &mut Plot, series: &KneeSeries, unit: &str, of: usize) {
    let Some(load) = series.knee.and_then(|knee| series.loads.get(knee)) else { return };
    let at = (plot.x.place(load.per_second), plot.y.place(load.latency.p99_us));
    plot.svg.dot("ring", at, 7.0);
    if of > 1 {
        return;
    }
    let (top, bottom) = (plot.area.top, plot.area.bottom);
    plot.svg.line("knee", (at.0, top - 8.0), (at.0, bottom));
    let text = format!(
        "knee: {} {unit}, p99 {}",
        units::rounded(load.per_second),
        units::micros(load.latency.p99_us)
    );
    // To the side that has room.
    let anchor = if at.0 - plot.area.left > width_of(&text) + 8.0 { Anchor::End } else { Anchor::Start };
    let x = if anchor == Anchor::End { at.0 - 5.0 } else { at.0 + 5.0 };
    plot.svg.text("knee-name halo", (x, top - 4.0), anchor, &text);
}

/// Which load each point of the median is, where there is room under it.
fn load_names(plot: &mut Plot, series: &KneeSeries) {
    let mut free = f64::NEG_INFINITY;
    for load in &series.loads {
        let at = (plot.x.place(load.per_second), plot.y.place(load.latency.p50_us));
        let half = width_of(&load.label) / 2.0;
        let below = at.1 + 17.0;
        if at.0 - half < free.max(plot.area.left)
            || at.0 + half > plot.area.right
            || below > plot.area.bottom - 3.0
        {
            continue;
        }
        free = at.0 + half + 6.0;
        plot.svg.text("point-name halo", (at.0, below), Anchor::Middle, &load.label);
    }
}
