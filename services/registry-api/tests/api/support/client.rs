//! Somebody who calls the API, and what they are answered.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use leafgate_testkit::scratch_ca::ScratchCa;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::PATIENCE;
use super::requests::der_of;

/// Somebody who calls the API.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) base: String,
    pub(crate) key: Option<String>,
}

impl Api {
    /// Somebody else, by their key.
    pub(crate) fn bearing(&self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self.clone()
        }
    }

    /// Somebody without a key.
    pub(crate) fn anonymous(&self) -> Self {
        Self {
            key: None,
            ..self.clone()
        }
    }

    /// The same with another client.
    pub(crate) fn through(&self, client: Client) -> Self {
        Self {
            client,
            ..self.clone()
        }
    }

    pub(crate) fn key(&self) -> &str {
        self.key.as_deref().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.url(path));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    /// Registers a device, which must succeed.
    pub(crate) async fn register(&self, id: &str, device_type: &str, site: Option<&str>) -> Value {
        let body = json!({ "id": id, "device_type": device_type, "site": site });
        self.post("/v1/devices", body).await.expect(201)
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.unwrap()).await
    }

    async fn read(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_str()
            .unwrap()
    }

    /// The JSON of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    /// The detail of a problem of this type, whose document must be whole.
    #[track_caller]
    pub(crate) fn problem(&self, name: &str) -> String {
        let document: leafgate_api::ProblemDocument =
            serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(document.type_uri, format!("/problems/{name}"), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let kind = document.problem_type().unwrap();
        assert_eq!(document.title, kind.title());
        assert_eq!(
            (document.status, self.status),
            (kind.status(), kind.status())
        );
        assert_eq!(document.request_id, self.header("x-request-id"));
        assert!(!document.detail.is_empty() && document.instance.starts_with('/'));
        if matches!(self.status, 429 | 503) {
            let secs: u64 = self.header("retry-after").parse().unwrap();
            assert!(secs > 0);
        }
        document.detail
    }
}

pub(crate) fn client(ca: &ScratchCa) -> Client {
    client_builder(ca).build().unwrap()
}

pub(crate) fn client_builder(ca: &ScratchCa) -> reqwest::ClientBuilder {
    let root = Certificate::from_pem(ca.certificate_pem().as_bytes()).unwrap();
    Client::builder()
        .tls_certs_only([root])
        .timeout(PATIENCE)
        .no_proxy()
}

/// A connection below HTTP; `config` says whom it trusts, what it presents and what it speaks.
pub(crate) async fn connect(
    stream: TcpStream,
    config: ClientConfig,
) -> TokioIo<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    TokioIo::new(connector.connect(name, stream).await.unwrap())
}

/// What trusts this authority alone.
pub(crate) fn trusting(ca: &ScratchCa) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(der_of(ca.certificate_pem()).into()).unwrap();
    roots
}
