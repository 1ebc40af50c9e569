use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use leafgate::local::{
    LocalSite, RegistryEndpoints, ServiceOptions, SiteOptions, write_credentials,
};
use reqwest::{Certificate, Client, Identity, Response, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{PATIENCE, options};

/// Options with a registry, in which older certificates count for a second beside newer ones.
pub fn with_registry() -> SiteOptions {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_leafgate-registry"));
    let overlap = ("LEAFGATE_CERTIFICATES__OVERLAP_SECS", "1");
    let environment = [overlap].map(|(name, value)| (name.to_owned(), value.to_owned()));
    SiteOptions {
        registry: Some(ServiceOptions {
            program,
            environment: environment.into(),
        }),
        ..options()
    }
}

/// Waits until the registry hears of log-ins: one that nobody hears of is told of again half a minute later.
pub async fn hears_log_ins(site: &mut LocalSite) {
    let registry = site.registry().unwrap().process.child_mut();
    registry
        .wait_for_log("connected to NATS connection=log-ins", PATIENCE)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Somebody who asks the registry for something over REST.
#[derive(Clone)]
pub struct RegistryClient {
    http: Client,
    ca: PathBuf,
    url: String,
    token: Option<String>,
}

impl RegistryClient {
    /// The administrator of a site.
    pub fn admin(site: &LocalSite) -> Self {
        let endpoints = site.endpoints();
        let RegistryEndpoints {
            registry_url,
            admin_token_file,
            ..
        } = endpoints.registry.unwrap();
        let token = fs::read_to_string(admin_token_file).unwrap();
        Self {
            http: client(&endpoints.ca_file, None),
            ca: endpoints.ca_file,
            url: registry_url,
            token: Some(token.trim().to_owned()),
        }
    }

    /// Whoever has this token.
    pub fn bearing(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// A device with the certificate `stem.crt` and the key `stem.key`, and nothing else.
    pub fn device(&self, stem: &Path) -> Self {
        let read = |suffix| fs::read_to_string(stem.with_extension(suffix)).unwrap();
        self.identified(&(read("crt") + &read("key")))
    }

    /// A device with this certificate and key in PEM, and nothing else.
    pub fn identified(&self, pem: &str) -> Self {
        let identity = Identity::from_pem(pem.as_bytes()).unwrap();
        Self {
            http: client(&self.ca, Some(identity)),
            token: None,
            ..self.clone()
        }
    }

    /// The answer to a POST that must be granted.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_post(path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// The answer to a POST.
    pub async fn try_post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let sent = self.send_post(path, body).await;
        let answer = sent.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        read(answer).await
    }

    /// The answer to a GET.
    pub async fn try_get(&self, path: &str) -> (StatusCode, Value) {
        let mut request = self.http.get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let sent = request.send().await;
        read(sent.unwrap_or_else(|error| panic!("{path}: {error:?}"))).await
    }

    /// A POST that may fail on its way.
    pub async fn send_post(&self, path: &str, body: &Value) -> reqwest::Result<Response> {
        let mut request = self.http.post(format!("{}{path}", self.url)).json(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await
    }

    /// A POST of lines of JSON that may fail on its way.
    pub async fn send_lines(&self, path: &str, lines: String) -> reqwest::Result<Response> {
        let mut request = self.http.post(format!("{}{path}", self.url)).body(lines);
        request = request.header("content-type", "application/x-ndjson");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await
    }
}

async fn read(answer: Response) -> (StatusCode, Value) {
    let status = answer.status();
    let text = answer.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, value)
}

fn client(ca_file: &Path, identity: Option<Identity>) -> Client {
    // Whoever comes first in this process installs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let root = Certificate::from_pem(&fs::read(ca_file).unwrap()).unwrap();
    let builder = Client::builder()
        .tls_certs_only([root])
        .timeout(PATIENCE)
        .no_proxy();
    match identity {
        Some(identity) => builder.identity(identity),
        None => builder,
    }
    .build()
    .unwrap()
}

/// A device that nobody has registered makes a key and gets its certificate for a token; `folder/ID.{crt,key}`.
pub async fn enrol(admin: &RegistryClient, folder: &Path, id: &str) -> Value {
    let token = json!({ "name": "line-1", "device_type": "pump", "admits": { "ids": [id] } });
    let token = admin.post("/v1/enrolment-tokens", &token).await;
    let device = admin.bearing(token["token"].as_str().unwrap());
    let csr = openssl_request(folder, id);
    let enrolled = device
        .post("/v1/enrol", &json!({ "id": id, "csr": csr }))
        .await;
    keep(&enrolled, &folder.join(id));
    enrolled
}

/// Writes the certificate that was issued for the key `stem.key` beside it.
pub fn keep(issued: &Value, stem: &Path) {
    let key = fs::read_to_string(stem.with_extension("key")).unwrap();
    let chain = issued["chain"].as_str().unwrap();
    write_credentials(stem, chain, &SecretString::from(key)).unwrap();
}

/// Makes a P-256 key `NAME.key` and a certificate request for it in `folder`, as a device's script would.
pub fn openssl_request(folder: &Path, name: &str) -> String {
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
    openssl(
        folder,
        &format!("req -new {curve} -nodes -subj /CN=any -keyout {name}.key -out {name}.csr"),
    );
    fs::read_to_string(folder.join(name).with_extension("csr")).unwrap()
}

/// What openssl, run in `folder`, prints on both streams; it must succeed.
pub fn openssl(folder: &Path, arguments: &str) -> String {
    let (succeeded, said) = try_openssl(folder, arguments);
    assert!(succeeded, "openssl {arguments}: {said}");
    said
}

/// Whether openssl succeeded, and what it printed.
pub fn try_openssl(folder: &Path, arguments: &str) -> (bool, String) {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}
