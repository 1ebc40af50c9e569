use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use leafgate_identity::{Binding, CnPattern, DeviceId, TrustDomain, TrustDomainName, TrustDomains};
use leafgate_pki::{CaDirectory, RootKey, StatusUrl};
use leafgate_registrar::Registrar;
use leafgate_registry::{Act, DeviceStore, NewDevice};
use leafgate_registry_api::{CaConfig, Config};
use leafgate_runtime::{Environment, StoreConfig};
#[expect(
    clippy::disallowed_types,
    reason = "the program is an edge: it draws random numbers"
)]
use rand_core::{OsRng, RngCore};

use super::{LocalDir, TRUST_DOMAIN};
use crate::wiring::{load_issuers, open_local_store, open_store, status_url};

/// The registrar of a local site; its registry and authorities are made where there are none. Its certificates don't say
/// where their status is: those of the site's own servers are used before there is anybody who could tell it.
///
/// # Errors
/// What can't be read or made.
pub async fn open_registrar(dir: &LocalDir, act: &Act) -> anyhow::Result<Registrar> {
    make_registrar(dir, RootKey::DevPlain, act).await
}

/// [`open_registrar`], with the registry somewhere else. `environment` says where Vault is, if it is there.
///
/// # Errors
/// What can't be read or made.
pub async fn open_registrar_on(
    dir: &LocalDir,
    store: &StoreConfig,
    environment: &Environment,
    act: &Act,
) -> anyhow::Result<Registrar> {
    let ca = open_or_make_ca(dir, RootKey::DevPlain, act)?;
    let store = open_store(store, TRUST_DOMAIN, environment).await?;
    join(&ca, store, None)
}

/// [`open_registrar`], with the key of a new root somewhere else.
pub(crate) async fn make_registrar(
    dir: &LocalDir,
    root_key: RootKey<'_>,
    act: &Act,
) -> anyhow::Result<Registrar> {
    let ca = open_or_make_ca(dir, root_key, act)?;
    join(&ca, open_local_store(&dir.registry()).await?, None)
}

/// The registrar of a local site that has authorities already. Its certificates say where their status is, if the
/// folder has a registry API that serves it. `environment` outweighs that one's configuration, as there.
pub(crate) async fn open_existing_registrar(
    dir: &LocalDir,
    environment: &Environment,
) -> anyhow::Result<Registrar> {
    let ca = CaDirectory::open(&dir.ca())?;
    let status = status_url_in(dir, environment)?;
    join(
        &ca,
        open_local_store(&dir.registry()).await?,
        status.as_ref(),
    )
}

/// Where the registry API of a folder serves the status of what the folder's own authorities sign.
fn status_url_in(dir: &LocalDir, environment: &Environment) -> anyhow::Result<Option<StatusUrl>> {
    let path = dir.registry_config();
    if !path.exists() {
        return Ok(None);
    }
    let config = Config::load(&path, environment)?;
    match &config.ca {
        CaConfig::Dir(ca) if fs::canonicalize(ca)? == fs::canonicalize(dir.ca())? => {
            status_url(&config)
        }
        CaConfig::Dir(_) | CaConfig::Vault(_) => Ok(None),
    }
}

fn open_or_make_ca(
    dir: &LocalDir,
    root_key: RootKey<'_>,
    act: &Act,
) -> anyhow::Result<CaDirectory> {
    Ok(if dir.ca().exists() {
        CaDirectory::open(&dir.ca())?
    } else {
        leafgate_pki::init(&dir.ca(), root_key, act.at)?
    })
}

fn join(
    ca: &CaDirectory,
    store: Arc<dyn DeviceStore>,
    status: Option<&StatusUrl>,
) -> anyhow::Result<Registrar> {
    let issuers = load_issuers(ca, status)?;
    let domains = TrustDomains::try_from(vec![TrustDomain {
        name: trust_domain(),
        issuers: issuers.devices.iter().map(|it| it.spki()).collect(),
        cn_pattern: CnPattern::default(),
        binding: Binding::Issued,
    }])?;
    let random = || OsRng.next_u32();
    Ok(Registrar::new(
        store,
        issuers.into(),
        Arc::new(domains),
        random,
    ))
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
