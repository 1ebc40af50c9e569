use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use leafgate_runtime::{ReadSecretError, ReadTextError, Shutdown, read_secret, read_text};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};
use tokio_rustls::TlsAcceptor;

use super::client_certificate::AnyClientCertificate;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The server's certificate and key in two files, which may be replaced while it serves.
pub(crate) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    read: Content,
    current: Arc<Current>,
}

/// What was read last, whether it could be used or not.
struct Content {
    certificate: String,
    key: SecretString,
}

/// The certificate that new connections are served with.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Why a certificate and its key can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadTlsError {
    /// The certificate can't be read.
    #[error(transparent)]
    Certificate(#[from] ReadTextError),
    /// The key can't be read.
    #[error(transparent)]
    Key(#[from] ReadSecretError),
    /// The file holds no certificates.
    #[error("{} holds no certificate in PEM", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        #[source]
        source: Option<pem::Error>,
    },
    /// The file holds no key.
    #[error("{} holds no private key in PEM (PKCS #8, SEC 1 or PKCS #1)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    /// They don't go together.
    #[error("the key in {} is not that of the certificate in {}, or of a kind that TLS can't use", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
}

impl TlsFiles {
    /// Reads both files.
    pub(crate) fn open(certificate: &Path, key: &Path) -> Result<Self, LoadTlsError> {
        let read = Content::read(certificate, key)?;
        let certified = read.parse(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            read,
            current: Arc::new(Current(ArcSwap::from_pointee(certified))),
        })
    }

    /// What serves TLS 1.2 and 1.3 with the certificate as it is at each handshake.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, rustls::Error> {
        let provider = provider();
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(AnyClientCertificate::new(provider)))
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Follows the files until `shutdown`. Content that can't be used changes nothing and is told once.
    pub(crate) async fn follow(mut self, shutdown: Shutdown) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while shutdown.run_until_cancelled(looks.tick()).await.is_some() {
            self = match tokio::task::spawn_blocking(move || self.look()).await {
                Ok(looked) => looked,
                Err(_) => return,
            };
        }
    }

    fn look(mut self) -> Self {
        match self.reload() {
            Ok(false) => {}
            Ok(true) => tracing::info!(
                file = %self.certificate.display(),
                "serving with another certificate"
            ),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the TLS files changed and can't be used; still serving with the certificate before"
            ),
        }
        self
    }

    /// Whether another certificate is served now. A file that is missing for a moment, as while it is being replaced,
    /// is no change.
    fn reload(&mut self) -> Result<bool, LoadTlsError> {
        let Ok(read) = Content::read(&self.certificate, &self.key) else {
            return Ok(false);
        };
        if read.equals(&self.read) {
            return Ok(false);
        }
        let parsed = read.parse(&self.certificate, &self.key);
        self.read = read;
        self.current.0.store(Arc::new(parsed?));
        Ok(true)
    }
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Content {
    fn read(certificate: &Path, key: &Path) -> Result<Self, LoadTlsError> {
        Ok(Self {
            certificate: read_text(certificate)?,
            key: read_secret(key)?,
        })
    }

    fn equals(&self, other: &Self) -> bool {
        self.certificate == other.certificate
            && self.key.expose_secret() == other.key.expose_secret()
    }

    fn parse(&self, certificate: &Path, key: &Path) -> Result<CertifiedKey, LoadTlsError> {
        let no_certificate = |source| LoadTlsError::NoCertificate {
            path: certificate.to_owned(),
            source,
        };
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(self.certificate.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|source| no_certificate(Some(source)))?;
        if chain.is_empty() {
            return Err(no_certificate(None));
        }
        let private = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes()).map_err(
            |source| LoadTlsError::NoKey {
                path: key.to_owned(),
                source,
            },
        )?;
        CertifiedKey::from_der(chain, private, &provider()).map_err(|source| {
            LoadTlsError::Mismatch {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                source,
            }
        })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
