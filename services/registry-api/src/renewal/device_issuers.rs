use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use leafgate_identity::{
    DeviceIdentity, ParseCertificateError, ParsedChain, ResolveIdentityError, TrustDomainName,
    TrustDomains, UnixMs, Validity,
};
use leafgate_runtime::{TrustDomainConfig, read_text};
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

/// The certificates whose keys sign those of devices, of every trust domain.
#[derive(Debug)]
pub(crate) struct DeviceIssuers(Vec<DeviceIssuer>);

#[derive(Debug)]
struct DeviceIssuer {
    domain: TrustDomainName,
    pem: String,
    der: CertificateDer<'static>,
    /// Trusts this certificate alone.
    verifier: Arc<dyn ClientCertVerifier>,
}

impl DeviceIssuers {
    /// Reads the certificates that the trust domains name.
    pub(crate) fn load(domains: &[TrustDomainConfig]) -> anyhow::Result<Self> {
        let mut issuers = Vec::new();
        for domain in domains {
            for path in &domain.issuers {
                let issuer = DeviceIssuer::new(domain.name.parse()?, read_text(path)?);
                issuers.push(issuer.with_context(|| path.display().to_string())?);
            }
        }
        Ok(Self(issuers))
    }

    /// The certificates of the issuers of one trust domain, or of all.
    pub(crate) fn certificates<'a>(
        &'a self,
        domain: Option<&'a TrustDomainName>,
    ) -> impl Iterator<Item = &'a CertificateDer<'static>> {
        self.0
            .iter()
            .filter(move |issuer| domain.is_none_or(|domain| issuer.domain == *domain))
            .map(|issuer| &issuer.der)
    }

    /// Which device a certificate names, read as for a log-in, once it is shown that a known issuer signed it for client
    /// authentication. That it has expired is not held against it: for how long it may be renewed is the registrar's to
    /// judge.
    pub(crate) fn identify(
        &self,
        certificate: &CertificateDer<'_>,
        domains: &TrustDomains,
        now: UnixMs,
    ) -> Result<DeviceIdentity, IdentifyDeviceError> {
        let block = Pem::new("CERTIFICATE", certificate.as_ref());
        let encoding = EncodeConfig::new().set_line_ending(LineEnding::LF);
        let pem = pem::encode_config(&block, encoding);
        let mut refusal = None;
        for issuer in &self.0 {
            let chain = match ParsedChain::parse(&[&pem, &issuer.pem]) {
                Ok(chain) => chain,
                Err(ParseCertificateError::IssuerOther { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            match issuer.verify(certificate, chain.leaf.validity(), now) {
                Ok(()) => return Ok(DeviceIdentity::resolve(&chain, domains)?),
                // Another issuer may have the same name, as the next one of a rotation.
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.map_or(
            IdentifyDeviceError::IssuerUnknown,
            IdentifyDeviceError::Unverified,
        ))
    }
}

impl DeviceIssuer {
    fn new(domain: TrustDomainName, pem: String) -> anyhow::Result<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())?;
        let mut roots = RootCertStore::empty();
        roots.add(der.clone())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self {
            domain,
            pem,
            der,
            verifier,
        })
    }

    /// Checks everything about a certificate that this issuer is to have signed, at the present or, if it has ended by
    /// then, at its last moment.
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        validity: Validity,
        now: UnixMs,
    ) -> Result<(), rustls::Error> {
        let at = now.min(validity.not_after).as_secs();
        let at = Duration::from_secs(u64::try_from(at).unwrap_or(0));
        let at = UnixTime::since_unix_epoch(at);
        let verified = self.verifier.verify_client_cert(certificate, &[], at);
        verified.map(drop)
    }
}

/// Why a client certificate shows nobody to be a device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentifyDeviceError {
    #[error("the certificate is none of a device")]
    Form(#[from] ParseCertificateError),
    #[error("the certificate is signed by none of the issuers that the trust domains here name")]
    IssuerUnknown,
    #[error("the certificate does not pass")]
    Unverified(#[source] rustls::Error),
    #[error(transparent)]
    Name(#[from] ResolveIdentityError),
}
