use std::sync::Arc;

use leafgate_registry::{Change, FeedPosition, Needs, StoreError};
use sqlx::{AssertSqlSafe, PgConnection};

use super::connect::{ANSWER_LIMIT, Access, COMMIT_LIMIT, Database, within};
use super::error::{is_disconnected, is_transient};
use super::listen::{CHANNEL, Watch};
use super::{read, write};
use crate::failure::Failure;
use crate::writer::{CommitResult, Transact};

/// How often a transaction is tried that certainly wrote nothing.
const ATTEMPTS: u32 = 3;

/// The connection of a process that writes.
pub(super) struct WriteConnection {
    pub(super) database: Database,
    /// None after a failure, until the next transaction.
    pub(super) connection: Option<PgConnection>,
    pub(super) watch: Arc<Watch>,
}

/// When a transaction failed.
enum Failed {
    /// Before it was to be committed: nothing is written.
    Before(Failure),
    /// When it was to be committed: only the server knows.
    Committing(sqlx::Error),
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Before(failure)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Before(error.into())
    }
}

impl Transact for WriteConnection {
    async fn transact(&mut self, commits: &[Vec<Change>]) -> Result<Vec<CommitResult>, StoreError> {
        let mut attempt = 1;
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.database.connect(Access::Write).await?,
            };
            match transact(&mut connection, commits).await {
                Ok(results) => {
                    self.connection = Some(connection);
                    self.watch.notice();
                    return Ok(results);
                }
                Err(Failed::Before(Failure::Sql(error)))
                    if attempt < ATTEMPTS && (is_disconnected(&error) || is_transient(&error)) =>
                {
                    attempt += 1;
                }
                Err(Failed::Before(failure)) => return Err(self.database.failed(failure)),
                Err(Failed::Committing(error)) => return Err(self.database.is_unknown(error)),
            }
        }
    }
}

async fn transact(
    connection: &mut PgConnection,
    commits: &[Vec<Change>],
) -> Result<Vec<CommitResult>, Failed> {
    // Whoever holds this row is alone with the chain, and with all that commits write.
    const BEGIN: &str = "BEGIN; SELECT epoch, seq, hash FROM feed_head WHERE id = 1 FOR UPDATE";
    let head = within(
        ANSWER_LIMIT,
        sqlx::raw_sql(BEGIN).fetch_all(&mut *connection),
    )
    .await?;
    let position = read::position_of(&head)?;
    let needs = Needs::of(commits.iter().flatten());
    let mut ledger = write::read_ledger(&mut *connection, position, &needs).await?;
    let results = commits.iter().map(|commit| ledger.commit(commit)).collect();
    if ledger.events().is_empty() {
        let rollback = sqlx::raw_sql("ROLLBACK").execute(connection);
        within(ANSWER_LIMIT, rollback).await?;
    } else {
        write::write_ledger(&mut *connection, &ledger).await?;
        let commit = sqlx::raw_sql(AssertSqlSafe(commit_sql(&ledger.position())));
        within(COMMIT_LIMIT, commit.execute(connection))
            .await
            .map_err(Failed::Committing)?;
    }
    Ok(results)
}

/// Moves the head, tells the followers and commits, in one round trip. Its values are hex digits and a number.
fn commit_sql(FeedPosition { epoch, seq, hash }: &FeedPosition) -> String {
    format!(
        "UPDATE feed_head SET epoch = '{epoch}', seq = {seq}, hash = '{hash}' WHERE id = 1; \
         SELECT pg_notify('{CHANNEL}', '{seq}'); COMMIT"
    )
}
