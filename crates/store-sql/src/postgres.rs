mod connect;
mod error;
mod listen;
#[cfg(test)]
mod plans;
mod read;
mod readers;
mod schema;
mod target;
mod transaction;
mod url;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, UnixMs};
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, Change, CommitError, Crl, Cursor, DeviceRecord,
    DeviceStore, Document, DocumentKind, DocumentName, Event, FeedPosition, Outstanding, Page,
    Query, StoreError,
};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder};

use self::connect::{ANSWER_LIMIT, Access, Database, within};
use self::listen::Watch;
use self::read::Statement;
use self::readers::Readers;
pub use self::target::PostgresOptions;
use self::transaction::WriteConnection;
use crate::failure::Failure;
use crate::rows;
use crate::search;
use crate::writer::Writer;

/// The registry in a PostgreSQL database, for any number of processes, all of which need to reach its primary.
///
/// Acknowledged commits are on the disk of the primary, and of its synchronous standbys if it has any
/// (`synchronous_commit=on`). Commits of one process that wait at the same time share a transaction. A server that
/// doesn't answer is given up after five seconds at most; when it is back, everything goes on by itself. A clone is a
/// further handle on the same connections: five for look-ups, three for searches, one for writing, one for listening, each
/// made when it is needed. It works on the tokio runtime that it was opened on, which must outlive it.
pub struct PostgresStore {
    shared: Arc<Shared>,
    /// The count of `Shared::watch` that the last `wake` of this handle told of.
    seen: AtomicU64,
}

struct Shared {
    database: Database,
    look_ups: Readers,
    searches: Readers,
    /// None where the store was opened for reading only.
    writer: Option<Writer>,
    watch: Arc<Watch>,
}

impl PostgresStore {
    /// Opens the registry in this database, makes it in an empty one, and brings an older schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database can't be reached or lets nobody in; [`StoreError::Unsupported`] if
    /// the options are wrong, or it is on a standby, or of a newer version, or its schema was edited, or it is not a
    /// registry.
    pub async fn open(options: &PostgresOptions) -> Result<Self, StoreError> {
        let (database, mut connection) = Database::open(options, Access::Write).await?;
        schema::migrate(&mut connection, &database).await?;
        Ok(Self::start(database, Some(connection)))
    }

    /// Opens the registry in this database for reading. It creates, migrates and writes nothing, and needs no more than
    /// the right to read.
    ///
    /// # Errors
    /// As for [`open`](Self::open); an older schema is [`StoreError::Unsupported`].
    pub async fn open_read_only(options: &PostgresOptions) -> Result<Self, StoreError> {
        let (database, mut connection) = Database::open(options, Access::LookUp).await?;
        schema::check(&mut connection, &database).await?;
        Ok(Self::start(database, None))
    }

    fn start(database: Database, connection: Option<PgConnection>) -> Self {
        let watch = Arc::new(Watch::new(database.clone()));
        let writer = connection.map(|connection| {
            Writer::start(WriteConnection {
                database: database.clone(),
                connection: Some(connection),
                watch: Arc::clone(&watch),
            })
        });
        let shared = Shared {
            look_ups: Readers::for_look_ups(database.clone()),
            searches: Readers::for_searches(database.clone()),
            database,
            writer,
            watch,
        };
        Self {
            shared: Arc::new(shared),
            seen: AtomicU64::new(0),
        }
    }

    fn writable(&self) -> Result<&Writer, StoreError> {
        self.shared.writer.as_ref().ok_or_else(|| {
            let what = format!("{} was opened for reading only", self.shared.database);
            StoreError::Unsupported { what }
        })
    }

    async fn look_up<T>(
        &self,
        statement: impl Fn() -> Statement,
        made_of: impl FnOnce(&[PgRow]) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let rows = self.shared.look_ups.rows(statement).await?;
        made_of(&rows).map_err(|failure| self.shared.database.failed(failure))
    }

    async fn search<T>(
        &self,
        sql: impl Fn() -> QueryBuilder<Postgres>,
        made_of: impl FnOnce(&[PgRow]) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let rows = self.shared.searches.rows(|| read::search(sql())).await?;
        made_of(&rows).map_err(|failure| self.shared.database.failed(failure))
    }
}

impl Clone for PostgresStore {
    fn clone(&self) -> Self {
        let seen = AtomicU64::new(self.shared.watch.count());
        Self {
            shared: Arc::clone(&self.shared),
            seen,
        }
    }
}

#[async_trait]
impl DeviceStore for PostgresStore {
    async fn load(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        let record = |rows: &[PgRow]| Ok(rows::records(rows)?.pop());
        self.look_up(|| read::load(id), record).await
    }

    async fn find(&self, query: &Query) -> Result<Page<DeviceRecord, DeviceId>, StoreError> {
        let page = |rows: &[PgRow]| search::device_page(rows, query);
        let sql = || search::devices(query);
        if search::names_devices(query) {
            self.look_up(|| read::built(sql()), page).await
        } else {
            self.search(sql, page).await
        }
    }

    async fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, StoreError> {
        let page = |rows: &[PgRow]| search::certificate_page(rows, query);
        let sql = || search::certificates(query);
        if search::names_certificates(query) {
            self.look_up(|| read::built(sql()), page).await
        } else {
            self.search(sql, page).await
        }
    }

    async fn certificates(
        &self,
        issuer: &SpkiHash,
        serials: &[SerialNumber],
    ) -> Result<Vec<Certificate>, StoreError> {
        let certificates = |rows: &[PgRow]| rows.iter().map(rows::certificate).collect();
        self.look_up(|| read::certificates(issuer, serials), certificates)
            .await
    }

    async fn outstanding(&self, issuer: &SpkiHash, now: UnixMs) -> Result<Outstanding, StoreError> {
        let sql = || search::outstanding(issuer, now);
        self.search(sql, search::outstanding_of).await
    }

    async fn crl(&self, issuer: &SpkiHash) -> Result<Option<Crl>, StoreError> {
        let crl = |rows: &[PgRow]| rows.first().map(rows::crl).transpose();
        self.look_up(|| read::crl(issuer), crl).await
    }

    async fn document(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, StoreError> {
        let document = |rows: &[PgRow]| rows.first().map(rows::document).transpose();
        self.look_up(|| read::document(kind, name), document).await
    }

    async fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<Document, DocumentName>, StoreError> {
        let page = |rows: &[PgRow]| search::document_page(rows, limit);
        self.search(|| search::documents(kind, after, limit), page)
            .await
    }

    async fn forget_expired(&self, now: UnixMs, limit: usize) -> Result<usize, StoreError> {
        self.writable()?;
        let database = &self.shared.database;
        let mut connection = database.connect(Access::Write).await?;
        let forgetting = write::forget_expired(&mut connection, now, limit);
        within(ANSWER_LIMIT, forgetting)
            .await
            .map_err(|error| database.failed(error))
    }

    async fn commit(&self, changes: &[Change]) -> Result<FeedPosition, CommitError> {
        if changes.is_empty() {
            return Ok(self.position().await?);
        }
        self.writable()?.commit(changes.to_vec()).await
    }

    async fn position(&self) -> Result<FeedPosition, StoreError> {
        self.look_up(read::position, read::position_of).await
    }

    async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let events = |rows: &[PgRow]| rows.iter().map(rows::event).collect();
        self.look_up(|| read::events_after(seq, limit), events)
            .await
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
