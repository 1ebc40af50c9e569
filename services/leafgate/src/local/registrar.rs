use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use leafgate_identity::{Binding, CnPattern, DeviceId, TrustDomain, TrustDomainName, TrustDomains};
use leafgate_pki::{CaDirectory, Intermediate, Issuer, RootKey};
use leafgate_registrar::{Issuers, Registrar};
use leafgate_registry::{Act, NewDevice};
use secrecy::{ExposeSecret, SecretString};

use super::keys::write_secret;
use super::{LocalDir, TRUST_DOMAIN};
use crate::wiring::open_local_store;

/// The registrar of a local site; its registry and authorities are made where there are none.
///
/// # Errors
/// What can't be read or made.
pub async fn open_registrar(dir: &LocalDir, act: &Act) -> anyhow::Result<Registrar> {
    let ca = if dir.ca().exists() {
        CaDirectory::open(&dir.ca())?
    } else {
        leafgate_pki::init(&dir.ca(), RootKey::DevPlain, act.at)?
    };
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
    let (certificate, key) = (stem.with_extension("crt"), stem.with_extension("key"));
    let draft = stem.with_extension("key.new");
    if draft.exists() {
        fs::remove_file(&draft).with_context(|| format!("can't replace {}", draft.display()))?;
    }
    write_secret(&draft, private_key_pem.expose_secret().trim_end())
        .and_then(|()| fs::rename(&draft, &key))
        .with_context(|| format!("can't write {}", key.display()))?;
    fs::write(&certificate, chain_pem)
        .with_context(|| format!("can't write {}", certificate.display()))
}
