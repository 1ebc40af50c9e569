use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use leafgate_identity::{
    DeviceIdentity, ParseCertificateError, ParsedChain, ResolveIdentityError, TrustDomainName,
    TrustDomains, UnixMs, Validity, certificate_blocks,
};
use leafgate_runtime::{ReadTextError, TrustDomainConfig, read_text};
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

/// The certificates whose keys sign those of devices, of every trust domain, as its files have them.
#[derive(Debug)]
pub(crate) struct DeviceIssuers {
    config: Vec<TrustDomainConfig>,
    current: ArcSwap<Loaded>,
    /// Whether the files can't be used as they are.
    fault: AtomicBool,
}

#[derive(Debug)]
struct Loaded {
    /// The contents of all files.
    texts: Vec<String>,
    issuers: Vec<DeviceIssuer>,
    domains: Arc<TrustDomains>,
}

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
        Ok(Self {
            config: domains.to_vec(),
            current: ArcSwap::from_pointee(Loaded::read(domains)?),
            fault: AtomicBool::new(false),
        })
    }

    /// Reads the files again, and gives the trust domains if they have changed. Files that can't be used change nothing
    /// and are told of once. It blocks.
    pub(crate) fn reload(&self) -> Option<Arc<TrustDomains>> {
        match self.read_changed() {
            Ok(changed) => {
                self.fault.store(false, Ordering::Relaxed);
                let loaded = changed?;
                let domains = Arc::clone(&loaded.domains);
                self.current.store(Arc::new(loaded));
                Some(domains)
            }
            Err(error) => {
                if !self.fault.swap(true, Ordering::Relaxed) {
                    let error: &dyn std::error::Error = error.as_ref();
                    tracing::warn!(
                        error,
                        "the files of the trust domains' issuers can't be used; going on with what was read before"
                    );
                }
                None
            }
        }
    }

    fn read_changed(&self) -> anyhow::Result<Option<Loaded>> {
        if read_texts(&self.config)? == self.current.load().texts {
            return Ok(None);
        }
        Loaded::read(&self.config).map(Some)
    }

    /// The certificates of the issuers of one trust domain, or of all.
    pub(crate) fn certificates(
        &self,
        domain: Option<&TrustDomainName>,
    ) -> Vec<CertificateDer<'static>> {
        let current = self.current.load();
        let issuers = current.issuers.iter();
        issuers
            .filter(|issuer| domain.is_none_or(|domain| issuer.domain == *domain))
            .map(|issuer| issuer.der.clone())
            .collect()
    }

    /// Which device a certificate names, read as for a log-in, once it is shown that a known issuer signed it for client
    /// authentication. That it has expired is not held against it: for how long it may be renewed is the registrar's to
    /// judge.
    pub(crate) fn identify(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixMs,
    ) -> Result<DeviceIdentity, IdentifyDeviceError> {
        let block = Pem::new("CERTIFICATE", certificate.as_ref());
        let encoding = EncodeConfig::new().set_line_ending(LineEnding::LF);
        let pem = pem::encode_config(&block, encoding);
        let mut refusal = None;
        let current = self.current.load();
        for issuer in &current.issuers {
            let chain = match ParsedChain::parse(&[&pem, &issuer.pem]) {
                Ok(chain) => chain,
                Err(ParseCertificateError::IssuerOther { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            match issuer.verify(certificate, chain.leaf.validity(), now) {
                Ok(()) => return Ok(DeviceIdentity::resolve(&chain, &current.domains)?),
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

impl Loaded {
    fn read(config: &[TrustDomainConfig]) -> anyhow::Result<Self> {
        let texts = read_texts(config)?;
        let mut issuers = Vec::new();
        let files = config
            .iter()
            .flat_map(|domain| domain.issuers.iter().map(move |path| (domain, path)));
        for ((domain, path), text) in files.zip(&texts) {
            for block in certificate_blocks(text) {
                let issuer = DeviceIssuer::new(domain.name.parse()?, block.to_owned());
                issuers.push(issuer.with_context(|| path.display().to_string())?);
            }
        }
        let domains = config.iter().map(TrustDomainConfig::load);
        let domains: Result<Vec<_>, _> = domains.collect();
        let domains = domains.map_err(|error| anyhow::anyhow!(error))?;
        Ok(Self {
            texts,
            issuers,
            domains: Arc::new(TrustDomains::try_from(domains)?),
        })
    }
}

fn read_texts(config: &[TrustDomainConfig]) -> Result<Vec<String>, ReadTextError> {
    let files = config.iter().flat_map(|domain| &domain.issuers);
    files.map(|path| read_text(path)).collect()
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
