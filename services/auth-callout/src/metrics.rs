use std::time::Duration;

use leafgate_admission::Reason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::revocation::FoundBy;

/// What a replica counts. Labels are bounded: reasons, never devices or servers.
#[derive(Debug)]
pub(crate) struct Metrics {
    allowed: Counter,
    denied: Vec<Counter>,
    pub(crate) decision_seconds: Histogram,
    pub(crate) batch_requests: Histogram,
    pub(crate) clock_skew_seconds: Gauge,
    kicks: Family<Kick, Counter>,
    pub(crate) evictions: Counter,
    pub(crate) sessions: Gauge,
    pub(crate) cached_devices: Gauge,
    pub(crate) feed_sequence: Gauge,
    pub(crate) registry_failures: Counter,
    pub(crate) log_lines_dropped: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decision {
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kick {
    found_by: &'static str,
}

impl Metrics {
    /// Registers everything under `leafgate_callout_`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("leafgate_callout");
        let mut add = Adding(registry);
        let decisions: Family<Decision, Counter> =
            add.default("decisions", "Log-in requests by outcome and reason");
        let counter = |outcome, reason| {
            decisions
                .get_or_create(&Decision { outcome, reason })
                .clone()
        };
        Self {
            allowed: counter("allowed", ""),
            denied: Reason::ALL
                .iter()
                .map(|reason| counter("denied", reason.as_str()))
                .collect(),
            decision_seconds: add.metric(
                "decision_seconds",
                "From a request's receipt to its answer",
                Histogram::new([
                    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
                    0.25, 0.5, 1.0, 2.0,
                ]),
            ),
            batch_requests: add.metric(
                "batch_requests",
                "Requests that were ready together",
                Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]),
            ),
            clock_skew_seconds: add.default(
                "clock_skew_seconds",
                "Own clock minus the clock of the server that asked last",
            ),
            kicks: add.default("kicks", "Connections ended, by how they were found"),
            evictions: add.default("evictions", "Devices evicted from memory"),
            sessions: add.default("sessions", "Sessions granted here"),
            cached_devices: add.default("cached_devices", "Device records in memory"),
            feed_sequence: add.default("feed_sequence", "Last registry event applied"),
            registry_failures: add.default(
                "registry_failures",
                "Failed attempts to follow the registry",
            ),
            log_lines_dropped: add.default(
                "log_lines_dropped",
                "Log writes dropped because the log's reader was too slow",
            ),
        }
    }

    pub(crate) fn allowed(&self, took: Duration) {
        self.allowed.inc();
        self.decision_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn kicked(&self, found_by: FoundBy) {
        let found_by = found_by.as_str();
        self.kicks.get_or_create(&Kick { found_by }).inc();
    }

    pub(crate) fn denied(&self, reason: Reason, took: Duration) {
        self.denied[reason as usize].inc();
        self.decision_seconds.observe(took.as_secs_f64());
    }
}

/// Registers metrics and gives them back.
struct Adding<'a>(&'a mut Registry);

impl Adding<'_> {
    fn default<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.metric(name, help, M::default())
    }

    fn metric<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}
