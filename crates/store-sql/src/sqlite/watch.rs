use std::convert::Infallible;
use std::time::Duration;

use leafgate_registry::StoreError;
use sqlx::SqliteConnection;
use tokio::sync::Mutex;

use super::connect::{Access, Database};
use crate::notices::Notices;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Notices commits: those of this process at once, those of others by polling.
pub(super) struct Watch {
    notices: Notices,
    poll: Mutex<Poll>,
}

/// A connection that never writes, so that `PRAGMA data_version` on it moves with every commit of any other connection.
struct Poll {
    connection: SqliteConnection,
    data_version: i64,
}

impl Watch {
    pub(super) async fn start(database: &Database) -> Result<Self, StoreError> {
        let mut connection = database.connect(Access::Read).await?;
        let data_version = data_version(&mut connection)
            .await
            .map_err(|error| database.failed(error))?;
        let poll = Mutex::new(Poll {
            connection,
            data_version,
        });
        Ok(Self {
            notices: Notices::new(),
            poll,
        })
    }

    /// How many commits, or groups of them, were noticed so far.
    pub(super) fn count(&self) -> u64 {
        self.notices.count()
    }

    /// Tells those who wait that this process committed.
    pub(super) fn notice(&self) {
        self.notices.notice();
    }

    /// Waits until the count is no longer `seen`, for at most a second, and returns it.
    pub(super) async fn changed_since(&self, seen: u64) -> u64 {
        tokio::select! {
            count = self.notices.changed_since(seen) => count,
            never = self.keep_polling() => match never {},
        }
    }

    /// Polls without end, or while somebody else does, stands by.
    async fn keep_polling(&self) -> Infallible {
        loop {
            if let Ok(mut poll) = self.poll.try_lock()
                && let Ok(data_version) = data_version(&mut poll.connection).await
                && data_version != poll.data_version
            {
                poll.data_version = data_version;
                self.notice();
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA data_version")
        .fetch_one(connection)
        .await
}
