//! Listeners: TCP, TLS and HTTP, each bounded in number and time, and an orderly end.

mod client_certificate;
mod connection;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use leafgate_runtime::Shutdown;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

pub(crate) use self::connection::Peer;
pub(crate) use self::tls::TlsFiles;

/// How long nothing is accepted after the system refused, as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket.
#[derive(Debug)]
pub(crate) struct ApiListener {
    listener: TcpListener,
}

/// What bounds the connections of a listener.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// How many there may be at a time.
    pub(crate) connections: usize,
    /// How long the TLS handshake and each request's head may take.
    pub(crate) header_timeout: Duration,
    /// How long requests may go on once the listener is to end.
    pub(crate) drain: Duration,
}

/// An address can't be bound.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: is another process using that port?")]
pub(crate) struct BindError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

impl ApiListener {
    /// Binds the address; port 0 takes any free one.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| BindError { address, source })?;
        Ok(Self { listener })
    }

    /// The address in use.
    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves, over TLS or else over plain HTTP, until `shutdown`; then accepts nothing more and lets requests that have begun end within the limit.
    pub(crate) async fn serve(
        self,
        tls: Option<TlsAcceptor>,
        router: Router,
        limits: ConnectionLimits,
        open: Gauge,
        shutdown: Shutdown,
    ) {
        let connections = TaskTracker::new();
        let accepting = accept_all(
            self.listener,
            tls,
            router,
            &limits,
            open,
            &connections,
            &shutdown,
        );
        shutdown.run_until_cancelled(accepting).await;
        connections.close();
        if tokio::time::timeout(limits.drain, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = connections.len(),
                "requests did not end in time and are cut off"
            );
        }
    }
}

async fn accept_all(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: &ConnectionLimits,
    open: Gauge,
    connections: &TaskTracker,
    shutdown: &Shutdown,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no connection could be accepted"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let serving = connection::serve(
            stream,
            address,
            tls.clone(),
            router.clone(),
            limits.header_timeout,
            shutdown.clone(),
        );
        let open = open.clone();
        connections.spawn(async move {
            open.inc();
            serving.await;
            open.dec();
            drop(place);
        });
    }
}
