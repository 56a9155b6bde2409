//! Boxes.

/// Head centered and in capitals, cells to the right.
pub(crate) fn draw(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<_> = head.iter().map(|name| name.to_uppercase().replace('_', " ")).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().map(|row| &row[column]);
            std::iter::once(&head[column]).chain(cells).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let rule = |left: char, middle: char, right: char| {
        let parts: Vec<_> = widths.iter().map(|width| "\u{2500}".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", parts.join(&middle.to_string()))
    };
    let row = |cells: Vec<String>| format!("\u{2502} {} \u{2502}\n", cells.join(" \u{2502} "));
    let mut out = rule('\u{250c}', '\u{252c}', '\u{2510}');
    out += &row(head.iter().zip(&widths).map(|(name, &width)| center(name, width)).collect());
    if !rows.is_empty() {
        out += &rule('\u{251c}', '\u{253c}', '\u{2524}');
        for cells in rows {
            out += &row(cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect());
        }
    }
    out + &rule('\u{2514}', '\u{2534}', '\u{2518}')
}

/// Of an odd remainder the larger half goes to the right.
fn center(text: &str, width: usize) -> String {
    let left = (width - text.chars().count()) / 2;
    format!("{:width$}", " ".repeat(left) + text)
}
