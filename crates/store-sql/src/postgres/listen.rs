use std::sync::{Arc, OnceLock};
use std::time::Duration;

use leafgate_registry::StoreError;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::connect::{ANSWER_LIMIT, CONNECT_LIMIT, Database, within};
use crate::notices::Notices;

/// What commits notify, with their sequence number.
pub(super) const CHANNEL: &str = "leafgate_events";

/// After this time without a notification the server is asked whether it is still there.
const QUIET_LIMIT: Duration = Duration::from_secs(20);

/// Pauses between attempts to connect: the first, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// Notices commits: those of this process at once, those of others by `LISTEN`, from the first time that somebody
/// waits for one.
pub(super) struct Watch {
    notices: Arc<Notices>,
    database: Database,
    listening: OnceLock<AbortHandle>,
}

impl Watch {
    pub(super) fn new(database: Database) -> Self {
        Self {
            notices: Arc::new(Notices::new()),
            database,
            listening: OnceLock::new(),
        }
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
        self.listening.get_or_init(|| {
            let listening = keep_listening(self.database.clone(), Arc::clone(&self.notices));
            tokio::spawn(listening).abort_handle()
        });
        self.notices.changed_since(seen).await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.get() {
            listening.abort();
        }
    }
}

/// Listens without end.
async fn keep_listening(database: Database, notices: Arc<Notices>) {
    let mut retry = RETRY_FIRST;
    let mut told = false;
    loop {
        match connect(&database).await {
            Ok(listener) => {
                if std::mem::take(&mut told) {
                    info!("listening for changes of {database} again");
                }
                retry = RETRY_FIRST;
                // What was committed before it listened notified nobody.
                notices.notice();
                listen(listener, &notices).await;
            }
            Err(error) if !told => {
                told = true;
                warn!(
                    error = &error as &dyn std::error::Error,
                    "changes of the registry by other processes are seen up to a second late"
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_LONGEST);
    }
}

async fn connect(database: &Database) -> Result<PgListener, StoreError> {
    // A pool is what a listener takes its one connection from.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(database.connect_options()?);
    let connecting = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    let listener: Result<_, sqlx::Error> = within(CONNECT_LIMIT, connecting).await;
    listener.map_err(|error| database.failed(error))
}

/// Notices until the connection is lost.
async fn listen(mut listener: PgListener, notices: &Notices) {
    loop {
        match tokio::time::timeout(QUIET_LIMIT, listener.try_recv()).await {
            Ok(Ok(Some(_notification))) => notices.notice(),
            Ok(Ok(None) | Err(_)) => return,
            Err(_quiet) => {
                let asking = sqlx::raw_sql("SELECT 1").execute(&mut listener);
                if within(ANSWER_LIMIT, asking).await.is_err() {
                    return;
                }
            }
        }
    }
}
