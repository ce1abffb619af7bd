//! A table of text: columns as wide as their widest cell.

use std::fmt;

/// Rows of cells under a row of headings.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self::of(headings)
    }

    /// The same, of any number of them.
    #[must_use]
    pub fn of<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let row = headings.into_iter().map(str::to_owned).collect();
        Self { rows: vec![row] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.add(cells);
    }

    /// The same, of any number of cells.
    pub fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| console::measure_text_width(cell))
                .max()
                .unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&console::pad_str(
                    cell,
                    *width,
                    console::Alignment::Left,
                    None,
                ));
                line.push_str("  ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["what", "figure"]);
        table.row(["a call".into(), "8 µs".into()]);
        table.row(["b".into(), "1".into()]);
        assert_eq!(
            table.to_string(),
            "what    figure\na call  8 µs\nb       1\n"
        );
    }
}
