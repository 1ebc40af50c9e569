use std::time::Duration;

use leafgate_admission::Reason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What a replica counts. Labels are bounded: reasons, never devices or servers.
#[derive(Debug)]
pub(crate) struct Metrics {
    allowed: Counter,
    denied: Vec<Counter>,
    pub(crate) decision_seconds: Histogram,
    pub(crate) batch_requests: Histogram,
    pub(crate) clock_skew_seconds: Gauge,
    pub(crate) kicks: Counter,
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

impl Metrics {
    /// Registers everything under `leafgate_callout_`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("leafgate_callout");
        let decisions = Family::<Decision, Counter>::default();
        let counter = |outcome, reason| {
            decisions
                .get_or_create(&Decision { outcome, reason })
                .clone()
        };
        let metrics = Self {
            allowed: counter("allowed", ""),
            denied: Reason::ALL
                .iter()
                .map(|reason| counter("denied", reason.as_str()))
                .collect(),
            decision_seconds: Histogram::new([
                0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                0.5, 1.0, 2.0,
            ]),
            batch_requests: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]),
            clock_skew_seconds: Gauge::default(),
            kicks: Counter::default(),
            evictions: Counter::default(),
            sessions: Gauge::default(),
            cached_devices: Gauge::default(),
            feed_sequence: Gauge::default(),
            registry_failures: Counter::default(),
            log_lines_dropped: Gauge::default(),
        };
        registry.register(
            "decisions",
            "Log-in requests by outcome and reason",
            decisions,
        );
        registry.register(
            "decision_seconds",
            "From a request's receipt to its answer",
            metrics.decision_seconds.clone(),
        );
        registry.register(
            "batch_requests",
            "Requests that were ready together",
            metrics.batch_requests.clone(),
        );
        registry.register(
            "clock_skew_seconds",
            "Own clock minus the clock of the server that asked last",
            metrics.clock_skew_seconds.clone(),
        );
        registry.register("kicks", "Connections ended", metrics.kicks.clone());
        registry.register(
            "evictions",
            "Devices evicted from memory",
            metrics.evictions.clone(),
        );
        registry.register(
            "sessions",
            "Sessions granted here",
            metrics.sessions.clone(),
        );
        registry.register(
            "cached_devices",
            "Device records in memory",
            metrics.cached_devices.clone(),
        );
        registry.register(
            "feed_sequence",
            "Last registry event applied",
            metrics.feed_sequence.clone(),
        );
        registry.register(
            "registry_failures",
            "Failed attempts to follow the registry",
            metrics.registry_failures.clone(),
        );
        registry.register(
            "log_lines_dropped",
            "Log writes dropped because the log's reader was too slow",
            metrics.log_lines_dropped.clone(),
        );
        metrics
    }

    pub(crate) fn allowed(&self, took: Duration) {
        self.allowed.inc();
        self.decision_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn denied(&self, reason: Reason, took: Duration) {
        self.denied[reason as usize].inc();
        self.decision_seconds.observe(took.as_secs_f64());
    }
}
