use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use super::algorithm::SigningAlgorithm;
use super::config::{OidcConfig, https_url};
use super::keys::{KeySet, ParseKeysError};

/// The longest document that is read, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// An OpenID provider, as far as its keys are concerned.
pub(super) struct Provider {
    client: Client,
    issuer: String,
    place: KeysPlace,
    accepted: Vec<SigningAlgorithm>,
    timeout: Duration,
}

/// Where the keys are.
enum KeysPlace {
    /// Here.
    Known(Url),
    /// Where this document says.
    Discovered(Url),
}

impl Provider {
    pub(super) fn new(config: &OidcConfig) -> Result<Self, OpenProviderError> {
        let place = match &config.jwks_url {
            Some(url) => KeysPlace::Known(url_of("jwks_url", url)?),
            None => KeysPlace::Discovered(discovery_url(&config.issuer)?),
        };
        // Known or discovered, the issuer is what `iss` is compared with.
        url_of("issuer", &config.issuer)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls(config.ca_file.as_deref())?)
            .https_only(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            // Between two readings every connection would have been closed by the other side.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(OpenProviderError::Client)?;
        Ok(Self {
            client,
            issuer: config.issuer.clone(),
            place,
            accepted: config.algorithms.clone(),
            timeout: config.timeout(),
        })
    }

    /// Who it is.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Reads the keys that count now.
    pub(super) async fn read_keys(&self) -> Result<KeySet, ReadKeysError> {
        let reading = tokio::time::timeout(self.timeout, self.read_keys_untimed());
        reading
            .await
            .unwrap_or(Err(ReadKeysError::Timeout(self.timeout)))
    }

    async fn read_keys_untimed(&self) -> Result<KeySet, ReadKeysError> {
        let url = match &self.place {
            KeysPlace::Known(url) => url.clone(),
            KeysPlace::Discovered(url) => self.discover(url).await?,
        };
        let json = self.get(&url).await?;
        KeySet::parse(&json, &self.accepted).map_err(|source| ReadKeysError::Keys { url, source })
    }

    /// OpenID Connect Discovery 1.0 section 4: where the keys are.
    async fn discover(&self, url: &Url) -> Result<Url, ReadKeysError> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        let json = self.get(url).await?;
        let document: Document = serde_json::from_slice(&json).map_err(|source| {
            let url = url.clone();
            ReadKeysError::Discovery { url, source }
        })?;
        if document.issuer != self.issuer {
            return Err(ReadKeysError::IssuerDiffers {
                url: url.clone(),
                issuer: document.issuer.chars().take(200).collect(),
            });
        }
        https_url(&document.jwks_uri).map_err(|rule| ReadKeysError::KeysUrl {
            url: url.clone(),
            rule,
        })
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, ReadKeysError> {
        let unreachable = |source: reqwest::Error| ReadKeysError::Unreachable {
            url: url.clone(),
            source: source.without_url(),
        };
        let mut response = self
            .client
            .get(url.clone())
            .send()
            .await
            .map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(ReadKeysError::Status {
                url: url.clone(),
                status: response.status(),
            });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(ReadKeysError::TooLong { url: url.clone() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn url_of(key: &'static str, text: &str) -> Result<Url, OpenProviderError> {
    https_url(text).map_err(|rule| OpenProviderError::Url { key, rule })
}

/// Below the issuer's path, not at the root of its host.
fn discovery_url(issuer: &str) -> Result<Url, OpenProviderError> {
    let url = url_of("issuer", issuer)?;
    if url.query().is_some() {
        let rule = "must have no query";
        return Err(OpenProviderError::Url {
            key: "issuer",
            rule,
        });
    }
    let issuer = issuer.trim_end_matches('/');
    url_of(
        "issuer",
        &format!("{issuer}/.well-known/openid-configuration"),
    )
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, OpenProviderError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => add_certificates(&mut roots, path)?,
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(OpenProviderError::NoRoots);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has cipher suites of TLS 1.2 and 1.3");
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn add_certificates(roots: &mut RootCertStore, path: &Path) -> Result<(), OpenProviderError> {
    let wrong = |problem: String| OpenProviderError::CaFile {
        path: path.to_owned(),
        problem,
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
        return Err(wrong("it holds no certificate in PEM".to_owned()));
    }
    Ok(())
}

/// Why a provider can't be used as configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenProviderError {
    #[error("{rule}")]
    Url {
        key: &'static str,
        rule: &'static str,
    },
    #[error("{}: {problem}", path.display())]
    CaFile { path: PathBuf, problem: String },
    #[error("must be set, since the system has no certificates to check the provider's with")]
    NoRoots,
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

impl OpenProviderError {
    /// The key of the configuration that it is about.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Url { key, .. } => key,
            Self::CaFile { .. } | Self::NoRoots => "ca_file",
            Self::Client(_) => "issuer",
        }
    }
}

/// Why a provider's keys could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadKeysError {
    #[error("{url} can't be reached")]
    Unreachable {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    #[error("there was no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("{url} answers with {status} in place of 200")]
    Status { url: Url, status: StatusCode },
    #[error("{url} answers with more than {MAX_BYTES} bytes")]
    TooLong { url: Url },
    #[error("{url} is no OpenID provider's configuration")]
    Discovery {
        url: Url,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "{url} is the configuration of another issuer, {issuer:?}: set issuer in [oidc] to it if it is the right one"
    )]
    IssuerDiffers { url: Url, issuer: String },
    #[error("jwks_uri in {url} {rule}")]
    KeysUrl { url: Url, rule: &'static str },
    #[error("{url} can't be used")]
    Keys {
        url: Url,
        #[source]
        source: ParseKeysError,
    },
}
