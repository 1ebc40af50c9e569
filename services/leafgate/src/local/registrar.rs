use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use leafgate_identity::{Binding, CnPattern, DeviceId, TrustDomain, TrustDomainName, TrustDomains};
use leafgate_pki::{CaDirectory, Intermediate, Issuer, RootKey};
use leafgate_registrar::{Issuers, Registrar};
use leafgate_registry::{Act, NewDevice};
use secrecy::{ExposeSecret, SecretString};

use super::files::Draft;
use super::{LocalDir, TRUST_DOMAIN};
use crate::wiring::open_local_store;

/// The registrar of a local site; its registry and authorities are made where there are none.
///
/// # Errors
/// What can't be read or made.
pub async fn open_registrar(dir: &LocalDir, act: &Act) -> anyhow::Result<Registrar> {
    make_registrar(dir, RootKey::DevPlain, act).await
}

/// [`open_registrar`], with the key of a new root somewhere else.
pub(crate) async fn make_registrar(
    dir: &LocalDir,
    root_key: RootKey<'_>,
    act: &Act,
) -> anyhow::Result<Registrar> {
    let ca = if dir.ca().exists() {
        CaDirectory::open(&dir.ca())?
    } else {
        leafgate_pki::init(&dir.ca(), root_key, act.at)?
    };
    join(&ca, dir).await
}

/// The registrar of a local site that has authorities already.
pub(crate) async fn open_existing_registrar(dir: &LocalDir) -> anyhow::Result<Registrar> {
    join(&CaDirectory::open(&dir.ca())?, dir).await
}

async fn join(ca: &CaDirectory, dir: &LocalDir) -> anyhow::Result<Registrar> {
    let store = open_local_store(&dir.registry()).await?;
    let devices = ca.load(Intermediate::Devices)?;
    let servers = ca.load(Intermediate::Servers)?;
    let domains = TrustDomains::try_from(vec![TrustDomain {
        name: trust_domain(),
        issuers: vec![devices.spki()],
        cn_pattern: CnPattern::default(),
        binding: Binding::Issued,
    }])?;
    let issuers = Issuers {
        devices: Arc::new(devices),
        servers: Arc::new(servers),
    };
    Ok(Registrar::new(store, issuers, Arc::new(domains)))
}

/// A device of the local site's trust domain, with nothing but a type.
pub fn new_device(id: DeviceId, device_type: &str) -> NewDevice {
    NewDevice {
        id,
        trust_domain: trust_domain(),
        pending: false,
        device_type: device_type.to_owned(),
        site: None,
        attributes: BTreeMap::new(),
    }
}

fn trust_domain() -> TrustDomainName {
    TrustDomainName::parse(TRUST_DOMAIN).expect("the name is one token")
}

/// Writes a certificate with its chain to `stem.crt` and its key, for its owner only, to
/// `stem.key`; files of an earlier certificate are replaced.
///
/// # Errors
/// Which file can't be written.
pub fn write_credentials(
    stem: &Path,
    chain_pem: &str,
    private_key_pem: &SecretString,
) -> anyhow::Result<()> {
    CredentialFiles::prepare(stem)?.write(chain_pem, private_key_pem)
}

/// The places of a certificate and its key, to be prepared before they are made.
#[derive(Debug)]
pub(crate) struct CredentialFiles {
    certificate: Draft,
    key: Draft,
}

impl CredentialFiles {
    /// `stem.crt` and `stem.key`.
    pub(crate) fn prepare(stem: &Path) -> anyhow::Result<Self> {
        let (certificate, key) = (with_suffix(stem, ".crt"), with_suffix(stem, ".key"));
        Ok(Self {
            certificate: Draft::public(&certificate).with_context(|| unwritable(&certificate))?,
            key: Draft::private(&key).with_context(|| unwritable(&key))?,
        })
    }

    pub(crate) fn certificate(&self) -> &Path {
        self.certificate.path()
    }

    pub(crate) fn key(&self) -> &Path {
        self.key.path()
    }

    /// Puts both into their places.
    pub(crate) fn write(
        self,
        chain_pem: &str,
        private_key_pem: &SecretString,
    ) -> anyhow::Result<()> {
        let Self { certificate, key } = self;
        let (certificate_path, key_path) = (certificate.path().to_owned(), key.path().to_owned());
        key.publish(private_key_pem.expose_secret())
            .with_context(|| unwritable(&key_path))?;
        certificate
            .publish(chain_pem)
            .with_context(|| unwritable(&certificate_path))
    }
}

fn unwritable(path: &Path) -> String {
    format!("can't write {}", path.display())
}

/// Names of services have dots: no part of them is an extension to be replaced.
fn with_suffix(stem: &Path, suffix: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
