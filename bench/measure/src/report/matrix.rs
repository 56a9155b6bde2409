//! The matrix: a table whose cells are colored by value, so that it can be read, copied and heard.

use std::fmt::Write as _;

use super::figure::{Better, Matrix, MatrixCell, value_text};
use super::html::{escaped, typeset};

/// Colors, from weak to strong.
const LEVELS: f64 = 6.0;

pub(super) fn drawn(matrix: &Matrix, title: &str) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"matrix\" aria-label=\"{}\">\n<thead><tr><th scope=\"col\">{}</th>",
        escaped(title),
        escaped(&matrix.corner)
    );
    for column in &matrix.columns {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(column));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let bounds: Vec<(f64, f64)> = (0..matrix.columns.len()).map(|column| bounds(matrix, column)).collect();
    let mut group = "";
    for row in &matrix.rows {
        if row.group != group {
            group = &row.group;
            let span = matrix.columns.len() + 1;
            let _ = writeln!(
                out,
                "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{span}\"><span>{}</span></th></tr>",
                escaped(group)
            );
        }
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escaped(&row.name));
        for (column, bounds) in bounds.iter().enumerate() {
            match row.cells.get(column).and_then(Option::as_ref) {
                Some(cell) => out.push_str(&filled(cell, level(cell.value, *bounds, matrix.better), matrix)),
                None => out.push_str("<td class=\"none\">&ndash;</td>"),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    let _ = writeln!(
        out,
        "<p class=\"key\">{}; stronger color is better within its column, &#9733; marks the best.</p>",
        if matrix.unit == "us" { "latency".to_owned() } else { escaped(&matrix.unit) }
    );
    out
}

fn filled(cell: &MatrixCell, level: usize, matrix: &Matrix) -> String {
    let win = if cell.winner { " win" } else { "" };
    let star = if cell.winner { "<span role=\"img\" aria-label=\"best\">&#9733;</span> " } else { "" };
    let text = typeset(&value_text(cell.value, matrix.cell_unit()));
    let note = match &*cell.note {
        "" => String::new(),
        note => format!("<small>{}</small>", typeset(note)),
    };
    format!("<td class=\"c{level}{win}\">{star}{text}{note}</td>")
}

/// Least and most of a column.
fn bounds(matrix: &Matrix, column: usize) -> (f64, f64) {
    let values = matrix.rows.iter().filter_map(|row| row.cells.get(column)?.as_ref()).map(|cell| cell.value);
    values
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0), |(low, high), value| (low.min(value), high.max(value)))
}

/// By ratio, as rates and latencies are compared; 1 is the worst, 6 the best. Columns without differences are all best.
fn level(value: f64, (low, high): (f64, f64), better: Better) -> usize {
    if !(value > 0.0 && high > low) {
        return if value > 0.0 { LEVELS as usize } else { 1 };
    }
    let share = (value / low).ln() / (high / low).ln();
    let share = if better == Better::Higher { share } else { 1.0 - share };
    // Less than a third apart is no difference to paint in black and white.
    let spread = ((high / low).ln() / 1.3_f64.ln()).min(1.0);
    (LEVELS - (1.0 - share) * spread * (LEVELS - 1.0)).round() as usize
}

#[cfg(test)]
mod tests {
    use super::super::figure::MatrixRow;
    use super::*;

    fn matrix(better: Better) -> Matrix {
        let cell = |value, winner| Some(MatrixCell { value, winner, note: "+-3 %".to_owned() });
        let row = |name: &str, cells| MatrixRow { name: name.to_owned(), group: "written".to_owned(), cells };
        Matrix {
            corner: "method".to_owned(),
            columns: vec!["512 B".to_owned(), "4 KiB".to_owned()],
            rows: vec![
                row("a<b", vec![cell(100.0, false), None]),
                row("c", vec![cell(1000.0, true), cell(5.0, true)]),
            ],
            unit: "writes/s".to_owned(),
            better,
        }
    }

    #[test]
    fn the_best_is_strong_and_marked() {
        let html = drawn(&matrix(Better::Higher), "t");
        assert!(html.contains("<td class=\"c1\">100<small>&plusmn;3&nbsp;%</small>"), "{html}");
        assert!(html.contains("<td class=\"c6 win\">"), "{html}");
        assert!(html.contains("a&lt;b") && html.contains("<td class=\"none\">"), "{html}");
        assert_eq!(html.matches("class=\"group\"").count(), 1);
        assert!(drawn(&matrix(Better::Lower), "t").contains("<td class=\"c6\">100"));
    }

    #[test]
    fn small_differences_are_small() {
        assert_eq!(level(95.0, (95.0, 100.0), Better::Higher), 5);
        assert_eq!(level(50.0, (50.0, 100.0), Better::Higher), 1);
        assert_eq!(level(100.0, (100.0, 100.0), Better::Higher), 6);
    }
}
