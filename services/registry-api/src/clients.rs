//! `[clients]`: scripts that are known by a certificate from a CA of its own.

mod ca;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use leafgate_access::{Authority, Principal, Roles, Scope};
use leafgate_identity::{SpkiHash, TrustDomains, UnixMs};
use leafgate_pki::{CaDirectory, Intermediate};
use leafgate_registry::Actor;
use leafgate_runtime::{SetUpProblems, Shutdown, read_text};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use self::ca::{CaFiles, ClientCa, Content, LoadClientsError, NotVerified};
use crate::config::{CaConfig, Config};
use crate::issuers;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// `[clients]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientsConfig {
    /// The CA, in PEM: one that signs neither devices nor servers. It is read again when it changes.
    pub ca_file: PathBuf,
    /// The revocation lists of every CA between a client and the one in `ca_file`, and of that one, in PEM; without it no
    /// client certificate is ever taken as revoked. It is read again when it changes. A list whose next update is
    /// overdue says nothing any more, and no certificate that it would be about counts.
    pub crl_file: Option<PathBuf>,
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
        if let Some(path) = &mut self.crl_file {
            *path = folder.join(&*path);
        }
    }
}

/// Tells who holds a client certificate.
pub(crate) struct ClientCertificates {
    files: CaFiles,
    /// What was read last, whether it could be used or not.
    read: Mutex<Content>,
    ca: ArcSwap<ClientCa>,
    grants: Vec<ClientGrantConfig>,
}

/// Why a certificate lets nobody in.
#[derive(Debug)]
pub(crate) enum ClientRefusal {
    /// It is not of the CA for clients, or not in its time.
    Unverified,
    /// Its CA has revoked it.
    Revoked,
    /// No list tells whether it is revoked.
    RevocationUnknown,
    /// Nothing is granted to its name.
    GrantNone {
        /// The name.
        common_name: String,
    },
}

impl ClientCertificates {
    pub(crate) fn load(
        config: &Config,
        domains: &TrustDomains,
        problems: &mut SetUpProblems,
    ) -> Option<Self> {
        let clients = config.clients.as_ref()?;
        check_grants(&clients.grants, problems);
        let files = CaFiles {
            ca: clients.ca_file.clone(),
            lists: clients.crl_file.clone(),
            foreign: signers_of_others(config, domains),
        };
        let (read, ca) = match files.open() {
            Ok(opened) => opened,
            Err(error) => {
                let place = format!("[clients] {}", error.key());
                return problems.note(&place, Err(error.into()));
            }
        };
        Some(Self {
            files,
            read: Mutex::new(read),
            ca: ArcSwap::from_pointee(ca),
            grants: clients.grants.clone(),
        })
    }

    /// The same, once it is known who signs devices and servers here.
    ///
    /// # Errors
    /// One of them is the CA for clients.
    pub(crate) fn apart_from(
        mut self,
        authority: &issuers::Authority,
    ) -> Result<Self, LoadClientsError> {
        let issuers = authority.issuers.all();
        self.files
            .foreign
            .extend(issuers.iter().map(|it| it.spki()));
        let root = authority.root_certificate_pem.as_bytes();
        self.files.foreign.extend(keys_in(root));
        let (read, ca) = self.files.open()?;
        self.read = Mutex::new(read);
        self.ca = ArcSwap::from_pointee(ca);
        Ok(self)
    }

    /// Follows the files until `shutdown`. Content that can't be used changes nothing and is told once.
    pub(crate) async fn follow(self: Arc<Self>, shutdown: Shutdown) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while shutdown.run_until_cancelled(looks.tick()).await.is_some() {
            let looking = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || looking.look())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn look(&self) {
        // A file that is missing for a moment, as while it is being replaced, is no change.
        let Ok(read) = self.files.read() else {
            return;
        };
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read == *last {
            return;
        }
        match self.files.parse(&read) {
            Ok(ca) => {
                self.ca.store(Arc::new(ca));
                tracing::info!(
                    file = %self.files.ca.display(),
                    "verifying clients by another CA or other revocation lists"
                );
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the files of [clients] changed and can't be used; still verifying clients by those before"
            ),
        }
        *last = read;
    }

    /// When the first of the revocation lists ends, if that was before now.
    pub(crate) fn lists_ended(&self, now: UnixMs) -> Option<UnixMs> {
        self.ca.load().lists_end.filter(|end| *end <= now)
    }

    /// Who holds the key of the first of these certificates, which was proven.
    pub(crate) fn identify(
        &self,
        certificates: &[CertificateDer<'_>],
        now: UnixMs,
    ) -> Result<Principal, ClientRefusal> {
        let (own, others) = certificates
            .split_first()
            .ok_or(ClientRefusal::Unverified)?;
        self.ca.load().verify(own, others, now)?;
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
        Ok(Principal {
            name: name_of(common_name),
            authority: Authority {
                roles: grant.roles.clone(),
                scope: grant.scope.clone(),
            },
        })
    }

    fn signs_others(&self, certificate: &CertificateDer<'_>) -> bool {
        ca::key_of(certificate).is_none_or(|key| self.files.foreign.contains(&key))
    }
}

impl From<NotVerified> for ClientRefusal {
    fn from(why: NotVerified) -> Self {
        match why {
            NotVerified::Revoked => Self::Revoked,
            NotVerified::RevocationUnknown => Self::RevocationUnknown,
            NotVerified::Other => Self::Unverified,
        }
    }
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificates")
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

fn check_grants(grants: &[ClientGrantConfig], problems: &mut SetUpProblems) {
    let mut names = BTreeSet::new();
    for ClientGrantConfig {
        common_name, roles, ..
    } in grants
    {
        let mut check = |good: bool, rule: &str| {
            if !good {
                problems.add(format!(
                    "[[clients.grant]] common_name {common_name:?}: {rule}"
                ));
            }
        };
        check(
            !common_name.is_empty() && Actor::parse(&name_of(common_name)).is_ok(),
            "can't be shown in the audit trail: write 1 to 100 visible ASCII characters",
        );
        check(
            names.insert(common_name),
            "must be there once: of two grants the second would never count",
        );
        check(!roles.is_empty(), "roles must name one at least");
    }
}

/// The name in the audit trail and the log.
fn name_of(common_name: &str) -> String {
    format!("client:{common_name}")
}

/// The keys of every issuer of devices, and of the CA in the service's own folder.
fn signers_of_others(config: &Config, domains: &TrustDomains) -> Vec<SpkiHash> {
    let issuers = domains.iter().flat_map(|domain| &domain.issuers);
    let mut keys: Vec<SpkiHash> = issuers.copied().collect();
    // Whoever loads the CA says what is wrong with it.
    let files = match &config.ca {
        CaConfig::Dir(dir) => CaDirectory::open(dir).map_or_else(
            |_| Vec::new(),
            |ca| {
                let [devices, servers] = [Intermediate::Devices, Intermediate::Servers];
                vec![
                    ca.root_certificate(),
                    ca.certificate(devices),
                    ca.certificate(servers),
                ]
            },
        ),
        CaConfig::Vault(vault) => vault.root_file.iter().cloned().collect(),
    };
    for file in files {
        keys.extend(
            read_text(&file)
                .iter()
                .flat_map(|pem| keys_in(pem.as_bytes())),
        );
    }
    keys
}

fn keys_in(pem: &[u8]) -> Vec<SpkiHash> {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    certificates
        .filter_map(|certificate| ca::key_of(&certificate))
        .collect()
}
