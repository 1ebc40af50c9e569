use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leafgate_registry::StoreError;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::config::Settings;
use crate::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter than Vault's own (5 minutes), so that no request meets a connection that Vault is just closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest excerpt of what Vault says went wrong.
const MAX_ERRORS_CHARS: usize = 300;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// Sends single requests.
pub(crate) struct Http {
    client: Client,
    base: Url,
    /// Where connections live. They are shared by callers on runtimes of their own, any of which may stand still.
    runtime: Handle,
}

/// What Vault answered: a status below 300 with its JSON (`null` if there is none), or 400 or 404, which mean
/// different things in different places.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// What Vault says went wrong, ready to be appended to a sentence.
    pub(crate) fn errors(&self) -> String {
        let errors = self.body.get("errors").and_then(Value::as_array);
        let texts: Vec<_> = errors
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if texts.is_empty() {
            return String::new();
        }
        let text: String = texts
            .join("; ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let shown: String = text.chars().take(MAX_ERRORS_CHARS).collect();
        format!(" ({shown})")
    }
}

impl Http {
    pub(crate) fn new(settings: &Settings) -> Result<Self, StoreError> {
        let base = base_url(&settings.address)?;
        let mut headers = HeaderMap::new();
        // Vault's agent can be told to insist on it, against requests that a browser is tricked into.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = &settings.namespace {
            let value = HeaderValue::from_str(namespace).map_err(|_| {
                unsupported("the namespace of Vault must be printable ASCII".to_owned())
            })?;
            headers.insert(NAMESPACE, value);
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls(settings.ca_file.as_deref(), &base)?)
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(Duration::from_millis(settings.timeout_ms.into()))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(redirect::Policy::custom(follow))
            .no_proxy()
            .build()
            .map_err(|error| StoreError::unavailable("no HTTP client can be made", error))?;
        Ok(Self {
            client,
            base,
            runtime: Handle::current(),
        })
    }

    /// Where Vault is, for messages.
    pub(crate) fn address(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// Sends a request for a path below `/v1/`.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let unreachable = |source| Failure::Unreachable {
            address: self.address(),
            source,
        };
        let mut request = self.client.request(method.clone(), self.url(path));
        if let Some(token) = token {
            request = request.header(TOKEN, token.clone());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let exchange = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        let exchanged = self.runtime.spawn(exchange).await;
        let exchanged = exchanged.map_err(|ended| unreachable(Arc::new(ended)))?;
        let (status, bytes) =
            exchanged.map_err(|error| unreachable(Arc::new(error.without_url())))?;
        let answer = Answer {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        };
        let address = self.address();
        let errors = answer.errors();
        match status {
            200..300 | 400 | 404 => Ok(answer),
            403 => Err(Failure::Denied {
                address,
                method: method.to_string(),
                path: path.to_owned(),
                errors,
            }),
            503 if errors.contains("sealed") => Err(Failure::Sealed { address }),
            _ => Err(Failure::Unwell {
                address,
                status,
                errors,
            }),
        }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("an http URL has a path")
            .pop_if_empty()
            .push("v1")
            .extend(path.split('/'));
        url
    }
}

fn base_url(address: &str) -> Result<Url, StoreError> {
    let wrong = || {
        let what = "the address of Vault must be a URL such as https://vault.example:8200, without user and query";
        unsupported(what.to_owned())
    };
    let url = Url::parse(address).map_err(|_| wrong())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain && matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err(wrong())
    }
}

/// A standby may send requests on to the active node, token and all; never from HTTPS to HTTP.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let downgrade = attempt.url().scheme() != "https"
        && attempt.previous().iter().any(|url| url.scheme() == "https");
    if downgrade || attempt.previous().len() > 2 {
        attempt.stop()
    } else {
        attempt.follow()
    }
}

fn tls(ca_file: Option<&Path>, base: &Url) -> Result<ClientConfig, StoreError> {
    let mut roots = RootCertStore::empty();
    if base.scheme() == "https" {
        match ca_file {
            Some(path) => add_certificates(&mut roots, path)?,
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
        }
        if roots.is_empty() {
            return Err(unsupported(
                "there is no certificate to check Vault's with: set ca_file in [vault], or VAULT_CACERT".to_owned(),
            ));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has cipher suites of TLS 1.2 and 1.3");
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn add_certificates(roots: &mut RootCertStore, path: &Path) -> Result<(), StoreError> {
    let wrong = |problem: String| {
        unsupported(format!(
            "the certificates for Vault in {}: {problem}",
            path.display()
        ))
    };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it holds none, in PEM".to_owned()));
    }
    Ok(())
}

fn unsupported(what: String) -> StoreError {
    StoreError::Unsupported { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_plain_url() {
        for good in [
            "http://127.0.0.1:8200",
            "https://vault.example",
            "https://vault.example/prefix/",
        ] {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "vault.example:8200",
            "ftp://vault.example",
            "https://me:secret@vault.example",
            "https://vault.example/?token=secret",
        ] {
            let refused = base_url(wrong).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    #[tokio::test]
    async fn paths_go_below_the_address() {
        let settings = |address: &str| Settings {
            address: address.to_owned(),
            namespace: None,
            ca_file: None,
            log_in: crate::config::LogIn::With("t".into()),
            timeout_ms: 1,
        };
        let http = Http::new(&settings("http://vault.example/prefix/")).unwrap();
        let url = http.url("secret/data/devices/a:b~c d");
        assert_eq!(
            url.as_str(),
            "http://vault.example/prefix/v1/secret/data/devices/a:b~c%20d"
        );
    }

    #[test]
    fn errors_are_one_short_line() {
        let body = serde_json::json!({ "errors": ["2 errors:\n\t* denied\n", "x".repeat(1_000)] });
        let answer = Answer { status: 403, body };
        let errors = answer.errors();
        assert!(errors.starts_with(" (2 errors: * denied"), "{errors}");
        assert!(errors.len() < 400 && !errors.contains('\n'), "{errors}");
    }
}
