mod connect;
mod dialect;
mod error;
mod read;
mod schema;
mod transaction;
mod watch;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, UnixMs};
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, Change, CommitError, Crl, Cursor, DeviceRecord,
    DeviceStore, Document, DocumentKind, DocumentName, Event, FeedPosition, Outstanding, Page,
    Query, StoreError,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqlitePool};

use self::connect::{Access, Database};
use self::transaction::WriteConnection;
use self::watch::Watch;
use crate::failure::Failure;
use crate::search;
use crate::writer::Writer;

/// The registry in one SQLite file, which several processes of one machine may share (not over a network file system:
/// its locks and its shared memory don't reach that far).
///
/// Acknowledged commits are on disk (`synchronous=FULL`). Commits of one process that wait at the same time share a
/// transaction. A clone is a further handle on the same connections. It works on the tokio runtime that it was opened
/// on, which must outlive it.
pub struct SqliteStore {
    shared: Arc<Shared>,
    /// The count of `Shared::watch` that the last `wake` of this handle told of.
    seen: AtomicU64,
}

struct Shared {
    database: Database,
    readers: SqlitePool,
    /// None where the store was opened for reading only.
    writer: Option<Writer>,
    watch: Arc<Watch>,
}

impl SqliteStore {
    /// Opens the registry in this file, creates it if there is none, and brings an older schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the file can't be opened; [`StoreError::Unsupported`] if it is of a newer version,
    /// or its schema was edited, or it is not a registry.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let (database, mut connection) = Database::open(path, Access::Create).await?;
        schema::migrate(&mut connection, &database).await?;
        Self::start(database, Some(connection)).await
    }

    /// Opens the registry in this file for reading. It creates, migrates and writes nothing.
    ///
    /// # Errors
    /// As for [`open`](Self::open); a missing file is [`StoreError::Unavailable`], an older schema
    /// [`StoreError::Unsupported`].
    pub async fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let (database, mut connection) = Database::open(path, Access::Read).await?;
        schema::check(&mut connection, &database).await?;
        Self::start(database, None).await
    }

    /// [`open`](Self::open) for a URL such as `sqlite:/var/lib/leafgate/registry.db`.
    ///
    /// # Errors
    /// As for [`open`](Self::open); [`StoreError::Unsupported`] for any other kind of URL.
    pub async fn open_url(url: &str) -> Result<Self, StoreError> {
        Self::open(&path_of(url)?).await
    }

    /// [`open_read_only`](Self::open_read_only) for a URL such as `sqlite:/var/lib/leafgate/registry.db`.
    ///
    /// # Errors
    /// As for [`open_read_only`](Self::open_read_only); [`StoreError::Unsupported`] for any other kind of URL.
    pub async fn open_url_read_only(url: &str) -> Result<Self, StoreError> {
        Self::open_read_only(&path_of(url)?).await
    }

    async fn start(
        database: Database,
        connection: Option<sqlx::SqliteConnection>,
    ) -> Result<Self, StoreError> {
        let watch = Arc::new(Watch::start(&database).await?);
        let writer = connection.map(|connection| {
            Writer::start(WriteConnection {
                database: database.clone(),
                connection: Some(connection),
                watch: Arc::clone(&watch),
            })
        });
        let readers = database.readers();
        let shared = Shared {
            database,
            readers,
            writer,
            watch,
        };
        Ok(Self {
            shared: Arc::new(shared),
            seen: AtomicU64::new(0),
        })
    }

    fn failed(&self, failure: Failure) -> StoreError {
        self.shared.database.failed(failure)
    }

    fn writable(&self) -> Result<&Writer, StoreError> {
        self.shared.writer.as_ref().ok_or_else(|| {
            let what = format!("{} was opened for reading only", self.shared.database);
            StoreError::Unsupported { what }
        })
    }

    /// The readers, if the file is still the one that was opened.
    fn readers(&self) -> Result<&SqlitePool, StoreError> {
        self.shared.database.check_present()?;
        Ok(&self.shared.readers)
    }

    async fn rows(&self, mut sql: QueryBuilder<Sqlite>) -> Result<Vec<SqliteRow>, StoreError> {
        let rows = sql.build().fetch_all(self.readers()?).await;
        rows.map_err(|error| self.failed(error.into()))
    }
}

impl Clone for SqliteStore {
    fn clone(&self) -> Self {
        let seen = AtomicU64::new(self.shared.watch.count());
        Self {
            shared: Arc::clone(&self.shared),
            seen,
        }
    }
}

#[async_trait]
impl DeviceStore for SqliteStore {
    async fn load(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        read::load(self.readers()?, id)
            .await
            .map_err(|error| self.failed(error))
    }

    async fn find(&self, query: &Query) -> Result<Page<DeviceRecord, DeviceId>, StoreError> {
        let rows = self.rows(search::devices(query)).await?;
        search::device_page(&rows, query).map_err(|error| self.failed(error))
    }

    async fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, StoreError> {
        let rows = self.rows(search::certificates(query)).await?;
        search::certificate_page(&rows, query).map_err(|error| self.failed(error))
    }

    async fn certificates(
        &self,
        issuer: &SpkiHash,
        serials: &[SerialNumber],
    ) -> Result<Vec<Certificate>, StoreError> {
        read::certificates(self.readers()?, issuer, serials)
            .await
            .map_err(|error| self.failed(error))
    }

    async fn outstanding(&self, issuer: &SpkiHash, now: UnixMs) -> Result<Outstanding, StoreError> {
        let rows = self.rows(search::outstanding(issuer, now)).await?;
        search::outstanding_of(&rows).map_err(|error| self.failed(error))
    }

    async fn crl(&self, issuer: &SpkiHash) -> Result<Option<Crl>, StoreError> {
        read::crl(self.readers()?, issuer)
            .await
            .map_err(|error| self.failed(error))
    }

    async fn document(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, StoreError> {
        let document = read::document(self.readers()?, kind, name).await;
        document.map_err(|error| self.failed(error))
    }

    async fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<Document, DocumentName>, StoreError> {
        let rows = self.rows(search::documents(kind, after, limit)).await?;
        search::document_page(&rows, limit).map_err(|error| self.failed(error))
    }

    async fn forget_expired(&self, now: UnixMs, limit: usize) -> Result<usize, StoreError> {
        self.writable()?;
        let mut connection = self.shared.database.connect(Access::Write).await?;
        write::forget_expired(&mut connection, now, limit)
            .await
            .map_err(|error| self.failed(error))
    }

    async fn commit(&self, changes: &[Change]) -> Result<FeedPosition, CommitError> {
        if changes.is_empty() {
            return Ok(self.position().await?);
        }
        self.writable()?.commit(changes.to_vec()).await
    }

    async fn position(&self) -> Result<FeedPosition, StoreError> {
        read::position(self.readers()?)
            .await
            .map_err(|error| self.failed(error))
    }

    async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let events = read::events_after(self.readers()?, seq, limit).await;
        events.map_err(|error| self.failed(error))
    }

    async fn wake(&self) {
        let seen = self
            .shared
            .watch
            .changed_since(self.seen.load(Ordering::Acquire))
            .await;
        self.seen.store(seen, Ordering::Release);
    }
}

fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    let path = url
        .strip_prefix("sqlite:")
        .map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        Some(path) if !path.is_empty() && !path.contains('?') => Ok(PathBuf::from(path)),
        _ => Err(StoreError::Unsupported {
            what: "the registry's URL must be sqlite:PATH, such as sqlite:/var/lib/leafgate/registry.db".to_owned(),
        }),
    }
}
