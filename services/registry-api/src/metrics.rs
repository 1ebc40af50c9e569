use std::time::Duration;

use axum::http::Method;
use leafgate_api::ProblemType;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// What a registry API counts. Labels are bounded: route templates and problems, never devices or keys.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<Request, Counter>,
    request_seconds: Family<Route, Histogram>,
    refusals: Family<Refusal, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) event_streams: Gauge,
    pub(crate) feed_sequence: Gauge,
    pub(crate) store_failures: Counter,
    nats_connected: Family<Connection, Gauge>,
    pub(crate) checkpoint_sequence: Gauge,
    pub(crate) checkpoint_failures: Counter,
    pub(crate) log_lines_dropped: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Connection {
    connection: &'static str,
}

impl Metrics {
    /// Registers everything under `leafgate_registry_`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("leafgate_registry");
        let mut add = Adding(registry);
        let histograms: fn() -> Histogram = || {
            Histogram::new([
                0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
            ])
        };
        Self {
            requests: add.default("requests", "Requests by route, method and status"),
            request_seconds: add.metric(
                "request_seconds",
                "From a request's head to the head of its answer",
                Family::new_with_constructor(histograms),
            ),
            refusals: add.default("refusals", "Requests refused for want of rights, by reason"),
            connections: add.default("connections", "Open connections to the API"),
            event_streams: add.default("event_streams", "Open streams of events"),
            feed_sequence: add.default("feed_sequence", "Last registry event seen"),
            store_failures: add.default("store_failures", "Failed attempts to follow the registry"),
            nats_connected: add.default(
                "nats_connected",
                "Whether each connection to the leaf cluster lasts, by what it is for",
            ),
            checkpoint_sequence: add.default(
                "checkpoint_sequence",
                "Last registry event that a checkpoint was signed of here",
            ),
            checkpoint_failures: add.default(
                "checkpoint_failures",
                "Failed attempts to sign a checkpoint of the audit trail",
            ),
            log_lines_dropped: add.default(
                "log_lines_dropped",
                "Log writes dropped because the log's reader was too slow",
            ),
        }
    }

    pub(crate) fn answered(&self, route: &str, method: &Method, status: u16, took: Duration) {
        let (route, method) = (route.to_owned(), name_of(method));
        self.request_seconds
            .get_or_create(&Route {
                route: route.clone(),
                method,
            })
            .observe(took.as_secs_f64());
        self.requests
            .get_or_create(&Request {
                route,
                method,
                status,
            })
            .inc();
    }

    pub(crate) fn nats_connected(&self, connection: &'static str, lasts: bool) {
        self.nats_connected
            .get_or_create(&Connection { connection })
            .set(lasts.into());
    }

    pub(crate) fn refused(&self, problem: ProblemType) {
        let reason = problem.as_str();
        self.refusals.get_or_create(&Refusal { reason }).inc();
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

/// Methods are the client's choice; a label is not.
pub(crate) fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
