//! `[clients]`: scripts that are known by a certificate from a CA of its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leafgate_access::{Authority, Principal, Roles, Scope};
use leafgate_identity::{SpkiHash, TrustDomains, UnixMs, spki_hash_of_certificate_pem};
use leafgate_pki::CaDirectory;
use leafgate_registry::Actor;
use leafgate_runtime::{ReadTextError, SetUpProblems, read_text};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{CaConfig, Config};

/// `[clients]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientsConfig {
    /// The CA, in PEM: one that signs neither devices nor servers.
    pub ca_file: PathBuf,
    /// Who may do what.
    #[serde(default, rename = "grant")]
    pub grants: Vec<ClientGrantConfig>,
}

/// `[[clients.grant]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientGrantConfig {
    /// The common name of the certificate, exactly.
    pub common_name: String,
    /// The roles of its holder.
    pub roles: Roles,
    /// The devices that they reach. It has to be written, even where it is all of them: `scope.sites = "*"`.
    pub scope: Scope,
}

impl ClientsConfig {
    pub(crate) fn resolve_paths(&mut self, folder: &Path) {
        self.ca_file = folder.join(&self.ca_file);
    }
}

/// Tells who holds a client certificate.
pub(crate) struct ClientCertificates {
    verifier: Arc<dyn ClientCertVerifier>,
    /// The keys of those who sign devices and servers.
    foreign: Vec<SpkiHash>,
    grants: Vec<ClientGrantConfig>,
}

/// A good client certificate.
pub(crate) struct KnownClient {
    pub(crate) principal: Principal,
    /// When the certificate ends.
    pub(crate) expires_at: UnixMs,
}

/// Why a certificate lets nobody in.
#[derive(Debug)]
pub(crate) enum ClientRefusal {
    /// It is not of the CA for clients, or not in its time.
    Unverified,
    /// Nothing is granted to its name.
    GrantNone {
        /// The name.
        common_name: String,
    },
}

#[derive(Debug, thiserror::Error)]
enum LoadClientsError {
    #[error(transparent)]
    Read(#[from] ReadTextError),
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
}

impl ClientCertificates {
    pub(crate) fn load(
        config: &Config,
        domains: &TrustDomains,
        problems: &mut SetUpProblems,
    ) -> Option<Self> {
        let clients = config.clients.as_ref()?;
        for grant in &clients.grants {
            if grant.common_name.is_empty() || Actor::parse(&name_of(&grant.common_name)).is_err() {
                problems.add(format!(
                    "[[clients.grant]] common_name: {:?} can't be shown in the audit trail: write 1 to 100 visible ASCII characters",
                    grant.common_name
                ));
            }
        }
        let foreign = signers_of_others(config, domains);
        let verifier = verifier(&clients.ca_file, &foreign).map_err(Into::into);
        Some(Self {
            verifier: problems.note("[clients] ca_file", verifier)?,
            foreign,
            grants: clients.grants.clone(),
        })
    }

    /// Who holds the key of the first of these certificates, which was proven.
    pub(crate) fn identify(
        &self,
        certificates: &[CertificateDer<'_>],
        now: UnixMs,
    ) -> Result<KnownClient, ClientRefusal> {
        let (own, others) = certificates
            .split_first()
            .ok_or(ClientRefusal::Unverified)?;
        let since_epoch = u64::try_from(now.as_i64()).map_or(Duration::ZERO, Duration::from_millis);
        let now = UnixTime::since_unix_epoch(since_epoch);
        self.verifier
            .verify_client_cert(own, others, now)
            .map_err(|_| ClientRefusal::Unverified)?;
        // Should the CA have signed an issuer of devices: a device is no client.
        if others.iter().any(|other| self.signs_others(other)) {
            return Err(ClientRefusal::Unverified);
        }
        let (_, parsed) = X509Certificate::from_der(own).map_err(|_| ClientRefusal::Unverified)?;
        let mut names = parsed.subject().iter_common_name();
        let (Some(Ok(common_name)), None) = (names.next().map(|name| name.as_str()), names.next())
        else {
            return Err(ClientRefusal::Unverified);
        };
        let grant = self.grants.iter().find(|it| it.common_name == common_name);
        let grant = grant.ok_or_else(|| ClientRefusal::GrantNone {
            common_name: common_name.to_owned(),
        })?;
        Ok(KnownClient {
            principal: Principal {
                name: name_of(common_name),
                authority: Authority {
                    roles: grant.roles.clone(),
                    scope: grant.scope.clone(),
                },
            },
            expires_at: UnixMs::from_secs(parsed.validity().not_after.timestamp()),
        })
    }

    fn signs_others(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return true;
        };
        let spki = SpkiHash::of_spki_der(parsed.public_key().raw);
        self.foreign.contains(&spki)
    }
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificates")
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

/// The name in the audit trail and the log.
fn name_of(common_name: &str) -> String {
    format!("client:{common_name}")
}

fn verifier(
    path: &Path,
    foreign: &[SpkiHash],
) -> Result<Arc<dyn ClientCertVerifier>, LoadClientsError> {
    let text = read_text(path)?;
    let no_certificate = |source| LoadClientsError::NoCertificate {
        path: path.to_owned(),
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| no_certificate(Some(error)))?;
    if certificates.is_empty() {
        return Err(no_certificate(None));
    }
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| LoadClientsError::Unusable {
        path: path.to_owned(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|error| unusable(error.into()))?;
        let spki = SpkiHash::of_spki_der(parsed.public_key().raw);
        if foreign.contains(&spki) {
            let path = path.to_owned();
            return Err(LoadClientsError::Shared { path });
        }
        roots
            .add(certificate)
            .map_err(|error| unusable(error.into()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error: VerifierBuilderError| unusable(error.into()))
}

/// The keys of the root of the service's own CA and of every issuer of devices.
fn signers_of_others(config: &Config, domains: &TrustDomains) -> Vec<SpkiHash> {
    let issuers = domains.iter().flat_map(|domain| &domain.issuers);
    let mut keys: Vec<SpkiHash> = issuers.copied().collect();
    // Whoever loads the CA says what is wrong with it.
    let root = match &config.ca {
        CaConfig::Dir(dir) => CaDirectory::open(dir).map(|ca| ca.root_certificate()).ok(),
        CaConfig::Vault(vault) => vault.root_file.clone(),
    };
    let pem = root.and_then(|root| read_text(&root).ok());
    keys.extend(pem.and_then(|pem| spki_hash_of_certificate_pem(&pem).ok()));
    keys
}
