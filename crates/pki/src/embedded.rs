use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use leafgate_identity::{SpkiHash, UnixMs};
use rcgen::KeyPair;
use zeroize::Zeroizing;

use crate::authority::{Authority, JoinAuthorityError};
use crate::files::{ReadCaFileError, read_certificate, read_key};
use crate::issuer::{
    IssueError, Issued, Issuer, PrepareError, Prepared, RevokedEntry, SignCrlError,
};
use crate::ocsp::{OcspResponseData, SignOcspError};
use crate::profile::Profile;
use crate::public_key::PublicKeyInfo;
use crate::serial::{RandomSerials, SerialSource};
use crate::status_url::StatusUrls;

/// An issuing intermediate whose key this process holds.
pub struct EmbeddedCa {
    authority: Authority,
    serials: Arc<dyn SerialSource>,
    status: Option<StatusUrls>,
}

impl EmbeddedCa {
    /// Reads an intermediate's certificate (PEM) and private key (PKCS #8 PEM, unencrypted).
    ///
    /// # Errors
    /// A file can't be read, the key file is open to others, or the two don't make a CA.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, LoadCaError> {
        Self::join(&read_certificate(certificate)?, read_key(key)?, certificate)
    }

    /// `certificate` is the file that the certificate was in.
    pub(crate) fn join(
        certificate_der: &[u8],
        key: Zeroizing<KeyPair>,
        certificate: &Path,
    ) -> Result<Self, LoadCaError> {
        let authority =
            Authority::new(certificate_der, key).map_err(|source| LoadCaError::Join {
                certificate: certificate.display().to_string(),
                source,
            })?;
        Ok(Self {
            authority,
            serials: Arc::new(RandomSerials),
            status: None,
        })
    }

    /// Writes into every certificate where its status is to be had.
    #[must_use]
    pub fn with_status_urls(mut self, urls: StatusUrls) -> Self {
        self.status = Some(urls);
        self
    }

    /// Takes its serial numbers from `serials` instead of the system's random numbers.
    #[must_use]
    pub fn with_serials(mut self, serials: Arc<dyn SerialSource>) -> Self {
        self.serials = serials;
        self
    }
}

#[async_trait]
impl Issuer for EmbeddedCa {
    fn spki(&self) -> SpkiHash {
        self.authority.spki()
    }

    fn certificate_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    fn prepare(
        &self,
        profile: Profile,
        key: PublicKeyInfo,
        now: UnixMs,
    ) -> Result<Prepared, PrepareError> {
        self.authority
            .prepare(profile, key, now, self.serials.as_ref())
    }

    async fn issue(&self, prepared: Prepared) -> Result<Issued, IssueError> {
        self.authority.issue(&prepared, self.status.as_ref())
    }

    async fn sign_crl(
        &self,
        entries: &[RevokedEntry],
        number: u64,
        now: UnixMs,
        next_update: UnixMs,
    ) -> Result<Vec<u8>, SignCrlError> {
        self.authority.sign_crl(entries, number, now, next_update)
    }

    async fn sign_ocsp(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError> {
        self.authority.sign_ocsp(data)
    }
}

impl fmt::Debug for EmbeddedCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedCa")
            .field("spki", &self.authority.spki())
            .finish_non_exhaustive()
    }
}

/// Why a CA could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadCaError {
    /// One of its files can't be used.
    #[error(transparent)]
    File(#[from] ReadCaFileError),
    /// The certificate and the key don't make a CA.
    #[error("{certificate} can't be used as a CA")]
    Join {
        /// The certificate's file.
        certificate: String,
        /// What is wrong with it.
        #[source]
        source: JoinAuthorityError,
    },
    /// There is no key for any of the certificates.
    #[error("no key in {} belongs to a certificate in {}", folder.display(), certificates.display())]
    KeyMissing {
        /// The CA's folder.
        folder: PathBuf,
        /// The certificates' file.
        certificates: PathBuf,
    },
}
