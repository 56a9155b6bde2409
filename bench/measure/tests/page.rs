//! A page's structure: what readers, links and scripts may rely on, whatever the style becomes.

use std::time::Duration;

use measure::report::{
    Bars, Block, Curve, Fact, Figure, HeatMap, Knee, Lines, Matrix, Page, Percentiles, Picture, Section,
    Verdict,
};
use measure::{Align, Latencies, Table, Timeline, Tone};

fn pictures() -> Vec<(&'static str, Picture)> {
    let mut timeline = Timeline::new();
    let mut latencies = Latencies::new();
    for number in 1..500_u64 {
        timeline.record_at(Duration::from_millis(number * 20), Duration::from_micros(number));
        latencies.record(Duration::from_micros(number));
    }
    let curve = Curve { name: "one".to_owned(), latencies };
    vec![
        ("percentiles", Percentiles { curves: vec![curve], ..Percentiles::default() }.into()),
        ("heat map", HeatMap { timeline, ..HeatMap::default() }.into()),
        // Nothing was measured: an empty frame, and no panic.
        ("no percentiles", Percentiles::default().into()),
        ("no heat map", HeatMap::default().into()),
        ("no knee", Knee::default().into()),
        ("no matrix", Matrix::default().into()),
        ("no bars", Bars::default().into()),
        ("no lines", Lines::default().into()),
    ]
}

fn page() -> Page {
    let mut table = Table::new([("for", Align::Left), ("found", Align::Right)]);
    table.row(["5,000 nodes", "2.4 ms"]);
    let mut pictured = Section::new("pictures", "Pictures");
    for (title, picture) in pictures() {
        pictured = pictured.with(Figure::new(title, picture));
    }
    Page {
        title: "A disk".to_owned(),
        subtitle: "measured".to_owned(),
        verdict: Some(Verdict { tone: Tone::Bad, headline: "Unfit".to_owned(), ..Verdict::default() }),
        facts: vec![Fact::new("device", "vda").why("because")],
        sections: vec![
            Section::new("first", "First").with("a paragraph").with(table),
            Section::new("second", "Second").with(Block::Note(Tone::Warn, "look".to_owned())),
            pictured,
        ],
        footer: "made by hand".to_owned(),
    }
}

/// The tags that carry structure, without those inside pictures.
fn outline(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut pictured = false;
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        match tag.split(' ').next().unwrap_or_default() {
            "svg" => pictured = true,
            "/svg" => pictured = false,
            "main" | "header" | "nav" | "section" | "figure" | "footer" | "h1" | "h2" if !pictured => {
                found.push(tag.to_owned());
            }
            _ => {}
        }
    }
    found
}

#[test]
fn the_outline_is_as_links_know_it() {
    let mut expected = [
        "main",
        "header",
        "h1",
        "section class=\"verdict bad\" id=\"answer\"",
        "nav aria-label=\"Contents\"",
        "section id=\"first\"",
        "h2",
        "section id=\"second\"",
        "h2",
        "section id=\"pictures\"",
        "h2",
    ]
    .map(str::to_owned)
    .to_vec();
    expected.extend((1..=pictures().len()).map(|number| format!("figure id=\"figure-{number}\"")));
    expected.push("footer".to_owned());
    assert_eq!(outline(&page().html()), expected);
}

#[test]
fn it_is_one_file_without_scripts() {
    let html = page().html();
    assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"));
    for foreign in ["<script", "http:", "https:", "url(", "@import", "src=", "onload"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    assert!(html.contains("prefers-color-scheme: dark") && html.contains("@media print"));
}

#[test]
fn every_picture_is_drawn_for_desk_and_phone_and_described() {
    let html = page().html();
    // All but the matrix, which is a table.
    let drawn = pictures().len() - 1;
    assert_eq!(html.matches("<svg class=\"wide\"").count(), drawn);
    assert_eq!(html.matches("<svg class=\"narrow\"").count(), drawn);
    assert_eq!(html.matches("<details>").count(), drawn);
    assert_eq!(html.matches("<desc id=").count(), 2 * drawn);
    assert!(!html.contains("NaN") && !html.contains("inf\""), "places are numbers");
}

#[test]
fn every_tag_is_closed() {
    let html = page().html();
    let mut open = Vec::new();
    for tag in html.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        let empty = tag.ends_with('/') || ["!doctype", "meta", "link"].contains(&name);
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "in {tag}"),
            None if !empty => open.push(name),
            None => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
