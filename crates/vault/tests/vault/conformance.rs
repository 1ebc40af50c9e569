//! Vault does what every store has to do, but for searches that would read everything.

use std::sync::Arc;

use async_trait::async_trait;
use leafgate_identity::DeviceId;
use leafgate_registry::{CertificateId, DeviceStore};
use leafgate_testkit::store_conformance::features::Feature;
use leafgate_testkit::store_conformance::{StoreFixture, StoreTampering};
use serde_json::{Value, json};

use crate::support::Scratch;

#[async_trait]
impl StoreFixture for Scratch {
    async fn open(&self) -> Arc<dyn DeviceStore> {
        Arc::new(self.store().await)
    }

    fn supports(&self, feature: Feature) -> bool {
        match feature {
            Feature::UnindexedSearches => false,
        }
    }
}

/// What only leafgate may write is spoiled here; what people may write is the business of other tests.
#[async_trait]
impl StoreTampering for Scratch {
    async fn set_state(&self, id: &DeviceId, state: &str) {
        self.settled().await;
        let path = format!("leafgate/devices/{id}");
        self.patch(&path, json!({ "state": state })).await;
    }

    async fn set_certificate_status(&self, id: &CertificateId, status: &str) {
        self.settled().await;
        let index = self
            .get(&format!(
                "leafgate/certificates/{}/{}",
                id.issuer, id.serial
            ))
            .await;
        let path = match index["holder"]["device"].as_str() {
            Some(device) => format!("leafgate/devices/{device}"),
            None => self.only_service().await,
        };
        let mut certificates = self.get(&path).await["certificates"].take();
        let of_id = |certificate: &&mut Value| {
            certificate["issuer"] == json!(id.issuer) && certificate["serial"] == json!(id.serial)
        };
        let certificate = certificates.as_array_mut().unwrap().iter_mut().find(of_id);
        certificate.unwrap()["status"] = json!(status);
        self.patch(&path, json!({ "certificates": certificates }))
            .await;
    }

    async fn set_event_actor(&self, seq: u64, actor: &str) {
        self.settled().await;
        let path = format!("leafgate/events/{seq:020}");
        self.patch(&path, json!({ "actor": actor })).await;
    }

    async fn remove_event(&self, seq: u64) {
        self.settled().await;
        self.remove(&format!("leafgate/events/{seq:020}")).await;
    }
}

impl Scratch {
    async fn only_service(&self) -> String {
        let path = format!("{}/metadata/leafgate/services", self.mount);
        let listed = self.admin.request("LIST", &path, Value::Null).await;
        let names = listed["data"]["keys"].as_array().unwrap();
        assert_eq!(names.len(), 1);
        format!("leafgate/services/{}", names[0].as_str().unwrap())
    }
}

leafgate_testkit::store_conformance!(Scratch::new);
leafgate_testkit::store_tampering_conformance!(Scratch::new);
