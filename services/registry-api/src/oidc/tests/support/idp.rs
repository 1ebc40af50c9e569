use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use leafgate_identity::UnixMs;
use leafgate_testkit::scratch_ca::{ExtendedKeyUsagePurpose, ScratchCa, ScratchLeaf};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const DISCOVERY: &str = "/realms/fleet/.well-known/openid-configuration";
const KEYS: &str = "/realms/fleet/keys";
const MOVED: &str = "/realms/fleet/moved";

/// An OpenID provider's two documents, served over HTTPS.
pub(crate) struct Idp {
    shared: Arc<Shared>,
    tls: TlsAcceptor,
    address: SocketAddr,
    serving: Mutex<Option<JoinHandle<()>>>,
    ca_file: NamedTempFile,
}

/// What a request is answered with.
#[derive(Clone)]
pub(crate) enum Answer {
    Json(Value),
    Text(String),
    Status(StatusCode),
    Redirect(String),
    /// Spaces, without an end.
    Endless,
    /// Nothing until [`Idp::release`].
    Held(Value),
}

struct Shared {
    discovery: Mutex<Answer>,
    keys: Mutex<Answer>,
    moved: Mutex<Answer>,
    discovery_requests: AtomicUsize,
    keys_requests: AtomicUsize,
    moved_requests: AtomicUsize,
    gate: Semaphore,
}

impl Idp {
    /// A provider with these keys.
    pub(crate) async fn start(keys: Value) -> Self {
        let ca = ScratchCa::root("Provider's CA");
        let ca_file = NamedTempFile::new().unwrap();
        std::fs::write(ca_file.path(), ca.certificate_pem()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let idp = Self {
            shared: Arc::new(Shared {
                discovery: Mutex::new(Answer::Json(Value::Null)),
                keys: Mutex::new(Answer::Json(json!({"keys": keys}))),
                moved: Mutex::new(Answer::Json(Value::Null)),
                discovery_requests: AtomicUsize::new(0),
                keys_requests: AtomicUsize::new(0),
                moved_requests: AtomicUsize::new(0),
                gate: Semaphore::new(0),
            }),
            tls: acceptor(&ca),
            address,
            serving: Mutex::new(None),
            ca_file,
        };
        idp.answer_discovery(Answer::Json(idp.discovery()));
        let mut moved = idp.discovery();
        moved["keys"] = json!([]);
        *idp.shared.moved.lock().unwrap() = Answer::Json(moved);
        idp.serve(listener);
        idp
    }

    pub(crate) fn issuer(&self) -> String {
        format!("https://{}/realms/fleet", self.address)
    }

    pub(crate) fn keys_url(&self) -> String {
        format!("https://{}{KEYS}", self.address)
    }

    /// Where both documents could be found too, by whoever follows a redirection. They have no keys there.
    pub(crate) fn moved_url(&self) -> String {
        format!("https://{}{MOVED}", self.address)
    }

    /// Its discovery document when all is well.
    pub(crate) fn discovery(&self) -> Value {
        json!({"issuer": self.issuer(), "jwks_uri": self.keys_url(), "token_endpoint": "https://x"})
    }

    pub(crate) fn ca_file(&self) -> &Path {
        self.ca_file.path()
    }

    pub(crate) fn answer_discovery(&self, answer: Answer) {
        *self.shared.discovery.lock().unwrap() = answer;
    }

    pub(crate) fn answer_keys(&self, answer: Answer) {
        *self.shared.keys.lock().unwrap() = answer;
    }

    pub(crate) fn set_keys(&self, keys: impl IntoIterator<Item = Value>) {
        let keys: Value = keys.into_iter().collect();
        self.answer_keys(Answer::Json(json!({ "keys": keys })));
    }

    /// Lets what is held go, now and from now on.
    pub(crate) fn release(&self) {
        self.shared.gate.add_permits(1_000);
    }

    /// How often the keys were asked for.
    pub(crate) fn keys_requests(&self) -> usize {
        self.shared.keys_requests.load(Ordering::SeqCst)
    }

    pub(crate) fn discovery_requests(&self) -> usize {
        self.shared.discovery_requests.load(Ordering::SeqCst)
    }

    /// Closes the port.
    pub(crate) async fn stop(&self) {
        let serving = self.serving.lock().unwrap().take().unwrap();
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
    }

    /// Opens it again.
    pub(crate) async fn restart(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }

    pub(crate) fn moved_requests(&self) -> usize {
        self.shared.moved_requests.load(Ordering::SeqCst)
    }

    fn serve(&self, listener: TcpListener) {
        let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone());
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else {
                        return;
                    };
                    let service = hyper::service::service_fn(move |request| {
                        let shared = Arc::clone(&shared);
                        async move { Ok::<_, Infallible>(shared.answer(&request).await) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    // A client that hangs up is what some tests are about.
                    let _ = connection.await;
                });
            }
        });
        *self.serving.lock().unwrap() = Some(serving);
    }
}

impl Shared {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let (answer, requests) = match request.uri().path() {
            DISCOVERY => (&self.discovery, &self.discovery_requests),
            KEYS => (&self.keys, &self.keys_requests),
            MOVED => (&self.moved, &self.moved_requests),
            _ => return status(StatusCode::NOT_FOUND),
        };
        requests.fetch_add(1, Ordering::SeqCst);
        let answer = answer.lock().unwrap().clone();
        match answer {
            Answer::Json(json) => text(json.to_string()),
            Answer::Text(body) => text(body),
            Answer::Status(code) => status(code),
            Answer::Redirect(to) => {
                let mut response = status(StatusCode::FOUND);
                response
                    .headers_mut()
                    .insert(header::LOCATION, to.parse().unwrap());
                response
            }
            Answer::Endless => {
                let spaces = Bytes::from_static(&[b' '; 8 * 1024]);
                let endless = stream::repeat(spaces).map(Ok::<_, Infallible>);
                Response::new(Body::from_stream(endless))
            }
            Answer::Held(json) => {
                self.gate.acquire().await.unwrap().forget();
                text(json.to_string())
            }
        }
    }
}

fn text(body: String) -> Response<Body> {
    Response::new(body.into())
}

fn status(code: StatusCode) -> Response<Body> {
    // With a body that would do, were it not for the status.
    let mut response = text(json!({"keys": []}).to_string());
    *response.status_mut() = code;
    response
}

fn acceptor(ca: &ScratchCa) -> TlsAcceptor {
    // TLS looks at the machine's clock, and at nothing that a test may set.
    let leaf = ScratchLeaf::device("provider", UnixMs::new(0))
        .with_validity(UnixMs::new(0), UnixMs::MAX)
        .with_ip_address(Ipv4Addr::LOCALHOST.into())
        .with_extended_usages(&[ExtendedKeyUsagePurpose::ServerAuth]);
    let signed = ca.sign(&leaf);
    let certificate = CertificateDer::from_pem_slice(signed.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(signed.private_key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
