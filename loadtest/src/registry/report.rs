use std::fmt::{self, Display};
use std::path::Path;

use anyhow::Result;
use leafgate_identity::UnixMs;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::StoreName;
use crate::figures::rounded;
use crate::machine::Machine;
use crate::record::{MarkdownTable, day, markdown_row};
use crate::table::write_table;

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// Nothing is said of it.
    None,
    AtMost(f64),
    AtLeast(f64),
    /// This many times what stands beside it.
    AtMostOf(f64),
    AtLeastOf(f64),
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryRow {
    /// The store that it was measured on, if one had to do with it.
    pub store: Option<StoreName>,
    /// What was measured, with its unit.
    pub what: String,
    /// The figure.
    pub leafgate: f64,
    /// What it is compared with, and its figure.
    pub beside: Option<(String, f64)>,
    pub(crate) digits: i32,
    pub(crate) goal: Goal,
}

impl RegistryRow {
    /// The figure over that which it is compared with.
    pub fn ratio(&self) -> Option<f64> {
        self.beside
            .as_ref()
            .map(|(_, beside)| self.leafgate / beside)
    }

    /// Whether the figure is what it should be; `None` where nothing is said of it.
    pub fn is_reached(&self) -> Option<bool> {
        match self.goal {
            Goal::None => None,
            Goal::AtMost(most) => Some(self.leafgate <= most),
            Goal::AtLeast(least) => Some(self.leafgate >= least),
            Goal::AtMostOf(most) => Some(self.ratio()? <= most),
            Goal::AtLeastOf(least) => Some(self.ratio()? >= least),
        }
    }

    fn cells(&self) -> [String; 7] {
        let number = |figure| rounded(figure, self.digits).to_string();
        let nothing = || "–".to_owned();
        let (beside, figure) = self.beside.clone().unzip();
        let goal = match self.goal {
            Goal::None => nothing(),
            Goal::AtMost(most) => format!("≤ {most}"),
            Goal::AtLeast(least) => format!("≥ {least}"),
            Goal::AtMostOf(most) => format!("ratio ≤ {most}"),
            Goal::AtLeastOf(least) => format!("ratio ≥ {least}"),
        };
        let missed = if self.is_reached() == Some(false) {
            ", missed"
        } else {
            ""
        };
        [
            self.what.clone(),
            self.store.map_or_else(nothing, |store| store.to_string()),
            number(self.leafgate),
            figure.map_or_else(nothing, number),
            beside.unwrap_or_else(nothing),
            self.ratio()
                .map_or_else(nothing, |ratio| format!("{ratio:.2}")),
            format!("{goal}{missed}"),
        ]
    }
}

/// A line of progress.
impl Display for RegistryRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [what, store, figure, beside_figure, beside, ratio, goal] = self.cells();
        write!(
            f,
            "{store}: {what}: {figure}; {beside}: {beside_figure}; ratio {ratio}; goal {goal}"
        )
    }
}

impl Serialize for RegistryRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (beside, figure) = self.beside.clone().unzip();
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("store", &self.store.map(|store| store.to_string()))?;
        fields.serialize_entry("what", &self.what)?;
        fields.serialize_entry("leafgate", &rounded(self.leafgate, self.digits))?;
        fields.serialize_entry("beside", &beside)?;
        fields.serialize_entry("beside_figure", &figure.map(|it| rounded(it, self.digits)))?;
        fields.serialize_entry("ratio", &self.ratio().map(|ratio| rounded(ratio, 3)))?;
        fields.serialize_entry("goal_reached", &self.is_reached())?;
        fields.end()
    }
}

impl Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        })
    }
}

/// All that was measured in one go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegistryReport {
    /// When it ended.
    pub at: UnixMs,
    /// How many processes wanted a core before it began, on average over a minute.
    pub load_average: f64,
    /// Where.
    pub machine: Machine,
    /// The stores with their versions.
    pub stores: String,
    /// Devices in the registry.
    pub devices: usize,
    /// Runs of which look-ups and lists give the median.
    pub runs: usize,
    /// The figures.
    pub rows: Vec<RegistryRow>,
}

