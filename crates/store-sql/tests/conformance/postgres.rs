use std::sync::Arc;

use async_trait::async_trait;
use leafgate_identity::DeviceId;
use leafgate_registry::{CertificateId, DeviceStore};
use leafgate_store_sql::{PostgresOptions, PostgresStore};
use leafgate_testkit::postgres::{PostgresDatabase, PostgresServer};
use leafgate_testkit::store_conformance::{StoreFixture, StoreTampering};

struct Scratch {
    database: PostgresDatabase<'static>,
}

impl Scratch {
    async fn new() -> Self {
        Self {
            database: PostgresServer::shared().create_database(),
        }
    }

    /// Changes one row without any store. The values of these tests have no quotes.
    fn overwrite(&self, statement: &str) {
        let changed = self.database.sql(&format!(
            "WITH changed AS ({statement} RETURNING 1) SELECT count(*) FROM changed"
        ));
        assert_eq!(changed, "1");
    }
}

#[async_trait]
impl StoreFixture for Scratch {
    async fn open(&self) -> Arc<dyn DeviceStore> {
        let options = PostgresOptions {
            url: self.database.url(),
            password_file: None,
            ca_file: None,
        };
        Arc::new(PostgresStore::open(&options).await.expect("a registry"))
    }
}

#[async_trait]
impl StoreTampering for Scratch {
    async fn set_state(&self, id: &DeviceId, state: &str) {
        self.overwrite(&format!(
            "UPDATE devices SET state = '{state}' WHERE id = '{id}'"
        ));
    }

    async fn set_certificate_status(&self, id: &CertificateId, status: &str) {
        let CertificateId { issuer, serial } = id;
        self.overwrite(&format!(
            "UPDATE certificates SET status = '{status}' WHERE issuer = '{issuer}' AND serial = '{serial}'"
        ));
    }

    async fn set_event_actor(&self, seq: u64, actor: &str) {
        self.overwrite(&format!(
            "UPDATE events SET actor = '{actor}' WHERE seq = {seq}"
        ));
    }

    async fn remove_event(&self, seq: u64) {
        self.overwrite(&format!("DELETE FROM events WHERE seq = {seq}"));
    }
}

leafgate_testkit::store_conformance!(Scratch::new);
leafgate_testkit::store_tampering_conformance!(Scratch::new);
