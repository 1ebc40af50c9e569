use std::path::Path;

use leafgate_api::{IssuedCertificate, Renew};
use leafgate_identity::{DeviceId, Fingerprint};
use reqwest::Method;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};

use super::arguments::Place;
use super::local::LocalRegistry;
use super::remote::{Access, ClientCertificate, parse_url};
use super::{RegistryAddress, RegistryArguments};
use crate::cli::Context;
use crate::cli::error::CliError;

/// A certificate with its key, by which a device shows who it is.
pub(crate) struct Presented {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Presented {
    /// From the PEM of a chain, the device's own certificate first, and of its key.
    pub(crate) fn parse(chain_pem: &str, key_pem: &SecretString) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes());
        let chain: Vec<_> = chain
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the certificate can't be read: {error}"))?;
        if chain.is_empty() {
            return Err("there is no certificate in PEM".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem.expose_secret().as_bytes())
            .map_err(|_| "there is no private key in PEM".to_owned())?;
        Ok(Self { chain, key })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_certificate_der(&self.chain[0])
    }
}

impl RegistryAddress {
    /// Renews a device's certificate on the device's own behalf: the certificate that it presents is all the right that
    /// it needs.
    pub(crate) async fn renew(
        &self,
        context: &Context,
        id: &DeviceId,
        presented: Presented,
        csr_pem: &str,
    ) -> Result<IssuedCertificate, CliError> {
        match self.place(&context.environment)? {
            Place::Folder(dir) => {
                let registry = LocalRegistry::new(RegistryArguments { dir }, context);
                registry.renew(id, &presented.fingerprint(), csr_pem).await
            }
            Place::Api { url, ca_file, .. } => {
                renew_at(&url, ca_file.as_deref(), presented, csr_pem).await
            }
        }
    }
}

/// Renews a certificate at a registry API, by nothing but the certificate itself.
pub(crate) async fn renew_at(
    url: &str,
    ca_file: Option<&Path>,
    presented: Presented,
    csr_pem: &str,
) -> Result<IssuedCertificate, CliError> {
    let Presented { chain, key } = presented;
    let own = Some(ClientCertificate { chain, key });
    let access = Access::with_client_certificate(&parse_url(url)?, ca_file, own)?;
    let csr = csr_pem.to_owned();
    let request = access.request(Method::POST, &["renew"]);
    request.json(&Renew { csr })?.read().await
}
