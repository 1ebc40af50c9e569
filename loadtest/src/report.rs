use std::fmt::{self, Display};
use std::time::Duration;

use leafgate_identity::UnixMs;
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::figures::{median, rounded};
use crate::load::Outcome;
use crate::machine::Machine;
use crate::table::write_table;

/// What one service did under one load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// CPU time of the service process, user and kernel, in microseconds per answered request.
    pub cpu_us_per_decision: f64,
    /// Answered requests per second.
    pub decisions_per_s: f64,
    /// Median latency, in milliseconds, as the asking server sees it.
    pub p50_ms: f64,
    /// 99th percentile of latency, in milliseconds.
    pub p99_ms: f64,
    /// Resident memory of the service process, in MiB.
    pub rss_mib: f64,
}

impl Figures {
    pub(crate) fn new(outcome: &Outcome, used: Duration, resident_bytes: u64) -> Self {
        let answered = outcome.latencies_us.len() as f64;
        let latency_ms = |quantile| outcome.latencies_us.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            cpu_us_per_decision: used.as_secs_f64() * 1e6 / answered,
            decisions_per_s: answered / outcome.elapsed.as_secs_f64(),
            p50_ms: latency_ms(0.5),
            p99_ms: latency_ms(0.99),
            rss_mib: resident_bytes as f64 / f64::from(1 << 20),
        }
    }

    /// The median of each figure for itself; `None` without any measurement.
    pub(crate) fn median<'a>(runs: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let runs: Vec<&Self> = runs.collect();
        let median = |figure: fn(&Self) -> f64| median(runs.iter().map(|run| figure(run)));
        Some(Self {
            cpu_us_per_decision: median(|run| run.cpu_us_per_decision)?,
            decisions_per_s: median(|run| run.decisions_per_s)?,
            p50_ms: median(|run| run.p50_ms)?,
            p99_ms: median(|run| run.p99_ms)?,
            rss_mib: median(|run| run.rss_mib)?,
        })
    }
}

/// Both services under one load, medians of all runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The load, in words.
    pub load: String,
    /// Whether requests and answers were sealed.
    pub xkey: bool,
    /// Measurements behind each median.
    pub runs: usize,
    /// Requests of each measurement.
    pub requests: usize,
    /// leafgate-callout, if it took part.
    pub leafgate: Option<Figures>,
    /// The Go peer, if it took part.
    pub peer: Option<Figures>,
}

impl Row {
    /// leafgate's CPU time per decision over the peer's.
    pub fn ratio(&self) -> Option<f64> {
        let (leafgate, peer) = self.leafgate.zip(self.peer)?;
        Some(leafgate.cpu_us_per_decision / peer.cpu_us_per_decision)
    }

    fn to_json(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("load".into(), self.load.clone().into());
        fields.insert("xkey".into(), self.xkey.into());
        fields.insert("runs".into(), self.runs.into());
        fields.insert("requests".into(), self.requests.into());
        for (prefix, figures) in [("", self.leafgate), ("peer_", self.peer)] {
            let Some(figures) = figures else { continue };
            for (name, value, digits) in [
                ("cpu_us_per_decision", figures.cpu_us_per_decision, 1),
                ("decisions_per_s", figures.decisions_per_s, 0),
                ("p50_ms", figures.p50_ms, 3),
                ("p99_ms", figures.p99_ms, 3),
                ("rss_mib", figures.rss_mib, 1),
            ] {
                fields.insert(format!("{prefix}{name}"), rounded(value, digits).into());
            }
        }
        if let Some(ratio) = self.ratio() {
            fields.insert("ratio".into(), rounded(ratio, 3).into());
        }
        fields
    }
}

/// All that was measured in one go. The first row is the one to judge by; JSON gives its figures
/// at the top level too.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// When it ended.
    pub at: UnixMs,
    /// The version of the nats-server between load and service.
    pub nats_server: String,
    /// Devices in the registry.
    pub devices: usize,
    /// Those of them that asked.
    pub connecting: usize,
    /// Where.
    pub machine: Machine,
    /// One for each load, plain first, then sealed.
    pub rows: Vec<Row>,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut report = self.rows.first().map(Row::to_json).unwrap_or_default();
        let rows: Vec<Value> = self.rows.iter().map(|row| row.to_json().into()).collect();
        report.insert("at".into(), self.at.to_string().into());
        report.insert("nats_server".into(), self.nats_server.clone().into());
        report.insert(
            "machine".into(),
            json!({ "cores": self.machine.cores, "processor": self.machine.processor }),
        );
        report.insert("devices".into(), self.devices.into());
        report.insert("connecting".into(), self.connecting.into());
        report.insert("rows".into(), rows.into());
        report.serialize(serializer)
    }
}

