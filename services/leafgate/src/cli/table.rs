//! Aligned columns without borders.

use leafgate_identity::UnixMs;

use super::console::{Colour, Style, plain};
use super::moment::relative;

const GAP: &str = "   ";

/// What stands where there is nothing.
pub(crate) const NONE: &str = "–";

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// One field of a row.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    pub(crate) fn coloured(text: impl Into<String>, colour: Option<Colour>) -> Self {
        let text = plain(&text.into());
        Self { text, colour }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::coloured(text, None)
    }
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self {
            heading: heading.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.heading.len());
        self.rows.push(row);
    }

    /// Leaves out a column in which no row has anything.
    pub(crate) fn without_empty_column(mut self, name: &str) -> Self {
        let found = self.heading.iter().position(|heading| heading == name);
        let Some(column) = found else { return self };
        if self.rows.iter().all(|row| row[column].text == NONE) {
            self.heading.remove(column);
            for row in &mut self.rows {
                row.remove(column);
            }
        }
        self
    }

    /// Lines without trailing blanks.
    pub(crate) fn render(&self, style: Style) -> String {
        let heading: Vec<Cell> = self
            .heading
            .iter()
            .map(|name| Cell::coloured(name.as_str(), Some(Colour::Quiet)))
            .collect();
        let rows = || std::iter::once(&heading).chain(&self.rows);
        let widths: Vec<usize> = (0..heading.len())
            .map(|column| rows().map(|row| row[column].width()).max().unwrap_or(0))
            .collect();
        let lines: Vec<String> = rows().map(|row| line(row, &widths, style)).collect();
        lines.join("\n")
    }
}

fn line(row: &[Cell], widths: &[usize], style: Style) -> String {
    let mut line = String::new();
    let mut owed = 0;
    for (cell, width) in row.iter().zip(widths) {
        if !cell.text.is_empty() {
            line.push_str(&" ".repeat(owed));
            owed = 0;
            match cell.colour {
                Some(colour) => line.push_str(&style.paint(colour, &cell.text)),
                None => line.push_str(&cell.text),
            }
        }
        owed += width - cell.width() + GAP.len();
    }
    line
}

/// One page of a list, with how many there are on it, and how to get the next one.
pub(crate) fn page(table: &Table, noun: &str, next: Option<&str>, style: Style) -> String {
    let mut text = String::new();
    if !table.rows.is_empty() {
        text = table.render(style);
        text.push('\n');
    }
    text.push_str(&count(table.rows.len(), noun));
    if let Some(next) = next {
        text.push_str(&format!("; more follow: --after {next}"));
    }
    text
}

/// When something ends that can be revoked.
pub(crate) fn end_cell(expires_at: UnixMs, revoked_at: Option<UnixMs>, now: UnixMs) -> Cell {
    match revoked_at {
        Some(at) => Cell::coloured(format!("revoked {}", relative(at, now)), Some(Colour::Bad)),
        None => {
            let ended = (expires_at <= now).then_some(Colour::Bad);
            Cell::coloured(relative(expires_at, now), ended)
        }
    }
}

/// `1 device`, `2 devices`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["ID", "STATE", "SITE", "EXPIRES"]);
        let state = Cell::coloured("active", Some(Colour::Good));
        table.push(vec!["0001".into(), state, NONE.into(), "in 6 days".into()]);
        table.push(vec![
            "pump-7".into(),
            "revoked".into(),
            NONE.into(),
            NONE.into(),
        ]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let expected = "\
ID       STATE     SITE   EXPIRES
0001     active    –      in 6 days
pump-7   revoked   –      –";
        assert_eq!(table().render(Style::PLAIN), expected);
    }

    #[test]
    fn colour_does_not_shift_columns() {
        let coloured = table().render(Style::COLOURED);
        let row = coloured.lines().nth(1).unwrap();
        assert_eq!(row, "0001     \x1b[32mactive\x1b[0m    –      in 6 days");
    }

    #[test]
    fn a_column_without_content_can_be_left_out() {
        let text = table().without_empty_column("SITE").render(Style::PLAIN);
        assert!(text.starts_with("ID       STATE     EXPIRES\n"), "{text}");
        let text = table().without_empty_column("STATE").render(Style::PLAIN);
        assert!(text.contains("STATE"), "{text}");
    }

    #[test]
    fn a_page_says_how_to_go_on() {
        let shown = |table: &Table, next| page(table, "device", next, Style::PLAIN);
        assert_eq!(shown(&Table::new(&["ID"]), None), "0 devices");
        let mut table = Table::new(&["ID"]);
        table.push(vec!["0001".into()]);
        assert_eq!(shown(&table, None), "ID\n0001\n1 device");
        assert_eq!(
            shown(&table, Some("x")),
            "ID\n0001\n1 device; more follow: --after x"
        );
    }

    #[test]
    fn an_empty_last_cell_leaves_no_blanks() {
        let mut table = Table::new(&["A", "B"]);
        table.push(vec!["a".into(), "".into()]);
        assert_eq!(table.render(Style::PLAIN), "A   B\na");
    }
}
