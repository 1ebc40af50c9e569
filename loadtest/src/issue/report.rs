use std::fmt::{self, Display};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use leafgate_identity::UnixMs;
use serde::Serialize;

use crate::figures::{median, rounded};
use crate::machine::Machine;
use crate::record::{MarkdownTable, day, markdown_row};
use crate::table::write_table;

/// What one service did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct IssueFigures {
    /// Certificates per second of CPU time of the service process, user and kernel.
    pub per_cpu_s: f64,
    /// Certificates per second.
    pub per_s: f64,
    /// CPU time of the service process, in microseconds for a certificate.
    pub cpu_us: f64,
    /// CPU time of all processes of PostgreSQL, in microseconds for a certificate.
    pub database_cpu_us: f64,
    /// CPU time of the load generator, in microseconds for a certificate.
    pub generator_cpu_us: f64,
    /// Median latency, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of latency, in milliseconds.
    pub p99_ms: f64,
    /// Resident memory of the service process, in MiB.
    pub rss_mib: f64,
}

impl IssueFigures {
    /// `used` is the CPU time of the service, the database and the load generator.
    pub(super) fn new(
        certificates: usize,
        elapsed: Duration,
        used: [Duration; 3],
        latencies_us: &Histogram<u64>,
        resident_bytes: u64,
    ) -> Self {
        let certificates = certificates as f64;
        let latency_ms = |quantile| latencies_us.value_at_quantile(quantile) as f64 / 1e3;
        let [cpu_us, database_cpu_us, generator_cpu_us] =
            used.map(|used| used.as_secs_f64() * 1e6 / certificates);
        Self {
            per_cpu_s: 1e6 / cpu_us,
            per_s: certificates / elapsed.as_secs_f64(),
            cpu_us,
            database_cpu_us,
            generator_cpu_us,
            p50_ms: latency_ms(0.5),
            p99_ms: latency_ms(0.99),
            rss_mib: resident_bytes as f64 / f64::from(1 << 20),
        }
    }

    /// The median of each figure for itself; `None` without any measurement.
    pub(super) fn median(runs: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| median(runs.iter().map(figure));
        Some(Self {
            per_cpu_s: of(|run| run.per_cpu_s)?,
            per_s: of(|run| run.per_s)?,
            cpu_us: of(|run| run.cpu_us)?,
            database_cpu_us: of(|run| run.database_cpu_us)?,
            generator_cpu_us: of(|run| run.generator_cpu_us)?,
            p50_ms: of(|run| run.p50_ms)?,
            p99_ms: of(|run| run.p99_ms)?,
            rss_mib: of(|run| run.rss_mib)?,
        })
    }
}

/// Both services under one load, medians of all runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IssueRow {
    /// How many connections asked at a time.
    pub connections: usize,
    /// Measurements behind each median.
    pub runs: usize,
    /// Certificates of each measurement.
    pub requests: usize,
    /// leafgate-registry, if it took part.
    pub leafgate: Option<IssueFigures>,
    /// Vault, if it took part.
    pub vault: Option<IssueFigures>,
}

impl IssueRow {
    /// leafgate's certificates per CPU second over Vault's.
    pub fn ratio(&self) -> Option<f64> {
        let (leafgate, vault) = self.leafgate.zip(self.vault)?;
        Some(leafgate.per_cpu_s / vault.per_cpu_s)
    }

    fn cells(&self) -> [String; 12] {
        let cell = |figures: Option<IssueFigures>, figure: fn(&IssueFigures) -> f64, digits| {
            let format = |figures| format!("{:.digits$}", figure(&figures));
            figures.map_or_else(|| "–".to_owned(), format)
        };
        let (leafgate, vault): (_, _) = (self.leafgate, self.vault);
        [
            self.connections.to_string(),
            cell(leafgate, |it| it.per_cpu_s, 0),
            cell(vault, |it| it.per_cpu_s, 0),
            self.ratio()
                .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
            cell(leafgate, |it| it.per_s, 0),
            cell(vault, |it| it.per_s, 0),
            cell(leafgate, |it| it.database_cpu_us, 0),
            cell(leafgate, |it| it.generator_cpu_us, 0),
            cell(leafgate, |it| it.p50_ms, 1),
            cell(leafgate, |it| it.p99_ms, 1),
            cell(vault, |it| it.p99_ms, 1),
            cell(leafgate, |it| it.rss_mib, 0),
        ]
    }
}

/// All that was measured in one go. The first row is the one to judge by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IssueReport {
    /// When it ended.
    pub at: UnixMs,
    /// How many processes wanted a core before it began, on average over a minute.
    pub load_average: f64,
    /// The version of PostgreSQL.
    pub postgres: String,
    /// The version of Vault.
    pub vault: String,
    /// Where.
    pub machine: Machine,
    /// One for each load.
    pub rows: Vec<IssueRow>,
}

