//! The one place that names adapters.

use std::path::Path;
use std::sync::Arc;

use leafgate_registry::{DeviceStore, StoreError};
use leafgate_store_sql::SqliteStore;

/// Opens the store that `url` names for reading: what a callout replica needs.
///
/// # Errors
/// [`StoreError`] says what is wrong with the URL or the store.
pub async fn open_store_read_only(url: &str) -> Result<Arc<dyn DeviceStore>, StoreError> {
    Ok(Arc::new(SqliteStore::open_url_read_only(url).await?))
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
