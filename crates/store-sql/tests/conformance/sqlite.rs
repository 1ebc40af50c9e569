use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use leafgate_identity::DeviceId;
use leafgate_registry::{CertificateId, DeviceStore};
use leafgate_store_sql::SqliteStore;
use leafgate_testkit::store_conformance::{StoreFixture, StoreTampering};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions};
use sqlx::{ConnectOptions, Sqlite};
use tempfile::TempDir;

struct Scratch {
    folder: TempDir,
}

impl Scratch {
    async fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a scratch folder"),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("registry.db")
    }

    /// Writes one row without any store.
    async fn overwrite(&self, query: sqlx::query::Query<'_, Sqlite, SqliteArguments>) {
        let options = SqliteConnectOptions::new().filename(self.path());
        let mut connection = options.connect().await.expect("the database");
        let result = query
            .execute(&mut connection)
            .await
            .expect("a good statement");
        assert_eq!(result.rows_affected(), 1);
    }
}

#[async_trait]
impl StoreFixture for Scratch {
    async fn open(&self) -> Arc<dyn DeviceStore> {
        Arc::new(SqliteStore::open(&self.path()).await.expect("a registry"))
    }
}

#[async_trait]
impl StoreTampering for Scratch {
    async fn set_state(&self, id: &DeviceId, state: &str) {
        let update = sqlx::query("UPDATE devices SET state = ? WHERE id = ?");
        self.overwrite(update.bind(state).bind(id.as_str())).await;
    }

    async fn set_certificate_status(&self, id: &CertificateId, status: &str) {
        let update =
            sqlx::query("UPDATE certificates SET status = ? WHERE issuer = ? AND serial = ?");
        self.overwrite(
            update
                .bind(status)
                .bind(id.issuer.to_string())
                .bind(id.serial.to_string()),
        )
        .await;
    }

    async fn set_event_actor(&self, seq: u64, actor: &str) {
        let update = sqlx::query("UPDATE events SET actor = ? WHERE seq = ?");
        self.overwrite(
            update
                .bind(actor)
                .bind(i64::try_from(seq).expect("a small number")),
        )
        .await;
    }

    async fn remove_event(&self, seq: u64) {
        let delete = sqlx::query("DELETE FROM events WHERE seq = ?");
        self.overwrite(delete.bind(i64::try_from(seq).expect("a small number")))
            .await;
    }
}

leafgate_testkit::store_conformance!(Scratch::new);
leafgate_testkit::store_tampering_conformance!(Scratch::new);
