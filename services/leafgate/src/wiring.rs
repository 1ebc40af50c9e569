//! The one place that names adapters.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use leafgate_identity::TrustDomainName;
use leafgate_pki::{
    CaDirectory, CaStamp, EmbeddedCa, Intermediate, Issuer, LoadCaError, StatusUrl, StatusUrls,
};
use leafgate_registrar::{IssuerKeys, Issuers};
use leafgate_registry::{DeviceStore, StoreError};
use leafgate_registry_api::{Authority, CaConfig, Config, IssuerSource, VaultCaConfig};
use leafgate_runtime::{Environment, StoreConfig, TrustDomainConfig, VaultConfig, read_text};
use leafgate_store_sql::{PostgresOptions, PostgresStore, SqliteStore};
use leafgate_vault::{Vault, VaultIssuer, VaultIssuerConfig, VaultStore, VaultStoreConfig};

/// Opens the configured store for reading: what a callout replica needs.
///
/// # Errors
/// What is wrong with the configuration or the store.
pub async fn open_store_read_only(
    config: &leafgate_auth_callout::Config,
    environment: &Environment,
) -> anyhow::Result<Arc<dyn DeviceStore>> {
    let store = &config.store;
    let vault = connect(store, None, config.vault.as_ref(), environment).await?;
    Ok(match (Kind::of(store)?, vault) {
        (Kind::Vault(mount), Some(vault)) => {
            let domains = names(&config.trust_domains);
            let config = in_vault(mount, config.vault.as_ref(), &domains)?;
            Arc::new(VaultStore::open_read_only(&vault, &config).await?)
        }
        (Kind::Postgres(options), _) => Arc::new(PostgresStore::open_read_only(&options).await?),
        _ => Arc::new(SqliteStore::open_url_read_only(&store.url).await?),
    })
}

/// What the registry API works on.
pub struct RegistryParts {
    /// The registry, made where there is none.
    pub store: Arc<dyn DeviceStore>,
    /// What signs.
    pub authority: Authority,
}

impl RegistryParts {
    /// Opens what is configured, with one log-in where both are in Vault.
    ///
    /// # Errors
    /// What is wrong with the configuration, the store, or the certificate authority.
    pub async fn open(config: &Config, environment: &Environment) -> anyhow::Result<Self> {
        let store = &config.store;
        let (ca, vault) = (config.ca.as_vault(), config.vault.as_ref());
        let vault = connect(store, ca, vault, environment).await?;
        let authority = match (&config.ca, &vault) {
            (CaConfig::Vault(ca), Some(vault)) => vault_authority(ca, vault, config).await?,
            _ => embedded_authority(config)?,
        };
        let domains = names(&config.trust_domains);
        let store = open(store, vault, config.vault.as_ref(), &domains).await?;
        Ok(Self { store, authority })
    }
}

