use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use leafgate_runtime::{Clock as _, SystemClock};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Without an answer for this long a service counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest latency that is told apart.
const LATENCY_LIMIT_US: u64 = 600_000_000;

/// A server that is asked over HTTP/1.1.
pub(crate) struct HttpServer {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

/// A body that is there as a whole.
pub(crate) struct Whole(Option<Bytes>);

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// What came back.
pub(crate) struct Replies {
    /// One for each request, in their order.
    pub(crate) replies: Vec<Reply>,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Latencies in microseconds.
    pub(crate) latencies_us: Histogram<u64>,
}

impl HttpServer {
    /// A server that speaks plain HTTP.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// A server for localhost whose certificate ends at `ca_pem`.
    pub(crate) fn with_tls(address: SocketAddr, ca_pem: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate.context("the CA of a server is not in PEM")?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            tls: Some(TlsConnector::from(Arc::new(config))),
        })
    }

    /// Asks once.
    pub(crate) async fn ask(&self, request: Request<Whole>) -> Result<Reply> {
        let mut connection = self.connect().await?;
        reply(&mut connection, request).await
    }

    /// Sends every request once over so many connections, which are there before the first is sent and are kept: on
    /// each, the next is sent when the answer to the one before has come.
    pub(crate) async fn run(
        &self,
        clock: &SystemClock,
        requests: Vec<Request<Whole>>,
        connections: usize,
    ) -> Result<Replies> {
        let connecting = (0..connections).map(|_| self.connect());
        let connections = try_join_all(connecting).await?;
        let next = Cell::new(0);
        let requests: Vec<_> = requests.into_iter().map(|it| Cell::new(Some(it))).collect();
        let started = clock.monotonic();
        let running = connections.into_iter().map(|mut connection| {
            let (next, requests) = (&next, &requests);
            async move {
                let mut answered = Vec::new();
                loop {
                    let index = next.replace(next.get() + 1);
                    let Some(request) = requests.get(index).and_then(Cell::take) else {
                        return anyhow::Ok(answered);
                    };
                    let sent = clock.monotonic();
                    let reply = reply(&mut connection, request).await?;
                    answered.push((index, reply, clock.monotonic() - sent));
                }
            }
        });
        let answered = try_join_all(running).await?;
        let elapsed = clock.monotonic() - started;
        let mut latencies_us =
            Histogram::new_with_max(LATENCY_LIMIT_US, 3).context("can't make a histogram")?;
        let mut answered: Vec<_> = answered.into_iter().flatten().collect();
        answered.sort_unstable_by_key(|(index, ..)| *index);
        for (.., latency) in &answered {
            latencies_us.saturating_record(u64::try_from(latency.as_micros())?);
        }
        Ok(Replies {
            replies: answered.into_iter().map(|(_, reply, _)| reply).collect(),
            elapsed,
            latencies_us,
        })
    }

    async fn connect(&self) -> Result<SendRequest<Whole>> {
        let unreachable = || format!("can't connect to {}", self.address);
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.with_context(unreachable)?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => handshake(stream).await,
            Some(tls) => {
                let name = ServerName::try_from("localhost")?;
                let stream = tls.connect(name, stream).await.with_context(unreachable)?;
                handshake(stream).await
            }
        }
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Whole>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Whoever sends on it hears of its errors. It ends with its sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn reply(connection: &mut SendRequest<Whole>, request: Request<Whole>) -> Result<Reply> {
    let path = request.uri().path().to_owned();
    let answered = async {
        connection.ready().await?;
        whole(connection.send_request(request).await?).await
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(reply) => Ok(reply.with_context(|| format!("no answer to {path}"))?),
        Err(_) => anyhow::bail!("no answer to {path} for {} s", PATIENCE.as_secs()),
    }
}

async fn whole(response: Response<Incoming>) -> hyper::Result<Reply> {
    let (head, mut body) = response.into_parts();
    let mut text = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            text.extend_from_slice(&data);
        }
    }
    Ok(Reply {
        status: head.status,
        body: text.freeze(),
    })
}

impl Whole {
    pub(crate) fn new(body: impl Into<Bytes>) -> Self {
        Self(Some(body.into()))
    }

    pub(crate) fn empty() -> Self {
        Self(None)
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |data| data.len() as u64))
    }
}
