use std::collections::BTreeMap;
use std::sync::Arc;

use leafgate_identity::{Binding, CnPattern, DeviceId, TrustDomain, TrustDomainName, TrustDomains};
use leafgate_pki::{CaDirectory, RootKey};
use leafgate_registrar::Registrar;
use leafgate_registry::{Act, DeviceStore, NewDevice};
use leafgate_runtime::{Environment, StoreConfig};
#[expect(
    clippy::disallowed_types,
    reason = "the program is an edge: it draws random numbers"
)]
use rand_core::{OsRng, RngCore};

use super::{LocalDir, TRUST_DOMAIN};
use crate::wiring::{load_issuers, open_local_store, open_store};

/// The registrar of a local site; its registry and authorities are made where there are none.
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
    join(&ca, open_store(store, TRUST_DOMAIN, environment).await?)
}

/// [`open_registrar`], with the key of a new root somewhere else.
pub(crate) async fn make_registrar(
    dir: &LocalDir,
    root_key: RootKey<'_>,
    act: &Act,
) -> anyhow::Result<Registrar> {
    let ca = open_or_make_ca(dir, root_key, act)?;
    join(&ca, open_local_store(&dir.registry()).await?)
}

/// The registrar of a local site that has authorities already.
pub(crate) async fn open_existing_registrar(dir: &LocalDir) -> anyhow::Result<Registrar> {
    let ca = CaDirectory::open(&dir.ca())?;
    join(&ca, open_local_store(&dir.registry()).await?)
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

fn join(ca: &CaDirectory, store: Arc<dyn DeviceStore>) -> anyhow::Result<Registrar> {
    let issuers = load_issuers(ca)?;
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