const HEADINGS: [&str; 12] = [
    "LOAD",
    "XKEY",
    "CPU µs",
    "PEER",
    "RATIO",
    "DECISIONS/s",
    "PEER",
    "P50 ms",
    "P99 ms",
    "PEER P99",
    "RSS MiB",
    "PEER",
];

/// The table for people.
impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "decisions on {}, nats-server {}, {} devices of which {} connect",
            self.machine, self.nats_server, self.devices, self.connecting
        )?;
        let rows: Vec<_> = self.rows.iter().map(cells).collect();
        write_table(f, HEADINGS, &rows)?;
        let (runs, requests) = self
            .rows
            .first()
            .map_or((0, 0), |row| (row.runs, row.requests));
        write!(
            f,
            "\n\nmedians of {runs} alternating runs of {requests} requests; CPU is that of the service process"
        )
    }
}

fn cells(row: &Row) -> [String; 12] {
    let cell = |figures: Option<Figures>, figure: fn(&Figures) -> f64, digits: usize| {
        figures.map_or_else(
            || "–".to_owned(),
            |figures| format!("{:.digits$}", figure(&figures)),
        )
    };
    let (leafgate, peer) = (row.leafgate, row.peer);
    [
        row.load.clone(),
        if row.xkey { "yes" } else { "no" }.to_owned(),
        cell(leafgate, |it| it.cpu_us_per_decision, 1),
        cell(peer, |it| it.cpu_us_per_decision, 1),
        row.ratio()
            .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.3}")),
        cell(leafgate, |it| it.decisions_per_s, 0),
        cell(peer, |it| it.decisions_per_s, 0),
        cell(leafgate, |it| it.p50_ms, 2),
        cell(leafgate, |it| it.p99_ms, 2),
        cell(peer, |it| it.p99_ms, 2),
        cell(leafgate, |it| it.rss_mib, 1),
        cell(peer, |it| it.rss_mib, 1),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn figures(cpu_us_per_decision: f64) -> Figures {
        Figures {
            cpu_us_per_decision,
            decisions_per_s: 8_000.4,
            p50_ms: 7.5,
            p99_ms: 12.0,
            rss_mib: 31.25,
        }
    }

    /// leafgate took 50 µs where the peer took 200.
    pub(crate) fn sample() -> Report {
        report(Some(figures(50.04)))
    }

    fn report(leafgate: Option<Figures>) -> Report {
        let row = |load: &str, xkey| Row {
            load: load.into(),
            xkey,
            runs: 3,
            requests: 20_000,
            leafgate,
            peer: Some(figures(200.0)),
        };
        Report {
            at: UnixMs::new(0),
            nats_server: "2.15.1".into(),
            devices: 100_000,
            connecting: 2_000,
            machine: Machine {
                cores: 2,
                processor: "some processor".into(),
            },
            rows: vec![row("64 in flight", false), row("2000/s", true)],
        }
    }

    #[test]
    fn the_median_is_of_each_figure_for_itself() {
        let runs = [figures(3.0), figures(9.0), figures(4.0)];
        assert_eq!(
            Figures::median(runs.iter()).unwrap().cpu_us_per_decision,
            4.0
        );
        assert_eq!(
            Figures::median(runs[..2].iter())
                .unwrap()
                .cpu_us_per_decision,
            6.0
        );
        assert_eq!(Figures::median([].iter()), None);
    }

    #[test]
    fn json_has_the_first_row_on_top() {
        let json = serde_json::to_value(sample()).unwrap();
        assert_eq!(json["cpu_us_per_decision"], 50.0);
        assert_eq!(json["peer_cpu_us_per_decision"], 200.0);
        assert_eq!(json["ratio"], 0.25);
        assert_eq!(json["decisions_per_s"], 8000.0);
        assert_eq!(json["load"], "64 in flight");
        assert_eq!(json["rows"][1]["load"], "2000/s");
        assert_eq!(json["rows"][1]["xkey"], true);
    }

    #[test]
    fn who_took_no_part_has_no_figures() {
        let report = report(None);
        let json = serde_json::to_value(&report).unwrap();
        assert!(json.get("cpu_us_per_decision").is_none() && json.get("ratio").is_none());
        assert!(report.to_string().contains("  –  "));
    }
}
