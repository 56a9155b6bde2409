//! The recipes in the terminal and on a page.

use measure::report::Section;
use measure::units::{micros, rounded};
use measure::{Align, Cell, Table, Tone};

use crate::disk::document::Document;
use crate::disk::terminal::wrapped;

fn rows(document: &Document) -> Option<Table> {
    let recipes = document.recipes.as_ref()?;
    let heads = [
        ("recipe", Align::Left),
        ("syncs", Align::Right),
        ("p50", Align::Right),
        ("p99", Align::Right),
        ("p99.9", Align::Right),
        ("longest", Align::Right),
        ("bound", Align::Right),
        ("says", Align::Left),
    ];
    let mut table = Table::new(heads);
    for row in &recipes.rows {
        let (says, tone) = if row.passes() { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
        let time = |share| Cell::from(micros(row.sync.micros(share)));
        table.row([
            Cell::from(row.name.clone()),
            Cell::from(row.sync.count().to_string()),
            time(0.5),
            time(0.99),
            time(0.999),
            time(1.0),
            Cell::from(micros(row.bound_us)),
            Cell::new(says, tone),
        ]);
    }
    Some(table)
}

pub(super) fn table(document: &Document) -> String {
    let (Some(recipes), Some(table)) = (&document.recipes, rows(document)) else { return String::new() };
    let mut out = format!("Known recipes (one writer, write + fdatasync; times of the fdatasync)\n{table}\n");
    for row in &recipes.rows {
        let end = if row.complete { "" } else { ", cut off before its end" };
        let rate = rounded(row.writes_per_second());
        let text = format!("{}: {}; {rate} writes/s{end}", row.name, row.by);
        wrapped(&text, 80).iter().for_each(|line| out += &format!("{line}\n"));
    }
    out
}

pub(crate) fn section(document: &Document) -> Option<Section> {
    let recipes = document.recipes.as_ref()?;
    let passed = recipes.rows.iter().filter(|row| row.passes()).count();
    let title = match (passed, recipes.rows.len()) {
        (passed, all) if passed == all => "The known recipes say yes".to_owned(),
        (0, _) => "The known recipes say no".to_owned(),
        (passed, all) => format!("{passed} of {all} known recipes say yes"),
    };
    let text = "What fio does with these recipes: one writer, each write followed by one fdatasync, whose time is shown. \
                They say nothing about several writers, disturbance, or the minutes after.";
    let mut section = Section::new("recipes", title).with(text).with(rows(document)?);
    for row in &recipes.rows {
        let end = if row.complete { "" } else { ", cut off before its end" };
        section = section.with(format!("{}: {}{end}.", row.name, row.by));
    }
    Some(section)
}
