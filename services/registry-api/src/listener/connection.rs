use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use leafgate_runtime::Shutdown;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Requests of one HTTP/2 connection at a time.
const CONCURRENT_STREAMS: u32 = 64;
/// The largest head of a request, in bytes.
const HEAD_BYTES: usize = 32 * 1024;
/// How often a silent HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Who is at the other end of a connection; in the extensions of each of its requests.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The certificates that it presented, its own first. It has the key of that one; nothing else about them has been
    /// verified.
    pub(crate) certificates: Arc<[CertificateDer<'static>]>,
}

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    header_timeout: Duration,
    shutdown: Shutdown,
) {
    // Answers are small and written whole: waiting to fill a segment would only delay them.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        let peer = Peer {
            address,
            certificates: Arc::default(),
        };
        return speak(stream, peer, router, header_timeout, shutdown).await;
    };
    let handshake = tokio::time::timeout(header_timeout, tls.accept(stream));
    let stream = match shutdown.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(error))) => {
            tracing::debug!(%address, %error, "TLS handshake failed");
            return;
        }
        Some(Err(_)) | None => return,
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = Peer {
        address,
        certificates: certificates
            .iter()
            .map(|der| der.clone().into_owned())
            .collect(),
    };
    speak(stream, peer, router, header_timeout, shutdown).await;
}

/// Speaks HTTP to the end of the connection.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    header_timeout: Duration,
    shutdown: Shutdown,
) {
    let address = peer.address;
    let asked = Arc::new(Notify::new());
    let first_request = Arc::clone(&asked);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        first_request.notify_one();
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request)
    });
    let builder = builder(header_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // The timers of HTTP run only once it is known which version is spoken.
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = silence(&asked, header_timeout) => return,
        () = shutdown.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, error, "connection ended");
    }
}

/// Returns if nothing was asked within the limit, and never otherwise.
async fn silence(asked: &Notify, limit: Duration) {
    if tokio::time::timeout(limit, asked.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

fn builder(header_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .max_header_list_size(HEAD_BYTES as u32);
    builder
}
