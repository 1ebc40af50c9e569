use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leafgate_registry::StoreError;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};

use super::error::is_busy;

/// How long a statement waits for the lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the change to WAL mode is tried while another process is at it: it doesn't wait for locks.
const WAL_ATTEMPTS: u32 = 100;

/// After how many pages of the log a writer copies them into the database: with 4 KiB each, 16 MiB. Commits are durable in
/// the log; SQLite's own 1,000 pages would have nearly every transaction of an import wait for the database's file too.
const CHECKPOINT_PAGES: u32 = 4_000;

const MAX_READERS: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    /// To write, in a file that is made if there is none.
    Create,
}

/// One file, and how to connect to it. Displayed as what it is in error messages.
#[derive(Debug, Clone)]
pub(super) struct Database {
    path: Arc<Path>,
    identity: FileIdentity,
}

/// Tells a file from another one that took its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Database {
    /// Opens the file with a first connection.
    pub(super) async fn open(
        path: &Path,
        access: Access,
    ) -> Result<(Self, SqliteConnection), StoreError> {
        // Known before the file is, so that failures to open it are told like later ones.
        let mut database = Self {
            path: path.into(),
            identity: FileIdentity {
                device: 0,
                inode: 0,
            },
        };
        if access == Access::Read {
            database.identity = database.identify()?;
        }
        let connection = database.connect(access).await?;
        database.identity = database.identify()?;
        Ok((database, connection))
    }

    /// A further connection.
    pub(super) async fn connect(&self, access: Access) -> Result<SqliteConnection, StoreError> {
        self.options(access)
            .connect()
            .await
            .map_err(|error| self.failed(error))
    }

    /// Puts the file into WAL mode, in which readers and the writer don't wait for each other. It stays in it.
    pub(super) async fn enter_wal(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            match sqlx::query_scalar("PRAGMA journal_mode = WAL")
                .fetch_one(&mut *connection)
                .await
            {
                Ok::<String, _>(mode) => return self.check_mode(&mode),
                Err(error) if is_busy(&error) && attempt < WAL_ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// That the file is in WAL mode.
    pub(super) async fn check_wal(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        let mode: Result<String, _> = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(connection)
            .await;
        self.check_mode(&mode.map_err(|error| self.failed(error))?)
    }

    fn check_mode(&self, mode: &str) -> Result<(), StoreError> {
        if mode == "wal" {
            return Ok(());
        }
        let what = format!(
            "{self} is in journal mode {mode} instead of WAL, which needs a local file system"
        );
        Err(StoreError::Unsupported { what })
    }

    /// Connections for reading, made as they are needed.
    pub(super) fn readers(&self) -> SqlitePool {
        SqlitePoolOptions::new()
            .max_connections(MAX_READERS)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_lazy_with(self.options(Access::Read))
    }

    /// That the file is still there under its name: SQLite would go on with one that is gone.
    pub(super) fn check_present(&self) -> Result<(), StoreError> {
        if self.identify()? == self.identity {
            Ok(())
        } else {
            let what = format!("{self} was replaced while it was open; restart this process");
            Err(StoreError::Unavailable { what, source: None })
        }
    }

    // A stat of a local file takes a microsecond: not worth another thread.
    fn identify(&self) -> Result<FileIdentity, StoreError> {
        FileIdentity::of(&self.path).map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::NotFound => format!("{self} does not exist"),
                _ => format!("{self} can't be read"),
            };
            StoreError::unavailable(what, error)
        })
    }

    fn options(&self, access: Access) -> SqliteConnectOptions {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        match access {
            Access::Read => options.read_only(true),
            Access::Write | Access::Create => options
                .synchronous(SqliteSynchronous::Full)
                .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
                .create_if_missing(access == Access::Create),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registry {}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the promise of durability rests on (<https://www.sqlite.org/pragma.html#pragma_synchronous>).
    #[tokio::test]
    async fn writers_wait_for_the_disk() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("registry.db");
        let (database, mut first) = Database::open(&path, Access::Create).await.unwrap();
        database.enter_wal(&mut first).await.unwrap();
        let mut reconnected = database.connect(Access::Write).await.unwrap();
        for connection in [&mut first, &mut reconnected] {
            let level: i64 = sqlx::query_scalar("PRAGMA synchronous")
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            assert_eq!(level, 2, "FULL");
            database.check_wal(connection).await.unwrap();
        }
    }

    #[tokio::test]
    async fn only_the_first_connection_makes_a_file() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("registry.db");
        let (database, connection) = Database::open(&path, Access::Create).await.unwrap();
        drop(connection);
        fs::remove_file(&path).unwrap();
        database.connect(Access::Write).await.unwrap_err();
        database.connect(Access::Read).await.unwrap_err();
        assert!(!path.exists());
    }
}
