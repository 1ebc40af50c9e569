//! The one place that names adapters.

use std::path::Path;
use std::sync::Arc;

use leafgate_pki::{CaDirectory, Intermediate, Issuer, StatusUrl, StatusUrls};
use leafgate_registrar::Issuers;
use leafgate_registry::{DeviceStore, StoreError};
use leafgate_registry_api::{Authority, Config};
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
    let ca = CaDirectory::open(&config.ca.dir)?;
    let base = config.status.url.as_deref().map(StatusUrl::parse);
    let base = base.transpose()?;
    let issuer = |intermediate| -> anyhow::Result<Arc<dyn Issuer>> {
        let issuer = ca.load(intermediate)?;
        let urls = base
            .as_ref()
            .map(|base| StatusUrls::under(base, issuer.spki()));
        Ok(match urls {
            Some(urls) => Arc::new(issuer.with_status_urls(urls)),
            None => Arc::new(issuer),
        })
    };
    Ok(Authority {
        root_certificate_pem: read_text(&ca.root_certificate())?,
        root_crl: Some(ca.root_crl()),
        issuers: Issuers {
            devices: issuer(Intermediate::Devices)?,
            servers: issuer(Intermediate::Servers)?,
        },
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
