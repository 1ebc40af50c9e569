use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use leafgate_registry::DeviceStore;
use leafgate_store_sql::{PostgresStore, SqliteStore};
use leafgate_testkit::postgres::{PostgresServer, PostgresSettings};
use nix::unistd::Pid;
use sqlx::{Connection as _, SqliteConnection};

use super::StoreName;
use crate::site::postgres_options;
use crate::usage::cpu_time;

/// Where databases of one kind are made. What they acknowledge is on the disk.
pub(super) enum Databases {
    Postgres(PostgresServer),
    Sqlite { folder: PathBuf, made: AtomicU32 },
}

/// A registry.
pub(super) struct Database {
    kind: StoreName,
    url: String,
    /// Of the file, or in the server.
    name: String,
    store: Arc<dyn DeviceStore>,
}

impl Databases {
    pub(super) fn start(kind: StoreName, folder: &Path) -> Self {
        match kind {
            StoreName::Postgres => Self::Postgres(PostgresServer::start(&PostgresSettings {
                durable: true,
                ..PostgresSettings::default()
            })),
            StoreName::Sqlite => Self::Sqlite {
                folder: folder.to_owned(),
                made: AtomicU32::new(0),
            },
        }
    }

    /// A new registry with its schema and nothing else. It goes with the server or the folder.
    pub(super) async fn create(&self) -> Result<Database> {
        Ok(match self {
            Self::Postgres(server) => {
                let (name, url) = server.create_database().keep();
                let store = PostgresStore::open(&postgres_options(&url)).await?;
                Database {
                    kind: StoreName::Postgres,
                    url,
                    name,
                    store: Arc::new(store),
                }
            }
            Self::Sqlite { folder, made } => {
                let number = made.fetch_add(1, Ordering::Relaxed);
                let path = folder.join(format!("registry-{number}.db"));
                let store = SqliteStore::open(&path).await?;
                let name = path.display().to_string();
                let url = format!("sqlite:{name}");
                Database {
                    kind: StoreName::Sqlite,
                    url,
                    name,
                    store: Arc::new(store),
                }
            }
        })
    }

    /// Lets the database do now what it would else do meanwhile.
    pub(super) fn settle(&self, database: &Database) -> Result<()> {
        if let Self::Postgres(server) = self {
            server.sql(&database.name, "VACUUM ANALYZE");
            server.sql(&database.name, "CHECKPOINT");
        }
        Ok(())
    }

    /// CPU time that processes of the database's own have used; none where it runs within the programs that use it.
    pub(super) fn cpu_time(&self) -> Duration {
        let Self::Postgres(server) = self else {
            return Duration::ZERO;
        };
        // Who has ended meanwhile has no clock any more.
        let times = server
            .process_ids()
            .into_iter()
            .filter_map(|id| cpu_time(Pid::from_raw(i32::try_from(id).ok()?)).ok());
        times.sum()
    }

    pub(super) async fn version(&self, database: &Database) -> Result<String> {
        Ok(match self {
            Self::Postgres(server) => {
                format!(
                    "PostgreSQL {}",
                    server.sql(
                        &database.name,
                        "SELECT split_part(current_setting('server_version'), ' ', 1)"
                    )
                )
            }
            Self::Sqlite { .. } => {
                let mut connection = SqliteConnection::connect(&database.url).await?;
                let version: String = sqlx::query_scalar("SELECT sqlite_version()")
                    .fetch_one(&mut connection)
                    .await?;
                format!("SQLite {version}")
            }
        })
    }
}

impl Database {
    pub(super) fn kind(&self) -> StoreName {
        self.kind
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Its file, if it is one.
    pub(super) fn path(&self) -> &Path {
        Path::new(&self.name)
    }

    pub(super) fn store(&self) -> Arc<dyn DeviceStore> {
        Arc::clone(&self.store)
    }

    /// A handle as the callout has one.
    pub(super) async fn open_read_only(&self) -> Result<Arc<dyn DeviceStore>> {
        Ok(match self.kind {
            StoreName::Postgres => {
                Arc::new(PostgresStore::open_read_only(&postgres_options(&self.url)).await?)
            }
            StoreName::Sqlite => {
                let store = SqliteStore::open_read_only(self.path()).await;
                Arc::new(store.context("the registry that was just made")?)
            }
        })
    }
}
