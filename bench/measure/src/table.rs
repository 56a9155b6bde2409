//! A table: the same in the terminal, in Markdown and on a page.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, presets};

/// Rows under a header.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    name: String,
    align: Align,
}

/// Text to the left, numbers to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// What a value means for who reads it; shown by a mark and a color on a page. In the terminal the text has to say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Not as it should be.
    Bad,
    /// The one that was chosen.
    Strong,
    /// Beside the point.
    Faint,
}

/// One entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// What that means.
    pub tone: Tone,
}

impl Cell {
    /// With a meaning.
    pub fn new(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::new(text, Tone::Plain)
    }
}

impl Table {
    /// Columns from left to right, without rows yet.
    pub fn new<N: Into<String>>(columns: impl IntoIterator<Item = (N, Align)>) -> Table {
        let columns = columns.into_iter().map(|(name, align)| Column { name: name.into(), align }).collect();
        Table { columns, rows: Vec::new() }
    }

    /// One more row.
    ///
    /// # Panics
    ///
    /// When it has more cells than the table has columns; missing ones are empty.
    pub fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) -> &mut Table {
        let mut row: Vec<Cell> = cells.into_iter().map(Into::into).collect();
        assert!(row.len() <= self.columns.len(), "a row of {} for {} columns", row.len(), self.columns.len());
        row.resize_with(self.columns.len(), Cell::default);
        self.rows.push(row);
        self
    }

    /// Names and alignments.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Align)> {
        self.columns.iter().map(|column| (&*column.name, column.align))
    }

    /// From top to bottom.
    pub fn rows(&self) -> impl Iterator<Item = &[Cell]> {
        self.rows.iter().map(Vec::as_slice)
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For a terminal of some columns: long text breaks inside its cell.
    pub fn fitted(&self, width: u16) -> String {
        let mut table = self.drawn();
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        table.to_string()
    }

    fn drawn(&self) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns.iter().map(|column| &*column.name));
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| &*cell.text));
        }
        for (number, column) in self.columns.iter().enumerate() {
            if let (Align::Right, Some(drawn)) = (column.align, table.column_mut(number)) {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

/// One line a row, however long; legible as Markdown too.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.drawn())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_to_the_left_and_numbers_to_the_right() {
        let mut table = Table::new([("method", Align::Left), ("p99", Align::Right)]);
        table.row(["fdatasync", "1.2 ms"]).row([Cell::new("a longer name", Tone::Strong), "9 us".into()]);
        table.row(["missing"]);
        let expected = "\
| method        |    p99 |
|---------------|--------|
| fdatasync     | 1.2 ms |
| a longer name |   9 us |
| missing       |        |";
        let drawn = table.to_string();
        let drawn: Vec<&str> = drawn.lines().collect();
        assert_eq!(drawn, expected.lines().collect::<Vec<_>>());
    }

    #[test]
    fn a_narrow_terminal_breaks_long_text() {
        let mut table = Table::new([("a", Align::Left), ("b", Align::Left)]);
        table.row(["short", "a long sentence that does not fit beside the other column"]);
        assert!(table.fitted(40).lines().all(|line| line.len() <= 40), "{}", table.fitted(40));
        assert!(table.to_string().lines().any(|line| line.len() > 40));
    }
}