pub(crate) const TABLE: MarkdownTable = MarkdownTable {
    header: "| date | connections | certificates per CPU s | Vault | ratio | certificates/s | Vault | PostgreSQL CPU µs | load generator CPU µs | p50 ms | p99 ms | Vault p99 ms | RSS MiB | load before | machine | PostgreSQL | Vault |",
    rule: "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---|---|",
};

impl IssueReport {
    /// Adds the rows to the table in a Markdown document.
    pub(crate) fn record(&self, path: &Path) -> Result<()> {
        TABLE.add(path, self.lines())
    }

    fn lines(&self) -> Vec<String> {
        let line = |row: &IssueRow| {
            let mut cells = vec![day(self.at)];
            cells.extend(row.cells());
            cells.extend([
                self.load_average.to_string(),
                self.machine.to_string(),
                self.postgres.clone(),
                self.vault.clone(),
            ]);
            markdown_row(&cells)
        };
        self.rows.iter().map(line).collect()
    }
}

const HEADINGS: [&str; 12] = [
    "CONNECTIONS",
    "PER CPU s",
    "VAULT",
    "RATIO",
    "PER s",
    "VAULT",
    "POSTGRES µs",
    "LOAD µs",
    "P50 ms",
    "P99 ms",
    "VAULT P99",
    "RSS MiB",
];

/// The table for people.
impl Display for IssueReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            machine,
            postgres,
            vault,
            load_average,
            ..
        } = self;
        writeln!(
            f,
            "certificates on {machine} (load before: {load_average}), PostgreSQL {postgres} beside Vault {vault} on files\n"
        )?;
        let cells: Vec<_> = self.rows.iter().map(IssueRow::cells).collect();
        write_table(f, HEADINGS, &cells)?;
        for row in &self.rows {
            let Some(figures) = row.leafgate else {
                continue;
            };
            let IssueFigures {
                cpu_us,
                database_cpu_us,
                generator_cpu_us,
                per_s,
                ..
            } = figures;
            let busy = (cpu_us + database_cpu_us + generator_cpu_us) * per_s / 1e6;
            write!(
                f,
                "\n\n{} connections: a core of PostgreSQL carries {:.0} certificates/s, a core of leafgate-registry {:.0}; \
                 registry, database and load together kept {} cores busy",
                row.connections,
                1e6 / database_cpu_us,
                figures.per_cpu_s,
                rounded(busy, 2),
            )?;
        }
        let (runs, requests) = self
            .rows
            .first()
            .map_or((0, 0), |row| (row.runs, row.requests));
        write!(
            f,
            "\n\nmedians of {runs} alternating runs of {requests} certificates; CPU is that of the service process"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(per_cpu_s: f64) -> IssueFigures {
        IssueFigures {
            per_cpu_s,
            per_s: 1_500.4,
            cpu_us: 1e6 / per_cpu_s,
            database_cpu_us: 400.0,
            generator_cpu_us: 100.0,
            p50_ms: 7.5,
            p99_ms: 12.0,
            rss_mib: 31.25,
        }
    }

    fn sample() -> IssueReport {
        IssueReport {
            at: UnixMs::new(0),
            load_average: 0.5,
            postgres: "15.1".into(),
            vault: "1.2.3".into(),
            machine: Machine {
                cores: 2,
                processor: "some processor".into(),
            },
            rows: vec![IssueRow {
                connections: 64,
                runs: 3,
                requests: 10,
                leafgate: Some(figures(4_000.0)),
                vault: Some(figures(1_000.0)),
            }],
        }
    }

    #[test]
    fn a_row_has_as_many_cells_as_the_header() {
        let columns = |line: &str| line.matches('|').count();
        let lines = sample().lines();
        assert_eq!(columns(TABLE.header), columns(TABLE.rule));
        assert_eq!(columns(TABLE.header), columns(&lines[0]));
        assert!(
            lines[0].starts_with("| 1970-01-01 | 64 | 4000 | 1000 | 4.00 | 1500 |"),
            "{lines:?}"
        );
    }

    #[test]
    fn what_bounds_the_rate_is_told() {
        let text = sample().to_string();
        // 250, 400 and 100 µs of CPU for each of 1500 certificates in a second.
        assert!(
            text.contains("a core of PostgreSQL carries 2500 certificates/s"),
            "{text}"
        );
        assert!(text.contains("kept 1.13 cores busy"), "{text}");
    }

    #[test]
    fn the_median_is_of_each_figure_for_itself() {
        let runs = [figures(3.0), figures(9.0), figures(4.0)];
        assert_eq!(IssueFigures::median(&runs).unwrap().per_cpu_s, 4.0);
        assert_eq!(IssueFigures::median(&[]), None);
    }
}
