use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::{SpkiHash, UnixMs};
use leafgate_runtime::{ReadTextError, read_text};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

/// The files with the CA of clients and its revocation lists.
pub(super) struct CaFiles {
    pub(super) ca: PathBuf,
    pub(super) lists: Option<PathBuf>,
    /// The keys of those who sign devices and servers.
    pub(super) foreign: Vec<SpkiHash>,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
pub(super) struct Content {
    ca: String,
    lists: Option<String>,
}

/// The CA of clients.
pub(super) struct ClientCa {
    verifier: Arc<dyn ClientCertVerifier>,
    /// When the first of its revocation lists ends.
    pub(super) lists_end: Option<UnixMs>,
}

/// Why a certificate does not count.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotVerified {
    /// Its CA has revoked it.
    Revoked,
    /// It is of the CA, but there is no good list that tells of it.
    RevocationUnknown,
    /// It is not of the CA, not in its time, or not for clients.
    Other,
}

impl ClientCa {
    /// Checks a certificate with those that were presented beside it.
    pub(super) fn verify(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixMs,
    ) -> Result<(), NotVerified> {
        let since_epoch = u64::try_from(now.as_i64()).map_or(Duration::ZERO, Duration::from_millis);
        let now = UnixTime::since_unix_epoch(since_epoch);
        let verified = self.verifier.verify_client_cert(own, others, now);
        verified.map(|_| ()).map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::Revoked) => NotVerified::Revoked,
            Error::InvalidCertificate(
                CertificateError::UnknownRevocationStatus
                | CertificateError::ExpiredRevocationList
                | CertificateError::ExpiredRevocationListContext { .. },
            )
            | Error::InvalidCertRevocationList(_) => NotVerified::RevocationUnknown,
            _ => NotVerified::Other,
        })
    }
}

impl CaFiles {
    /// Reads the files and what is in them.
    pub(super) fn open(&self) -> Result<(Content, ClientCa), LoadClientsError> {
        let read = self.read()?;
        let ca = self.parse(&read)?;
        Ok((read, ca))
    }

    pub(super) fn read(&self) -> Result<Content, LoadClientsError> {
        let lists = self.lists.as_ref().map(|path| read_text(path));
        Ok(Content {
            ca: read_text(&self.ca).map_err(LoadClientsError::ReadCa)?,
            lists: lists.transpose().map_err(LoadClientsError::ReadLists)?,
        })
    }

    pub(super) fn parse(&self, content: &Content) -> Result<ClientCa, LoadClientsError> {
        let (roots, names) = self.roots(&content.ca)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let mut lists_end = None;
        if let (Some(path), Some(text)) = (&self.lists, &content.lists) {
            let lists = Lists::parse(path, text)?;
            if let Some(name) = names.iter().find(|name| !lists.issuers.contains(name)) {
                let (path, ca) = (path.clone(), self.ca.clone());
                let name = name.shown.clone();
                return Err(LoadClientsError::ListMissing { path, ca, name });
            }
            lists_end = lists.end;
            verifier = verifier
                .with_crls(lists.ders)
                .enforce_revocation_expiration();
        }
        let verifier = verifier.build().map_err(|error| match &self.lists {
            Some(path) => LoadClientsError::ListUnusable {
                path: path.clone(),
                source: error.into(),
            },
            None => self.unusable(error.into()),
        })?;
        Ok(ClientCa {
            verifier,
            lists_end,
        })
    }