pub(crate) const TABLE: MarkdownTable = MarkdownTable {
    header: "| date | what | store | leafgate | beside | of | ratio | goal | devices | load before | machine | stores |",
    rule: "|---|---|---|---:|---:|---|---:|---|---:|---:|---|---|",
};

impl RegistryReport {
    /// Adds the rows to the table in a Markdown document.
    pub(crate) fn record(&self, path: &Path) -> Result<()> {
        TABLE.add(path, self.lines())
    }

    fn lines(&self) -> Vec<String> {
        let line = |row: &RegistryRow| {
            let mut cells = vec![day(self.at)];
            cells.extend(row.cells());
            cells.extend([
                self.devices.to_string(),
                self.load_average.to_string(),
                self.machine.to_string(),
                self.stores.clone(),
            ]);
            markdown_row(&cells)
        };
        self.rows.iter().map(line).collect()
    }
}

const HEADINGS: [&str; 7] = ["WHAT", "STORE", "LEAFGATE", "BESIDE", "OF", "RATIO", "GOAL"];

/// The table for people.
impl Display for RegistryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            devices,
            machine,
            stores,
            load_average,
            runs,
            ..
        } = self;
        writeln!(
            f,
            "a registry of {devices} devices on {machine} (load before: {load_average}), {stores}\n"
        )?;
        let cells: Vec<_> = self.rows.iter().map(RegistryRow::cells).collect();
        write_table(f, HEADINGS, &cells)?;
        write!(
            f,
            "\n\nlook-ups and lists: medians of {runs} alternating runs"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(leafgate: f64, beside: Option<f64>, goal: Goal) -> RegistryRow {
        RegistryRow {
            store: Some(StoreName::Sqlite),
            what: "something, µs".into(),
            leafgate,
            beside: beside.map(|figure| ("another".into(), figure)),
            digits: 1,
            goal,
        }
    }

    #[test]
    fn a_goal_is_about_the_figure_or_the_ratio() {
        for (leafgate, beside, goal, expected) in [
            (5.0, Some(10.0), Goal::AtLeastOf(0.5), Some(true)),
            (4.9, Some(10.0), Goal::AtLeastOf(0.5), Some(false)),
            (20.0, Some(10.0), Goal::AtMostOf(2.0), Some(true)),
            (20.1, Some(10.0), Goal::AtMostOf(2.0), Some(false)),
            (100.0, None, Goal::AtMost(100.0), Some(true)),
            (100.1, None, Goal::AtMost(100.0), Some(false)),
            (9.0, None, Goal::AtLeast(10.0), Some(false)),
            (9.0, None, Goal::None, None),
        ] {
            assert_eq!(
                row(leafgate, beside, goal).is_reached(),
                expected,
                "{leafgate} {goal:?}"
            );
        }
    }

    #[test]
    fn a_row_has_as_many_cells_as_the_header_and_says_what_was_missed() {
        let report = RegistryReport {
            at: UnixMs::new(0),
            load_average: 0.5,
            machine: Machine {
                cores: 2,
                processor: "some processor".into(),
            },
            stores: "SQLite 3".into(),
            devices: 1_000,
            runs: 5,
            rows: vec![row(25.04, Some(10.0), Goal::AtMostOf(2.0))],
        };
        let columns = |line: &str| line.matches('|').count();
        let lines = report.lines();
        assert_eq!(columns(TABLE.header), columns(TABLE.rule));
        assert_eq!(columns(TABLE.header), columns(&lines[0]));
        assert!(
            lines[0].starts_with("| 1970-01-01 | something, µs | SQLite | 25 | 10 | another | 2.50 | ratio ≤ 2, missed |"),
            "{lines:?}"
        );
    }
}