/// Opens the registry of a configuration, making it where there is none, and no certificate authority.
///
/// # Errors
/// What is wrong with the configuration or the store.
pub async fn open_registry_store(
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<Arc<dyn DeviceStore>> {
    let vault = config.vault.as_ref();
    let connection = connect(&config.store, None, vault, environment).await?;
    open(
        &config.store,
        connection,
        vault,
        &names(&config.trust_domains),
    )
    .await
}

/// Opens a store, making it where there is none. Where Vault is, and how to log in to it, the environment says.
///
/// # Errors
/// What is wrong with the configuration or the store.
pub async fn open_store(
    store: &StoreConfig,
    trust_domain: &str,
    environment: &Environment,
) -> anyhow::Result<Arc<dyn DeviceStore>> {
    let vault = connect(store, None, None, environment).await?;
    open(store, vault, None, &[trust_domain]).await
}

async fn open(
    store: &StoreConfig,
    vault: Option<Vault>,
    config: Option<&VaultConfig>,
    trust_domains: &[&str],
) -> anyhow::Result<Arc<dyn DeviceStore>> {
    Ok(match (Kind::of(store)?, vault) {
        (Kind::Vault(mount), Some(vault)) => {
            let config = in_vault(mount, config, trust_domains)?;
            Arc::new(VaultStore::open(&vault, &config).await?)
        }
        (Kind::Postgres(options), _) => Arc::new(PostgresStore::open(&options).await?),
        _ => Arc::new(SqliteStore::open_url(&store.url).await?),
    })
}

fn names(trust_domains: &[TrustDomainConfig]) -> Vec<&str> {
    trust_domains
        .iter()
        .map(|domain| domain.name.as_str())
        .collect()
}

/// Logs in to Vault, if anything is there.
async fn connect(
    store: &StoreConfig,
    ca: Option<&VaultCaConfig>,
    vault: Option<&VaultConfig>,
    environment: &Environment,
) -> anyhow::Result<Option<Vault>> {
    let used = ca.is_some() || matches!(Kind::of(store)?, Kind::Vault(_));
    match (used, vault) {
        (false, None) => Ok(None),
        (false, Some(_)) => bail!(
            "[vault] is of no use: neither the registry nor the certificate authority is there; take it out, or set url \
             = \"vault:{}\" in [store]",
            VaultStoreConfig::DEFAULT_MOUNT
        ),
        (true, config) => {
            let config = config.cloned().unwrap_or_default();
            Ok(Some(Vault::connect(&config, environment).await?))
        }
    }
}

/// What keeps the registry.
enum Kind<'a> {
    Vault(&'a str),
    Postgres(PostgresOptions),
    Sqlite,
}

impl<'a> Kind<'a> {
    fn of(config: &'a StoreConfig) -> anyhow::Result<Self> {
        let StoreConfig {
            url,
            password_file,
            ca_file,
        } = config;
        if let Some(mount) = url.strip_prefix("vault:") {
            if mount.is_empty() || mount.starts_with('/') {
                bail!(
                    "[store] url must name the mount of a KV engine in Vault, such as \"vault:{}\"; where Vault is, \
                     address in [vault] or VAULT_ADDR says",
                    VaultStoreConfig::DEFAULT_MOUNT
                );
            }
            if password_file.is_some() || ca_file.is_some() {
                bail!(
                    "[store] password_file and ca_file are for PostgreSQL: for Vault, set log_in and ca_file in [vault]"
                );
            }
            return Ok(Self::Vault(mount));
        }
        let schemes = ["postgres://", "postgresql://"];
        Ok(match schemes.iter().any(|scheme| url.starts_with(scheme)) {
            true => Self::Postgres(PostgresOptions {
                url: url.clone(),
                password_file: password_file.clone(),
                ca_file: ca_file.clone(),
            }),
            false => Self::Sqlite,
        })
    }
}

fn in_vault(
    mount: &str,
    vault: Option<&VaultConfig>,
    domains: &[&str],
) -> anyhow::Result<VaultStoreConfig> {
    let named = vault.and_then(|vault| vault.trust_domain.as_deref());
    let name = match (named, domains) {
        (Some(named), domains) if domains.contains(&named) => named,
        (Some(named), _) => bail!("[vault] trust_domain: there is no [[trust_domain]] {named}"),
        (None, [only]) => only,
        (None, _) => bail!(
            "there are several trust domains: set trust_domain in [vault] to that of the devices that scripts registered \
             in Vault"
        ),
    };
    Ok(VaultStoreConfig {
        mount: mount.to_owned(),
        trust_domain: TrustDomainName::parse(name)
            .with_context(|| format!("[[trust_domain]] {name}"))?,
    })
}

async fn vault_authority(
    ca: &VaultCaConfig,
    vault: &Vault,
    config: &Config,
) -> anyhow::Result<Authority> {
    let base = status_url(config)?;
    let open = async |mount: &str, role: &str| -> anyhow::Result<VaultIssuer> {
        let config = VaultIssuerConfig {
            mount: mount.to_owned(),
            issuer: ca.issuer.clone(),
            role: role.to_owned(),
            ocsp_role: ca.ocsp_role.clone(),
        };
        let issuer = VaultIssuer::open(vault, &config).await?;
        Ok(match &base {
            Some(base) => issuer.with_status_under(base).await?,
            None => issuer,
        })
    };
    let devices = open(&ca.mount, &ca.device_role).await?;
    let server_mount = ca.server_mount.as_ref().unwrap_or(&ca.mount);
    let servers = open(server_mount, &ca.server_role).await?;
    let root_certificate_pem = match &ca.root_file {
        Some(path) => read_text(path)?,
        None => devices.root_certificate_pem().map(str::to_owned).context(
            "the chain in the PKI engine doesn't reach the root: set root_file in [ca.vault] to the root's certificate",
        )?,
    };
    Ok(Authority {
        root_certificate_pem,
        root_crl: None,
        issuers: Issuers::new(Arc::new(devices), Arc::new(servers)),
        // The engine's issuers are rotated in Vault.
        source: None,
    })
}

/// What the status listener is reached under by those who check certificates, if certificates are to say so.
///
/// # Errors
/// It is none.
pub fn status_url(config: &Config) -> anyhow::Result<Option<StatusUrl>> {
    let url = config.status.url.as_deref().map(StatusUrl::parse);
    Ok(url.transpose()?)
}

fn embedded_authority(config: &Config) -> anyhow::Result<Authority> {
    let CaConfig::Dir(dir) = &config.ca else {
        bail!("[ca] names no folder");
    };
    let folder = CaFolder {
        ca: CaDirectory::open(dir)?,
        status: status_url(config)?,
        read: Mutex::default(),
    };
    let ca = &folder.ca;
    Ok(Authority {
        root_certificate_pem: read_text(&ca.root_certificate())?,
        root_crl: Some(ca.root_crl()),
        issuers: folder.read()?.unwrap_or_default().into(),
        source: Some(Arc::new(folder)),
    })
}

/// Loads every issuer of a CA whose key is in its folder; their certificates say where their status is, if `status` is
/// what the status listener is reached under.
///
/// # Errors
/// A file of the CA is missing or can't be used.
pub fn load_issuers(
    ca: &CaDirectory,
    status: Option<&StatusUrl>,
) -> Result<IssuerKeys, LoadCaError> {
    let finish = |issuer: EmbeddedCa| -> Arc<dyn Issuer> {
        Arc::new(match status {
            Some(base) => {
                let urls = StatusUrls::under(base, issuer.spki());
                issuer.with_status_urls(urls)
            }
            None => issuer,
        })
    };
    let of = |intermediate| -> Result<Vec<Arc<dyn Issuer>>, LoadCaError> {
        Ok(ca.load_all(intermediate)?.into_iter().map(finish).collect())
    };
    Ok(IssuerKeys {
        devices: of(Intermediate::Devices)?,
        servers: of(Intermediate::Servers)?,
    })
}

/// The folder of an embedded CA, to which intermediates come and from which they go.
struct CaFolder {
    ca: CaDirectory,
    /// What the status listener is reached under.
    status: Option<StatusUrl>,
    /// The files as they were read last.
    read: Mutex<Option<CaStamp>>,
}

impl IssuerSource for CaFolder {
    fn read(&self) -> anyhow::Result<Option<IssuerKeys>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.ca.stamp()?;
        if read.as_ref() == Some(&stamp) {
            return Ok(None);
        }
        let keys = load_issuers(&self.ca, self.status.as_ref())?;
        *read = Some(stamp);
        Ok(Some(keys))
    }
}

/// Opens the registry at `path`, making it where there is none.
///
/// # Errors
/// [`StoreError`] says what is wrong with the file.
pub async fn open_local_store(path: &Path) -> Result<Arc<dyn DeviceStore>, StoreError> {
    Ok(Arc::new(SqliteStore::open(path).await?))
}

/// Opens the registry at `path` for reading; makes none.
///
/// # Errors
/// [`StoreError`] says what is wrong with the file.
pub async fn open_local_store_read_only(path: &Path) -> Result<Arc<dyn DeviceStore>, StoreError> {
    Ok(Arc::new(SqliteStore::open_read_only(path).await?))
}
