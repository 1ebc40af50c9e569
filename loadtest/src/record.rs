use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use leafgate_identity::UnixMs;

use crate::report::{Figures, Report, Row};

/// What the table in the document begins with. A document without it gets one at its end.
const HEADER: &str = "| date | load | xkey | CPU µs per decision | peer | ratio | decisions/s | peer | p50 ms | p99 ms | RSS MiB | machine | nats-server | devices |";
const RULE: &str = "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---|---:|";

/// A table in a Markdown document, to which rows are added.
pub struct MarkdownTable {
    /// Its first line, by which it is found.
    pub(crate) header: &'static str,
    /// Its second line.
    pub(crate) rule: &'static str,
}

const DECISIONS: MarkdownTable = MarkdownTable {
    header: HEADER,
    rule: RULE,
};

/// What came of faults at full scale.
pub const FAULTS: MarkdownTable = MarkdownTable {
    header: "| date | what | times | came of it | load after | machine |",
    rule: "|---|---|---:|---|---:|---|",
};

/// Adds a row for each measurement to the table in a Markdown document, which is made if it does
/// not exist.
pub(crate) fn record(report: &Report, path: &Path) -> Result<()> {
    DECISIONS.add(path, lines(report))
}

impl MarkdownTable {
    /// Adds rows to the table in a document. Who has no such document or table gets one.
    ///
    /// # Errors
    /// The document can't be read or written.
    pub fn add(&self, path: &Path, rows: Vec<String>) -> Result<()> {
        let document = match fs::read_to_string(path) {
            Ok(document) => document,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("can't read {}", path.display()));
            }
        };
        fs::write(path, self.with_rows(&document, rows))
            .with_context(|| format!("can't write {}", path.display()))
    }

    fn with_rows(&self, document: &str, rows: Vec<String>) -> String {
        let mut lines: Vec<String> = document.lines().map(str::to_owned).collect();
        let header = lines.iter().position(|line| line == self.header);
        let header = header.unwrap_or_else(|| {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.extend([self.header.to_owned(), self.rule.to_owned()]);
            lines.len() - 2
        });
        let end = lines[header..]
            .iter()
            .position(|line| !line.starts_with('|'))
            .map_or(lines.len(), |length| header + length);
        lines.splice(end..end, rows);
        lines.join("\n") + "\n"
    }
}

/// A row of a Markdown table.
pub fn markdown_row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// The day of a moment, as rows begin with it.
pub fn day(at: UnixMs) -> String {
    let at = at.to_string();
    let (day, _) = at.split_once('T').unwrap_or((&at, ""));
    day.to_owned()
}

fn lines(report: &Report) -> Vec<String> {
    report.rows.iter().map(|row| line(report, row)).collect()
}

fn line(report: &Report, row: &Row) -> String {
    let cell = |figures: Option<Figures>, figure: fn(&Figures) -> f64, digits: usize| {
        figures.map_or_else(String::new, |figures| {
            format!("{:.digits$}", figure(&figures))
        })
    };
    let (leafgate, peer) = (row.leafgate, row.peer);
    let cells = [
        day(report.at),
        row.load.clone(),
        if row.xkey { "yes" } else { "no" }.to_owned(),
        cell(leafgate, |it| it.cpu_us_per_decision, 1),
        cell(peer, |it| it.cpu_us_per_decision, 1),
        row.ratio()
            .map_or_else(String::new, |ratio| format!("{ratio:.3}")),
        cell(leafgate, |it| it.decisions_per_s, 0),
        cell(peer, |it| it.decisions_per_s, 0),
        cell(leafgate, |it| it.p50_ms, 2),
        cell(leafgate, |it| it.p99_ms, 2),
        cell(leafgate, |it| it.rss_mib, 1),
        report.machine.to_string(),
        report.nats_server.clone(),
        report.devices.to_string(),
    ];
    markdown_row(&cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn the_page_on_performance_has_every_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let page = fs::read_to_string(root.join("docs/performance.md")).unwrap();
        for table in [
            &DECISIONS,
            &crate::issue::TABLE,
            &crate::registry::TABLE,
            &FAULTS,
        ] {
            let lines = format!("{}\n{}\n", table.header, table.rule);
            assert!(page.contains(&lines), "{lines}");
        }
    }

    const ROWS: &str = "\
| 1970-01-01 | 64 in flight | no | 50.0 | 200.0 | 0.250 | 8000 | 8000 | 7.50 | 12.00 | 31.2 | 2 cores, some processor | 2.15.1 | 100000 |
| 1970-01-01 | 2000/s | yes | 50.0 | 200.0 | 0.250 | 8000 | 8000 | 7.50 | 12.00 | 31.2 | 2 cores, some processor | 2.15.1 | 100000 |";

    #[test]
    fn rows_go_to_the_end_of_the_table_and_nothing_else_changes() {
        let before = format!("# Performance\n\n{HEADER}\n{RULE}\n| old |\n\nHow it is measured.\n");
        let after = DECISIONS.with_rows(&before, lines(&sample()));
        let expected =
            format!("# Performance\n\n{HEADER}\n{RULE}\n| old |\n{ROWS}\n\nHow it is measured.\n");
        assert_eq!(after, expected);
    }

    #[test]
    fn a_document_without_the_table_gets_one() {
        let table = format!("{HEADER}\n{RULE}\n{ROWS}\n");
        assert_eq!(DECISIONS.with_rows("", lines(&sample())), table);
        assert_eq!(
            DECISIONS.with_rows("# Performance\n", lines(&sample())),
            format!("# Performance\n\n{table}")
        );
    }

    #[test]
    fn every_row_has_as_many_cells_as_the_header() {
        let columns = |line: &str| line.matches('|').count();
        assert_eq!(columns(HEADER), columns(RULE));
        assert_eq!(
            columns(HEADER),
            columns(&line(&sample(), &sample().rows[0]))
        );
    }
}
