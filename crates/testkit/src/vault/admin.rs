use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// How often what is awaited is looked for, and how many times at most: for a minute.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const POLLS: u32 = 3_000;

/// A client that may do anything, and panics where Vault refuses.
#[derive(Debug, Clone)]
pub struct VaultAdmin {
    http: reqwest::Client,
    address: String,
    token: String,
    unseal_key: String,
}

impl VaultAdmin {
    pub(super) fn new(
        address: &str,
        root_token: &str,
        unseal_key: &str,
        ca_pem: Option<&str>,
    ) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default().as_bytes()) {
            let certificate = certificate.expect("a certificate in PEM");
            roots.add(certificate).expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions that the provider knows")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .build();
        Self {
            http: http.expect("a client"),
            address: address.to_owned(),
            token: root_token.to_owned(),
            unseal_key: unseal_key.to_owned(),
        }
    }

    /// The same client with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// Sends a request below `/v1/`, and gives the JSON of the answer, `null` if it has none.
    pub async fn request(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.try_request(method, path, body).await;
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        answer
    }

    /// Sends a request below `/v1/`, and gives the status and the JSON of the answer, `null` if it has none.
    pub async fn try_request(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let patches = method == Method::PATCH;
        let url = format!("{}/v1/{path}", self.address);
        let mut request = self
            .http
            .request(method, url)
            .header("X-Vault-Token", &self.token);
        if !body.is_null() {
            let media_type = match patches {
                true => "application/merge-patch+json",
                false => "application/json",
            };
            request = request
                .header("Content-Type", media_type)
                .body(body.to_string());
        }
        let response = request.send().await.expect("a running server");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a whole answer");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Mounts an empty KV version 2 engine where no other is, and gives its path.
    pub async fn mount_kv(&self) -> String {
        static MOUNTS: AtomicU32 = AtomicU32::new(0);
        let mount = format!("kv-{}", MOUNTS.fetch_add(1, Ordering::Relaxed));
        self.mount_kv_at(&mount).await;
        mount
    }

    /// Mounts an empty KV version 2 engine.
    pub async fn mount_kv_at(&self, mount: &str) {
        let engine = json!({ "type": "kv", "options": { "version": "2" } });
        self.request("POST", &format!("sys/mounts/{mount}"), engine)
            .await;
        // It answers 400 while it makes itself ready.
        let probe = format!("{mount}/data/probe");
        for _ in 0..POLLS {
            if self.try_request("GET", &probe, Value::Null).await.0 == 404 {
                return;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        panic!("{mount} does not get ready");
    }

    /// Writes a policy.
    pub async fn put_policy(&self, name: &str, hcl: &str) {
        let path = format!("sys/policies/acl/{name}");
        self.request("PUT", &path, json!({ "policy": hcl })).await;
    }

    /// Makes a token with these policies.
    pub async fn create_token(&self, policies: &[&str]) -> String {
        let wish = json!({ "policies": policies, "ttl": "1h" });
        let answer = self.request("POST", "auth/token/create", wish).await;
        let token = answer.pointer("/auth/client_token").and_then(Value::as_str);
        token.expect("a token").to_owned()
    }

    /// Seals it: it then refuses everything.
    pub async fn seal(&self) {
        self.request("PUT", "sys/seal", Value::Null).await;
    }

    /// Unseals it.
    pub async fn unseal(&self) {
        let key = json!({ "key": self.unseal_key });
        let answer = self.request("PUT", "sys/unseal", key).await;
        assert_eq!(answer["sealed"], false, "{answer}");
    }

    /// What a script would do: `vault kv put`, which replaces the whole document.
    pub async fn kv_put(&self, mount: &str, path: &str, data: Value) {
        let document = json!({ "data": data });
        self.request("POST", &format!("{mount}/data/{path}"), document)
            .await;
    }

    /// What a document holds.
    pub async fn kv_get(&self, mount: &str, path: &str) -> Value {
        let path = format!("{mount}/data/{path}");
        let answer = self.request("GET", &path, Value::Null).await;
        answer.pointer("/data/data").expect("a document").clone()
    }
}
