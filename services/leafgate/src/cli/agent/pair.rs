use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::{Fingerprint, SerialNumber, UnixMs, Validity};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// A certificate with its chain, and the key that belongs to it.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) chain_pem: String,
    pub(crate) key_pem: SecretString,
    pub(crate) common_name: String,
    pub(crate) serial: SerialNumber,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) validity: Validity,
    chain: Vec<CertificateDer<'static>>,
}

impl Pair {
    /// Reads the PEM of both, and checks that they belong together.
    pub(crate) fn parse(chain_pem: String, key_pem: SecretString) -> Result<Self, PairError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain_pem.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|_| PairError::NoCertificate)?;
        let leaf = chain.first().cloned().ok_or(PairError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.expose_secret().as_bytes())
            .map_err(|_| PairError::NoKey)?;
        CertifiedKey::from_der(chain.clone(), key, &aws_lc_rs::default_provider())
            .map_err(PairError::Mismatch)?;
        let (_, certificate) =
            X509Certificate::from_der(&leaf).map_err(|_| PairError::NoCertificate)?;
        let mut names = certificate.subject().iter_common_name();
        let (Some(Ok(common_name)), None) = (names.next().map(|name| name.as_str()), names.next())
        else {
            return Err(PairError::NoName);
        };
        let common_name = common_name.to_owned();
        let serial = SerialNumber::from_be_bytes(certificate.raw_serial())
            .map_err(|_| PairError::NoCertificate)?;
        let validity = Validity {
            not_before: UnixMs::from_secs(certificate.validity().not_before.timestamp()),
            not_after: UnixMs::from_secs(certificate.validity().not_after.timestamp()),
        };
        Ok(Self {
            fingerprint: Fingerprint::of_certificate_der(&leaf),
            chain_pem,
            key_pem,
            common_name,
            serial,
            validity,
            chain,
        })
    }

    /// Checks that whoever trusts `roots` accepts the certificate at this time, by the chain that comes with it.
    pub(crate) fn verify(&self, roots: RootCertStore, now: UnixMs) -> Result<(), PairError> {
        // Devices and servers alike present themselves as clients somewhere: to a nats-server, a hub or a route.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| PairError::Untrusted(rustls::Error::General(error.to_string())))?;
        let secs = u64::try_from(now.as_secs()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(secs));
        let (leaf, chain) = self.chain.split_first().ok_or(PairError::NoCertificate)?;
        verifier
            .verify_client_cert(leaf, chain, now)
            .map(drop)
            .map_err(PairError::Untrusted)
    }
}

/// Why a certificate and a key are not to be used together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error("there is no certificate in PEM")]
    NoCertificate,
    #[error("there is no private key in PEM")]
    NoKey,
    #[error("the certificate has not exactly one common name")]
    NoName,
    #[error("the key is not that of the certificate")]
    Mismatch(#[source] rustls::Error),
    #[error("the certificate is not accepted by who trusts the root alone")]
    Untrusted(#[source] rustls::Error),
}
