use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use leafgate_registry::StoreError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};

use super::target::{PostgresOptions, Target};

/// How long it may take until a connection is ready: the way there, TLS, log-in and the session's settings.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long an answer to a statement is awaited. The server itself gives up before, so that only a silent one is met
/// with this.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(3);
const STATEMENT_TIMEOUT_MS: u32 = 2_500;

/// How long a commit is awaited: giving up leaves its outcome unknown.
pub(super) const COMMIT_LIMIT: Duration = Duration::from_secs(5);

/// How long a statement waits for a lock that another process holds.
const LOCK_TIMEOUT_MS: u32 = 2_000;

/// After this time the server ends the transaction of a process that stands still, and frees the lock on the chain.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u32 = 10_000;

/// After this time without an answer the server gives a dead client up.
const DEAD_CLIENT_MS: u32 = 15_000;

/// The oldest version with all that is used here.
const OLDEST_VERSION: u32 = 13;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Of few rows by a key: statements are planned once for a connection.
    LookUp,
    /// By what any number of rows may share: statements are planned for their very values.
    Search,
    Write,
}

/// One database, and how to connect to it. Displayed as what it is in error messages.
#[derive(Clone)]
pub(super) struct Database {
    target: Arc<Target>,
}

/// What a server tells of itself to a new connection.
struct Greeting {
    standby: bool,
    encoding: String,
    fsync: bool,
    version: u32,
}

impl Database {
    /// Opens the database with a first connection.
    pub(super) async fn open(
        options: &PostgresOptions,
        access: Access,
    ) -> Result<(Self, PgConnection), StoreError> {
        let target = Arc::new(Target::of(options)?);
        let database = Self { target };
        let (connection, greeting) = database.greet(access).await?;
        let refusal = if greeting.standby {
            Some(database.is_standby())
        } else if greeting.version < OLDEST_VERSION {
            Some(format!(
                "{database} is on PostgreSQL {}; it must be {OLDEST_VERSION} or newer",
                greeting.version
            ))
        } else if greeting.encoding != "UTF8" {
            Some(format!(
                "{database} has the encoding {}; create it with ENCODING 'UTF8' TEMPLATE template0",
                greeting.encoding
            ))
        } else {
            None
        };
        if access == Access::Write && !greeting.fsync {
            tracing::warn!(
                "what {database} acknowledges does not survive a crash of its machine: the server has fsync=off"
            );
        }
        match refusal {
            Some(what) => Err(StoreError::Unsupported { what }),
            None => Ok((database, connection)),
        }
    }

    /// A further connection.
    pub(super) async fn connect(&self, access: Access) -> Result<PgConnection, StoreError> {
        let (connection, greeting) = self.greet(access).await?;
        if greeting.standby {
            // In a fail-over the name may lead to the wrong server for a while.
            return Err(StoreError::Unavailable {
                what: self.is_standby(),
                source: None,
            });
        }
        Ok(connection)
    }

    pub(super) fn connect_options(&self) -> Result<PgConnectOptions, StoreError> {
        self.target.connect_options()
    }

    async fn greet(&self, access: Access) -> Result<(PgConnection, Greeting), StoreError> {
        let options = self.connect_options()?;
        let greeting = async {
            let mut connection = options.connect().await?;
            let version = connection.server_version_num().unwrap_or(0) / 10_000;
            let row = sqlx::raw_sql(AssertSqlSafe(greeting_sql(access)))
                .fetch_one(&mut connection)
                .await?;
            let greeting = Greeting {
                standby: row.try_get("standby")?,
                encoding: row.try_get("encoding")?,
                fsync: row.try_get("fsync")?,
                version,
            };
            Ok::<_, sqlx::Error>((connection, greeting))
        };
        within(CONNECT_LIMIT, greeting)
            .await
            .map_err(|error| self.failed(error))
    }

    fn is_standby(&self) -> String {
        format!(
            "{self} is on a standby, which lags behind and can't be written; name the primary in the URL"
        )
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registry {}", self.target)
    }
}

