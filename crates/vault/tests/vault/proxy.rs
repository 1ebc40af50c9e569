//! Stands between a client and Vault, and lets requests through, holds them or loses their answers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deal {
    /// Vault answers it.
    Pass,
    /// It never reaches Vault, and nobody answers.
    Swallow,
    /// Vault gets it, and the answer is that of a broken gateway, once [`Proxy::release`] was called.
    PassAndFail,
    /// Vault gets it once [`Proxy::release`] was called.
    Hold,
    /// It never reaches Vault; the answer is that of a broken gateway.
    Fail,
}

/// A request as it came.
pub(crate) struct Seen<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

impl Seen<'_> {
    pub(crate) fn writes_the_head(&self) -> bool {
        self.method == Method::POST && self.path.ends_with("/data/leafgate/head")
    }
}

type Rule = Box<dyn FnMut(&Seen<'_>) -> Deal + Send>;

struct Inner {
    upstream: String,
    client: reqwest::Client,
    rule: Mutex<Rule>,
    /// One for each request that was not just passed.
    dealt: Semaphore,
    released: Semaphore,
}

/// A running proxy.
pub(crate) struct Proxy {
    inner: Arc<Inner>,
    pub(crate) address: String,
    task: JoinHandle<()>,
}

impl Proxy {
    /// In front of the Vault at `upstream`. Everything passes.
    pub(crate) async fn start(upstream: &str) -> Self {
        let inner = Arc::new(Inner {
            upstream: upstream.to_owned(),
            client: reqwest::Client::builder()
                .tls_backend_preconfigured(crate::support::no_tls())
                .build()
                .unwrap(),
            rule: Mutex::new(Box::new(|_| Deal::Pass)),
            dealt: Semaphore::new(0),
            released: Semaphore::new(0),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            inner,
            address,
            task,
        }
    }

    /// What to do with each request from here on.
    pub(crate) fn deal(&self, rule: impl FnMut(&Seen<'_>) -> Deal + Send + 'static) {
        *self.inner.rule.lock().unwrap() = Box::new(rule);
    }

    /// Lets everything pass again.
    pub(crate) fn pass(&self) {
        self.deal(|_| Deal::Pass);
    }

    /// Waits for a request that is not just passed.
    pub(crate) async fn dealt(&self) {
        self.inner.dealt.acquire().await.unwrap().forget();
    }

    /// Lets go of everything that waits, and will wait, for it.
    pub(crate) fn release(&self) {
        self.inner.released.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn handle(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let deal = {
        let mut rule = inner.rule.lock().unwrap();
        rule(&Seen {
            method: &parts.method,
            path: parts.uri.path(),
            headers: &parts.headers,
        })
    };
    let path = parts.uri.path_and_query().unwrap().as_str();
    let forward = || inner.forward(parts.method.clone(), path, &parts.headers, body.clone());
    match deal {
        Deal::Pass => forward().await,
        Deal::Swallow => {
            inner.dealt.add_permits(1);
            std::future::pending().await
        }
        Deal::PassAndFail => {
            let _ = forward().await;
            inner.dealt.add_permits(1);
            inner.released.acquire().await.unwrap().forget();
            bad_gateway()
        }
        Deal::Fail => bad_gateway(),
        Deal::Hold => {
            inner.dealt.add_permits(1);
            // A client that is gone by then takes nothing back.
            let inner = Arc::clone(&inner);
            let (method, path, headers) = (parts.method, path.to_owned(), parts.headers);
            let held = tokio::spawn(async move {
                inner.released.acquire().await.unwrap().forget();
                inner.forward(method, &path, &headers, body).await
            });
            held.await.unwrap()
        }
    }
}

fn bad_gateway() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

impl Inner {
    async fn forward(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.upstream))
            .body(body);
        for name in ["x-vault-token", "x-vault-namespace", "content-type"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let mut response = Response::new(Body::from(answer.bytes().await.unwrap()));
        *response.status_mut() = status;
        response
    }
}
