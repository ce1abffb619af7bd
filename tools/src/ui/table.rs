//! A table of text: columns as wide as their widest cell. On a terminal that is too narrow for that, cells of several
//! words take several lines.

use std::fmt;

/// What is between two columns.
const GAP: &str = "  ";

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

    /// The columns' widths; no wider in all than `most`, if breaking cells between words is enough for that.
    fn widths(&self, most: usize) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize, of: fn(&str) -> usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| of(cell)).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..columns)
            .map(|column| widest(column, console::measure_text_width))
            .collect();
        let words: Vec<usize> = (0..columns)
            .map(|column| widest(column, longest_word))
            .collect();
        while widths.iter().map(|width| width + GAP.len()).sum::<usize>()
            > most.saturating_add(GAP.len())
        {
            let can_shrink = (0..columns).filter(|&column| widths[column] > words[column]);
            let Some(column) = can_shrink.max_by_key(|&column| widths[column]) else {
                break;
            };
            widths[column] -= 1;
        }
        widths
    }

    /// The table in lines of at most so many columns, if that can be.
    fn fitted(&self, most: usize) -> String {
        let widths = self.widths(most);
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<Vec<String>> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| broken(cell, *width))
                .collect();
            let lines = cells.iter().map(Vec::len).max().unwrap_or(0);
            for number in 0..lines {
                let mut line = String::new();
                for (cell, width) in cells.iter().zip(&widths) {
                    let part = cell.get(number).map_or("", String::as_str);
                    line.push_str(&console::pad_str(
                        part,
                        *width,
                        console::Alignment::Left,
                        None,
                    ));
                    line.push_str(GAP);
                }
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        text
    }
}

fn longest_word(cell: &str) -> usize {
    let words = cell.split(' ').map(console::measure_text_width);
    words.max().unwrap_or(0)
}

/// A cell in lines of this width, broken between words.
fn broken(cell: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in cell.split(' ') {
        let length = console::measure_text_width(word);
        match lines.last_mut() {
            Some(line) if console::measure_text_width(line) + 1 + length <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let screen = console::Term::stdout();
        let columns = screen.size_checked().map(|(_, columns)| columns.into());
        f.write_str(&self.fitted(columns.unwrap_or(usize::MAX)))
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
            table.fitted(80),
            "what    figure\na call  8 µs\nb       1\n"
        );
    }

    #[test]
    fn on_a_narrow_screen_cells_are_broken_between_words_and_never_within() {
        let mut table = Table::new(["fault", "as it is in the documents", "median"]);
        table.row(["panic".into(), "3".into(), "12.5 ms".into()]);
        assert_eq!(
            table.fitted(26),
            "fault  as it is    median\n       in the\n       documents\npanic  3           12.5 ms\n"
        );
        assert_eq!(
            table.fitted(1),
            "fault  as it is   median\n       in the\n       documents\npanic  3          12.5\n                  ms\n"
        );
    }
}