    fn roots(&self, text: &str) -> Result<(RootCertStore, Vec<Name>), LoadClientsError> {
        let no_certificate = |source| LoadClientsError::NoCertificate {
            path: self.ca.clone(),
            source,
        };
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| no_certificate(Some(error)))?;
        if certificates.is_empty() {
            return Err(no_certificate(None));
        }
        let (mut roots, mut names) = (RootCertStore::empty(), Vec::new());
        for certificate in certificates {
            let (_, parsed) = X509Certificate::from_der(&certificate)
                .map_err(|error| self.unusable(error.into()))?;
            if self.foreign.contains(&key_in(&parsed)) {
                let path = self.ca.clone();
                return Err(LoadClientsError::Shared { path });
            }
            names.push(Name::of(parsed.subject()));
            roots
                .add(certificate)
                .map_err(|error| self.unusable(error.into()))?;
        }
        Ok((roots, names))
    }

    fn unusable(&self, source: Box<dyn std::error::Error + Send + Sync>) -> LoadClientsError {
        LoadClientsError::Unusable {
            path: self.ca.clone(),
            source,
        }
    }
}

/// A name of a CA.
struct Name {
    der: Vec<u8>,
    shown: String,
}

impl Name {
    fn of(name: &x509_parser::x509::X509Name<'_>) -> Self {
        Self {
            der: name.as_raw().to_vec(),
            shown: name.to_string(),
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

/// Revocation lists as a file has them. Their signatures are checked with each certificate.
struct Lists {
    ders: Vec<CertificateRevocationListDer<'static>>,
    issuers: Vec<Name>,
    /// When the first of them ends.
    end: Option<UnixMs>,
}

impl Lists {
    fn parse(path: &Path, text: &str) -> Result<Self, LoadClientsError> {
        let no_list = |source| LoadClientsError::NoList {
            path: path.to_owned(),
            source,
        };
        let ders: Vec<_> = CertificateRevocationListDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| no_list(Some(error)))?;
        if ders.is_empty() {
            return Err(no_list(None));
        }
        let (mut issuers, mut end) = (Vec::new(), None);
        for der in &ders {
            let (_, list) = CertificateRevocationList::from_der(der).map_err(|error| {
                LoadClientsError::ListUnusable {
                    path: path.to_owned(),
                    source: error.into(),
                }
            })?;
            issuers.push(Name::of(list.issuer()));
            let next_update = list.next_update();
            let next_update = next_update.map(|at| UnixMs::from_secs(at.timestamp()));
            end = [end, next_update].into_iter().flatten().min();
        }
        Ok(Self { ders, issuers, end })
    }
}

/// The key of a certificate; `None` if it can't be read.
pub(super) fn key_of(certificate: &CertificateDer<'_>) -> Option<SpkiHash> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(key_in(&parsed))
}

fn key_in(certificate: &X509Certificate<'_>) -> SpkiHash {
    SpkiHash::of_spki_der(certificate.public_key().raw)
}

/// Why the files can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadClientsError {
    #[error(transparent)]
    ReadCa(ReadTextError),
    #[error(transparent)]
    ReadLists(ReadTextError),
    #[error("{} holds no certificate in PEM", path.display())]
    NoCertificate {
        path: PathBuf,
        #[source]
        source: Option<pem::Error>,
    },
    #[error("{} holds a certificate that can't verify others", path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{} is a CA of devices or servers: clients need one of their own, or every device would be one", path.display())]
    Shared { path: PathBuf },
    #[error("{} holds no revocation list in PEM (BEGIN X509 CRL): openssl crl -inform DER makes it of one in DER", path.display())]
    NoList {
        path: PathBuf,
        #[source]
        source: Option<pem::Error>,
    },
    #[error("{} holds a revocation list that can't be used: it must be of version 2, complete, and name its next update (RFC 5280 section 5)", path.display())]
    ListUnusable {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{} holds no revocation list of {name:?}, the CA in {}: nobody could log in by it", path.display(), ca.display())]
    ListMissing {
        path: PathBuf,
        ca: PathBuf,
        name: String,
    },
}

impl LoadClientsError {
    /// The key of the configuration that it is about.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::ReadCa(_)
            | Self::NoCertificate { .. }
            | Self::Unusable { .. }
            | Self::Shared { .. } => "ca_file",
            Self::ReadLists(_)
            | Self::NoList { .. }
            | Self::ListUnusable { .. }
            | Self::ListMissing { .. } => "crl_file",
        }
    }
}
