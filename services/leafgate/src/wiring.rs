//! The one place that names adapters.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use leafgate_pki::{
    CaDirectory, CaStamp, EmbeddedCa, Intermediate, Issuer, LoadCaError, StatusUrl, StatusUrls,
};
use leafgate_registrar::IssuerKeys;
use leafgate_registry::{DeviceStore, StoreError};
use leafgate_registry_api::{Authority, Config, IssuerSource};
use leafgate_runtime::{StoreConfig, read_text};
use leafgate_store_sql::{PostgresOptions, PostgresStore, SqliteStore};

/// Opens the configured store for reading: what a callout replica needs.
///
/// # Errors
/// [`StoreError`] says what is wrong with the configuration or the store.
pub async fn open_store_read_only(
    config: &StoreConfig,
) -> Result<Arc<dyn DeviceStore>, StoreError> {
    Ok(match postgres(config) {
        Some(options) => Arc::new(PostgresStore::open_read_only(&options).await?),
        None => Arc::new(SqliteStore::open_url_read_only(&config.url).await?),
    })
}

/// Opens the configured store, making it where there is none: what the registry API needs.
///
/// # Errors
/// [`StoreError`] says what is wrong with the configuration or the store.
pub async fn open_store(config: &StoreConfig) -> Result<Arc<dyn DeviceStore>, StoreError> {
    Ok(match postgres(config) {
        Some(options) => Arc::new(PostgresStore::open(&options).await?),
        None => Arc::new(SqliteStore::open_url(&config.url).await?),
    })
}

fn postgres(config: &StoreConfig) -> Option<PostgresOptions> {
    let StoreConfig {
        url,
        password_file,
        ca_file,
    } = config;
    let schemes = ["postgres://", "postgresql://"];
    let is_postgres = schemes.iter().any(|scheme| url.starts_with(scheme));
    is_postgres.then(|| PostgresOptions {
        url: url.clone(),
        password_file: password_file.clone(),
        ca_file: ca_file.clone(),
    })
}

/// Loads the certificate authority that signs for the registry API.
///
/// # Errors
/// A file of the CA is missing or can't be used.
pub fn load_authority(config: &Config) -> anyhow::Result<Authority> {
    let base = config.status.url.as_deref().map(StatusUrl::parse);
    let folder = CaFolder {
        ca: CaDirectory::open(&config.ca.dir)?,
        status: base.transpose()?,
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

/// Loads every issuer of a CA whose key is in its folder.
///
/// # Errors
/// A file of the CA is missing or can't be used.
pub fn load_issuers(ca: &CaDirectory) -> Result<IssuerKeys, LoadCaError> {
    keys(ca, |issuer| issuer)
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
        let keys = keys(&self.ca, |issuer| match &self.status {
            Some(base) => {
                let urls = StatusUrls::under(base, issuer.spki());
                issuer.with_status_urls(urls)
            }
            None => issuer,
        })?;
        *read = Some(stamp);
        Ok(Some(keys))
    }
}

fn keys(
    ca: &CaDirectory,
    finish: impl Fn(EmbeddedCa) -> EmbeddedCa,
) -> Result<IssuerKeys, LoadCaError> {
    let of = |intermediate| -> Result<Vec<Arc<dyn Issuer>>, LoadCaError> {
        let all = ca.load_all(intermediate)?.into_iter();
        Ok(all.map(|it| Arc::new(finish(it)) as _).collect())
    };
    Ok(IssuerKeys {
        devices: of(Intermediate::Devices)?,
        servers: of(Intermediate::Servers)?,
    })
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
