use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::Shutdown;

/// What `/readyz` says of a service.
pub trait Readiness: Send + Sync + 'static {
    /// The present state; must return at once.
    fn report(&self) -> ReadinessReport;
}

/// The body of `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct ReadinessReport {
    /// Whether the service takes work: status 200, else 503.
    pub ready: bool,
    /// What works less well than it should, a sentence each; does not change the status.
    pub degraded: Vec<String>,
}

/// The plain-HTTP listener for probes and metrics: `/health`, `/livez`, `/readyz`, `/metrics`.
///
/// `/health` and `/livez` say that the process runs and depend on nothing else, so that no outage
/// of NATS or the store makes an orchestrator restart healthy replicas.
#[derive(Debug)]
pub struct HealthListener {
    listener: TcpListener,
}

impl HealthListener {
    /// Binds the address; port 0 takes any free one.
    ///
    /// # Errors
    /// [`StartListenerError`] when the address can't be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, StartListenerError> {
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| StartListenerError { address, source })?;
        Ok(Self { listener })
    }

    /// The address in use.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `shutdown`.
    ///
    /// # Errors
    /// What the system says when accepting fails for good.
    pub async fn serve(
        self,
        readiness: Arc<dyn Readiness>,
        metrics: Arc<Registry>,
        shutdown: Shutdown,
    ) -> std::io::Result<()> {
        let router = Router::new()
            .route("/health", get(alive))
            .route("/livez", get(alive))
            .route("/readyz", get(ready))
            .route("/metrics", get(expose_metrics))
            .with_state(Shared { readiness, metrics });
        axum::serve(self.listener, router)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
    }
}

/// The health listener's address can't be bound.
#[derive(Debug, thiserror::Error)]
#[error("can't listen for health checks on {address}: is another process using that port?")]
pub struct StartListenerError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

#[derive(Clone)]
struct Shared {
    readiness: Arc<dyn Readiness>,
    metrics: Arc<Registry>,
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(shared): State<Shared>) -> Response {
    let report = shared.readiness.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

async fn expose_metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shared.metrics) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
