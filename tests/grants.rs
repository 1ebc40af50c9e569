//! A change of what a device may do ends its session, and its next one has the new grant; a change
//! of anything else leaves it alone.

use std::collections::BTreeMap;
use std::fs;

use leafgate::local::Device;
use leafgate_identity::DeviceId;
use leafgate_registry::DeviceEdit;

use crate::support::devices::{confirm, connects};
use crate::support::evictions::Evictions;
use crate::support::in_process::InProcess;
use crate::support::observer::connect;
use crate::support::{PATIENCE, TestSite, act, without_replicas};

/// What a device may publish depends on an attribute, its type and whether it is quarantined.
const POLICY: &str = r#"
[[policy]]
name = "valve"
account = "DEVICES"
match = { device_type = "valve" }
publish.allow = ["{prefix}.{id}.valve"]

[[policy]]
name = "zoned"
account = "DEVICES"
match = { device_type = "*" }
publish.allow = ["{prefix}.{id}.zone.{attr.zone}"]
[policy.quarantine]
publish.allow = ["{prefix}.{id}.status"]
"#;

struct Stage {
    callout: InProcess,
    site: TestSite,
    device: Device,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// A device of zone north that is logged in.
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("zones.toml");
        fs::write(&policy, POLICY).unwrap();
        let mut options = without_replicas();
        options.policies = vec![policy];
        let site = TestSite::start(&options).await;
        let callout = InProcess::start(&site, 0).await;
        site.register("0001").await;
        site.registrar
            .set_attributes(&id(), zone("north"), &act())
            .await
            .unwrap();
        callout.applied().await;
        let device = site.log_in("0001").await.unwrap();
        let mut stage = Self {
            site,
            callout,
            device,
            _folder: folder,
        };
        stage.may_publish_only("device.0001.zone.north").await;
        stage
    }

    /// Waits for the end of the session and for the next one, which the client makes by itself.
    async fn comes_back(&mut self) {
        self.device.ended(PATIENCE).await.unwrap();
        confirm(&mut self.device).await;
        self.device = self.site.log_in("0001").await.unwrap();
    }

    /// One more attribute, which no grant depends on, and what went before it leave the session
    /// of zone north alone.
    async fn stays(&mut self) {
        let mut evictions = Evictions::follow(connect(&self.site, "auth").await).await;
        let mut attributes = zone("north");
        attributes.insert("colour".to_owned(), "red".to_owned());
        self.site
            .registrar
            .set_attributes(&id(), attributes, &act())
            .await
            .unwrap();
        let newest = self.callout.applied().await;
        evictions.reach(newest).await;
        confirm(&mut self.device).await;
        assert_eq!(connects(&self.device), 1);
    }

    /// The device may publish on this subject, and on no other of those that any grant has.
    async fn may_publish_only(&mut self, allowed: &'static str) {
        let client = self.device.client.clone();
        client.publish(allowed, "".into()).await.unwrap();
        for subject in [
            "device.0001.zone.north",
            "device.0001.zone.south",
            "device.0001.status",
            "device.0001.valve",
        ] {
            if subject != allowed {
                client.publish(subject, "".into()).await.unwrap();
                client.flush().await.unwrap();
                // The first refusal is of this one, so the allowed one before it was not refused.
                let refusal = self.device.refusal(PATIENCE).await.unwrap();
                assert!(refusal.contains(subject), "{refusal}");
            }
        }
    }
}

fn id() -> DeviceId {
    DeviceId::parse("0001").unwrap()
}

fn zone(zone: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("zone".to_owned(), zone.to_owned())])
}

#[tokio::test]
async fn an_attribute_in_the_grant_ends_the_session_and_another_does_not() {
    let mut stage = Stage::set().await;
    stage.stays().await;

    stage
        .site
        .registrar
        .set_attributes(&id(), zone("south"), &act())
        .await
        .unwrap();
    stage.comes_back().await;
    stage.may_publish_only("device.0001.zone.south").await;
}

#[tokio::test]
async fn another_policy_ends_the_session() {
    let mut stage = Stage::set().await;
    let edit = DeviceEdit {
        device_type: Some("valve".to_owned()),
        ..DeviceEdit::default()
    };
    stage
        .site
        .registrar
        .edit(&id(), edit, &act())
        .await
        .unwrap();
    stage.comes_back().await;
    stage.may_publish_only("device.0001.valve").await;
}

#[tokio::test]
async fn an_edit_that_no_grant_survives_ends_the_session_for_good() {
    let mut stage = Stage::set().await;
    stage
        .site
        .registrar
        .set_attributes(&id(), BTreeMap::new(), &act())
        .await
        .unwrap();
    stage.device.ended(PATIENCE).await.unwrap();
    stage
        .callout
        .decided("decision denied reason=policy-variable-missing device=0001")
        .await;
}

#[tokio::test]
async fn quarantine_narrows_the_grant_and_enabling_restores_it() {
    let mut stage = Stage::set().await;
    stage
        .site
        .registrar
        .quarantine(&id(), &act())
        .await
        .unwrap();
    stage.comes_back().await;
    stage.may_publish_only("device.0001.status").await;

    stage.site.registrar.enable(&id(), &act()).await.unwrap();
    stage.comes_back().await;
    stage.may_publish_only("device.0001.zone.north").await;
}

#[tokio::test]
async fn a_second_certificate_leaves_the_session_of_the_first_alone() {
    let mut stage = Stage::set().await;
    stage
        .site
        .registrar
        .issue_with_new_key(&id(), &act())
        .await
        .unwrap();
    stage.stays().await;
}
