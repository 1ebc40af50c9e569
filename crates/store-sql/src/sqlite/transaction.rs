use std::sync::Arc;

use leafgate_registry::{Change, Needs, StoreError};
use sqlx::{Connection, SqliteConnection};

use super::connect::{Access, Database};
use super::error::is_busy;
use super::watch::Watch;
use super::write;
use crate::failure::Failure;
use crate::writer::{CommitResult, Transact};

/// How often a transaction is tried when another process keeps the lock, each time for as long as the busy timeout.
const ATTEMPTS: u32 = 3;

/// The connection of a process that writes.
pub(super) struct WriteConnection {
    pub(super) database: Database,
    /// None after a failure, until the next transaction.
    pub(super) connection: Option<SqliteConnection>,
    pub(super) watch: Arc<Watch>,
}

impl Transact for WriteConnection {
    async fn transact(&mut self, commits: &[Vec<Change>]) -> Result<Vec<CommitResult>, StoreError> {
        self.database.check_present()?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.connect(Access::Write).await?,
        };
        let mut attempt = 1;
        let results = loop {
            match transact(&mut connection, commits).await {
                // Nothing was written then.
                Err(Failure::Sql(error)) if is_busy(&error) && attempt < ATTEMPTS => attempt += 1,
                result => break result.map_err(|failure| self.database.failed(failure))?,
            }
        };
        // What was written to a file that is gone by now is not durable.
        self.database.check_present()?;
        self.connection = Some(connection);
        self.watch.notice();
        Ok(results)
    }
}

async fn transact(
    connection: &mut SqliteConnection,
    commits: &[Vec<Change>],
) -> Result<Vec<CommitResult>, Failure> {
    // Takes the write lock at once: a transaction that began by reading could lose what it read to another writer.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let needs = Needs::of(commits.iter().flatten());
    let mut ledger = write::read_ledger(&mut transaction, &needs).await?;
    let results = commits.iter().map(|commit| ledger.commit(commit)).collect();
    if ledger.events().is_empty() {
        transaction.rollback().await?;
    } else {
        write::write_ledger(&mut transaction, &ledger).await?;
        transaction.commit().await?;
    }
    Ok(results)
}
