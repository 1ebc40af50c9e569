use std::sync::{Mutex, MutexGuard, PoisonError};

use leafgate_registry::StoreError;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use tokio::sync::Semaphore;

use super::connect::{ANSWER_LIMIT, Access, Database, within};
use super::error::{is_disconnected, is_silence};
use super::read::Statement;

const MAX_LOOK_UPS: usize = 5;
const MAX_SEARCHES: usize = 3;

/// Connections for reading, made as they are needed. Searches have their own, so that log-ins don't wait for them.
///
/// None is checked before it is used, which would cost a round trip: a read that finds the server gone is made again
/// on a new connection.
pub(super) struct Readers {
    database: Database,
    access: Access,
    idle: Mutex<Vec<PgConnection>>,
    permits: Semaphore,
}

enum Failed {
    Connecting(StoreError),
    Reading(sqlx::Error),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Reading(error)
    }
}

impl Readers {
    pub(super) fn for_look_ups(database: Database) -> Self {
        Self::new(database, Access::LookUp, MAX_LOOK_UPS)
    }

    pub(super) fn for_searches(database: Database) -> Self {
        Self::new(database, Access::Search, MAX_SEARCHES)
    }

    fn new(database: Database, access: Access, most: usize) -> Self {
        Self {
            database,
            access,
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(most),
        }
    }

    /// The rows of one statement, in bounded time.
    pub(super) async fn rows(
        &self,
        statement: impl Fn() -> Statement,
    ) -> Result<Vec<PgRow>, StoreError> {
        let result = within(ANSWER_LIMIT, self.try_rows(statement)).await;
        result.map_err(|failed| match failed {
            Failed::Connecting(error) => error,
            Failed::Reading(error) => {
                if is_silence(&error) {
                    // The others lead to the same silent server.
                    self.idle().clear();
                }
                self.database.failed(error)
            }
        })
    }

    async fn try_rows(&self, statement: impl Fn() -> Statement) -> Result<Vec<PgRow>, Failed> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let idle = self.idle().pop();
        if let Some(mut connection) = idle {
            match statement().fetch_all(&mut connection).await {
                Ok(rows) => {
                    self.idle().push(connection);
                    return Ok(rows);
                }
                Err(error) if is_disconnected(&error) => self.idle().clear(),
                Err(error) => return Err(Failed::Reading(error)),
            }
        }
        let connected = self.database.connect(self.access).await;
        let mut connection = connected.map_err(Failed::Connecting)?;
        // A connection in the middle of an answer is never kept: it is dropped with whoever stops waiting.
        let rows = statement().fetch_all(&mut connection).await?;
        self.idle().push(connection);
        Ok(rows)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