/// The outcome, or that the server was silent for too long ([`is_silence`](super::error::is_silence)).
pub(super) async fn within<T, E: From<sqlx::Error>>(
    limit: Duration,
    asking: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let elapsed = |_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into());
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or_else(elapsed)
}

/// Sets the session up and asks who answers, in one round trip.
fn greeting_sql(access: Access) -> String {
    let (read_only, plans, joins, sorts) = match access {
        // Left to itself, the server plans a range anew for each of its values. Its plan for any value must walk an index
        // until the page is full, and not first read all that a short prefix names.
        Access::LookUp => ("on", "force_generic_plan", "off", "off"),
        Access::Search => ("on", "auto", "on", "on"),
        // Its statements take lists of whatever length: a plan for a long one would read whole tables.
        Access::Write => ("off", "force_generic_plan", "off", "on"),
    };
    let settings = [
        ("statement_timeout", STATEMENT_TIMEOUT_MS.to_string()),
        ("lock_timeout", LOCK_TIMEOUT_MS.to_string()),
        (
            "idle_in_transaction_session_timeout",
            IDLE_IN_TRANSACTION_TIMEOUT_MS.to_string(),
        ),
        ("tcp_user_timeout", DEAD_CLIENT_MS.to_string()),
        ("tcp_keepalives_idle", (DEAD_CLIENT_MS / 1_000).to_string()),
        ("default_transaction_isolation", "read committed".to_owned()),
        ("default_transaction_read_only", read_only.to_owned()),
        ("plan_cache_mode", plans.to_owned()),
        // A plan that was made when a table was small is kept while it grows.
        ("enable_seqscan", "off".to_owned()),
        ("enable_hashjoin", joins.to_owned()),
        ("enable_mergejoin", joins.to_owned()),
        ("enable_sort", sorts.to_owned()),
        ("enable_bitmapscan", sorts.to_owned()),
        // It takes longer than the longest statement here.
        ("jit", "off".to_owned()),
    ];
    let settings =
        settings.map(|(name, value)| format!(", set_config('{name}', '{value}', false)"));
    // Whatever role and database say, what is acknowledged is on the disk, and on synchronous standbys.
    const DURABLE: &str = "set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
                           WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)";
    format!(
        "SELECT pg_is_in_recovery() AS standby, current_setting('server_encoding') AS encoding, \
         current_setting('fsync') = 'on' AS fsync, {DURABLE}{}",
        settings.concat()
    )
}

#[cfg(test)]
mod tests {
    use leafgate_testkit::postgres::PostgresServer;

    use super::*;

    /// What the promise of durability rests on
    /// (<https://www.postgresql.org/docs/15/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT>).
    #[tokio::test]
    async fn writers_wait_for_the_disk_whatever_the_database_says() {
        let scratch = PostgresServer::shared().create_database();
        let options = PostgresOptions {
            url: scratch.url(),
            password_file: None,
            ca_file: None,
        };
        let (database, _connection) = Database::open(&options, Access::Write).await.unwrap();
        for (set, expected) in [
            ("off", "on"),
            ("local", "on"),
            ("remote_write", "on"),
            ("remote_apply", "remote_apply"),
        ] {
            let name = scratch.name();
            scratch.sql(&format!(
                "ALTER DATABASE {name} SET synchronous_commit = {set}"
            ));
            let mut connection = database.connect(Access::Write).await.unwrap();
            let level: String = sqlx::query_scalar("SHOW synchronous_commit")
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(level, expected);
        }
    }

    #[tokio::test]
    async fn connections_for_reading_refuse_to_write() {
        let scratch = PostgresServer::shared().create_database();
        let options = PostgresOptions {
            url: scratch.url(),
            password_file: None,
            ca_file: None,
        };
        for access in [Access::LookUp, Access::Search] {
            let (_, mut connection) = Database::open(&options, access).await.unwrap();
            let create = sqlx::raw_sql("CREATE TABLE mine (name TEXT)");
            create.execute(&mut connection).await.unwrap_err();
        }
    }
}
