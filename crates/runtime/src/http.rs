use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::Shutdown;

/// How long requests that have begun may take once the listener is to end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

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

    /// Answers until `shutdown`, and for up to a second more what was asked before. Connections
    /// that ask nothing, or never finish asking, don't hold it up.
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
        let orderly = axum::serve(self.listener, router)
            .with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let last_answers = async {
            shutdown.cancelled().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            ended = orderly => ended,
            () = last_answers => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    struct Service {
        ready: Arc<AtomicBool>,
        address: SocketAddr,
        shutdown: Shutdown,
        task: JoinHandle<std::io::Result<()>>,
    }

    struct Flag(Arc<AtomicBool>);

    impl Readiness for Flag {
        fn report(&self) -> ReadinessReport {
            ReadinessReport {
                ready: self.0.load(Ordering::SeqCst),
                degraded: vec!["half of it".to_owned()],
            }
        }
    }

    impl Service {
        async fn start() -> Self {
            let listener = HealthListener::bind(([127, 0, 0, 1], 0).into())
                .await
                .unwrap();
            let address = listener.local_addr().unwrap();
            let mut metrics = Registry::default();
            metrics.register("acts", "What was done", Counter::<u64>::default());
            let (ready, shutdown) = (Arc::new(AtomicBool::new(true)), Shutdown::new());
            let serve = listener.serve(
                Arc::new(Flag(ready.clone())),
                Arc::new(metrics),
                shutdown.clone(),
            );
            Self {
                ready,
                address,
                shutdown,
                task: tokio::spawn(serve),
            }
        }

        async fn get(&self, path: &str) -> String {
            let mut connection = TcpStream::connect(self.address).await.unwrap();
            let request = format!("GET {path} HTTP/1.0\r\n\r\n");
            connection.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await.unwrap();
            answer
        }
    }

    #[tokio::test]
    async fn probes_tell_running_from_ready() {
        let service = Service::start().await;
        for ready in [true, false] {
            service.ready.store(ready, Ordering::SeqCst);
            for path in ["/health", "/livez"] {
                let answer = service.get(path).await;
                assert!(answer.starts_with("HTTP/1.0 200"), "{path}: {answer}");
            }
            let answer = service.get("/readyz").await;
            let status = if ready {
                "HTTP/1.0 200"
            } else {
                "HTTP/1.0 503"
            };
            assert!(answer.starts_with(status), "{answer}");
            let body = format!(r#"{{"ready":{ready},"degraded":["half of it"]}}"#);
            assert!(answer.ends_with(&body), "{answer}");
        }
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let answer = Service::start().await.get("/metrics").await;
        assert!(answer.contains("application/openmetrics-text"), "{answer}");
        assert!(answer.ends_with("acts_total 0\n# EOF\n"), "{answer}");
    }

    #[tokio::test]
    async fn connections_that_are_left_open_do_not_keep_it_from_ending() {
        let service = Service::start().await;
        let _silent = TcpStream::connect(service.address).await.unwrap();
        let mut halfway = TcpStream::connect(service.address).await.unwrap();
        halfway.write_all(b"GET /rea").await.unwrap();
        // Answered after both were accepted.
        service.get("/health").await;
        service.shutdown.cancel();
        let ended = tokio::time::timeout(LIMIT, service.task).await;
        ended.expect("it goes on serving").unwrap().unwrap();
        drop(halfway);
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let service = Service::start().await;
        let error = HealthListener::bind(service.address).await.unwrap_err();
        let address = service.address.to_string();
        assert!(error.to_string().contains(&address), "{error}");
    }
}
