//! Devices that other scripts registered, and edits by hand.

use leafgate_identity::UnixMs;
use leafgate_registry::{
    Action, Change, CommitError, DeviceEdit, DeviceState, DeviceStore, Epoch, FeedPosition, Query,
    RevocationReason, StoreError,
};
use leafgate_testkit::store_conformance::records::{
    act, all_events, apply, certificate_id, id, load, new_certificate, new_device, register,
    register_with_certificate,
};
use serde_json::json;

use crate::support::{DOMAIN, Scratch};

/// What `vault kv put secret/devices/ID registered_at="$(date -u +%Y-%m-%dT%H:%M:%SZ)" status="active"
/// device_type="iot-sensor"` writes.
async fn register_as_the_script_does(scratch: &Scratch, id: &str) {
    let document = json!({
        "registered_at": "2026-03-01T12:00:00Z",
        "status": "active",
        "device_type": "iot-sensor",
    });
    scratch.put(&format!("devices/{id}"), document).await;
}

#[tokio::test]
async fn a_device_of_a_script_is_a_device_without_any_leafgate_registry() {
    let scratch = Scratch::new().await;
    register_as_the_script_does(&scratch, "0001").await;
    register_as_the_script_does(&scratch, "device-0002").await;
    let reader = scratch.reader().await;
    let device = load(&reader, "0001").await.device;
    assert_eq!(device.state, DeviceState::Active);
    assert_eq!(device.device_type, "iot-sensor");
    assert_eq!(device.trust_domain.as_str(), DOMAIN);
    assert_eq!((device.generation, device.version), (1, 1));
    assert_eq!(
        device.registered_at_ms,
        "2026-03-01T12:00:00Z".parse::<UnixMs>().unwrap()
    );
    assert_eq!(load(&reader, "device-0002").await.certificates, []);
    assert_eq!(reader.load(&id("0003")).await.unwrap(), None);

    let position = reader.position().await.unwrap();
    let nowhere: Epoch = "0".repeat(32).parse().unwrap();
    assert_eq!((position.seq, position.epoch), (0, nowhere));
    assert_eq!(all_events(&reader).await, []);

    // Once there is a registry, followers of this feed notice that it is another.
    let writer = scratch.store().await;
    let FeedPosition { epoch, .. } = reader.position().await.unwrap();
    assert_ne!(epoch, nowhere);
    assert_eq!(load(&writer, "0001").await.device, device);
}

#[tokio::test]
async fn a_device_of_a_script_lives_on_in_the_registry() {
    let scratch = Scratch::new().await;
    register_as_the_script_does(&scratch, "0001").await;
    scratch
        .patch("devices/0001", json!({ "owner": "somebody", "rack": 7 }))
        .await;
    let store = scratch.store().await;
    let taken = Change::register(None, new_device("0001"), &act(1)).unwrap();
    let taken = store.commit(&[taken]).await;
    assert!(
        matches!(taken, Err(CommitError::IdTaken { .. })),
        "{taken:?}"
    );

    let record = load(&store, "0001").await;
    assert_eq!(record.device.version, 2);
    let prepare = Change::prepare_certificate(&record, new_certificate(certificate_id(1)), &act(2));
    let record = apply(&store, prepare.unwrap()).await;
    assert_eq!(record.device.version, 3);
    assert_eq!(load(&store, "0001").await, record);
    let disable = Change::transition(&record, Action::Disable, &act(3)).unwrap();
    let record = apply(&store, disable).await;
    assert_eq!(load(&scratch.reader().await, "0001").await, record);
    assert_eq!(
        scratch.get("devices/0001").await,
        json!({
            "registered_at": "2026-03-01T12:00:00Z",
            "status": "disabled",
            "device_type": "iot-sensor",
            "owner": "somebody",
            "rack": 7,
        })
    );
}

#[tokio::test]
async fn the_script_run_again_lifts_no_revocation() {
    let scratch = Scratch::new().await;
    let store = scratch.store().await;
    let record = register_with_certificate(&store, "0001", certificate_id(1)).await;
    let revoke = Change::revoke(&record, RevocationReason::KeyCompromise, &act(5)).unwrap();
    let revoked = apply(&store, revoke).await;

    register_as_the_script_does(&scratch, "0001").await;
    let found = load(&store, "0001").await;
    assert_eq!(found.device.state, DeviceState::Revoked);
    assert_eq!(found.device.device_type, revoked.device.device_type);
    assert_eq!(found.certificates, revoked.certificates);

    scratch.remove("devices/0001").await;
    assert_eq!(
        load(&store, "0001").await.device.state,
        DeviceState::Revoked
    );
    register_as_the_script_does(&scratch, "0001").await;
    let found = load(&store, "0001").await;
    assert_eq!(found.device.state, DeviceState::Revoked);

    // Only as leafgate's tombstone does the id come free, for a new generation.
    let deleted = apply(&store, Change::delete(&found, &act(6)).unwrap()).await;
    register_as_the_script_does(&scratch, "0001").await;
    let found = load(&store, "0001").await;
    assert_eq!(found.device.state, DeviceState::Deleted);
    assert_eq!(found.device.generation, deleted.device.generation);
    let again = Change::register(Some(&found), new_device("0001"), &act(7)).unwrap();
    let again = apply(&store, again).await;
    assert_eq!(again.device.generation, 2);
    assert_eq!(load(&store, "0001").await, again);
    assert_eq!(scratch.get("devices/0001").await["status"], "active");
}

#[tokio::test]
async fn an_edit_by_hand_narrows_until_it_is_undone() {
    let scratch = Scratch::new().await;
    let store = scratch.store().await;
    register(&store, "0001").await;
    let state = async || load(&store, "0001").await.device.state;
    for (status, expected) in [
        ("quarantined", DeviceState::Quarantined),
        ("revoked", DeviceState::Revoked),
        ("active", DeviceState::Active),
        ("Active", DeviceState::Disabled),
        ("active", DeviceState::Active),
    ] {
        scratch
            .patch("devices/0001", json!({ "status": status }))
            .await;
        assert_eq!(state().await, expected, "{status}");
        let page = store.find(&Query::default()).await.unwrap();
        assert_eq!(page.items[0].device.state, expected, "{status}");
    }
}

#[tokio::test]
async fn a_change_that_was_built_before_an_edit_by_hand_is_refused() {
    let scratch = Scratch::new().await;
    let store = scratch.store().await;
    let record = register(&store, "0001").await;
    scratch
        .patch("devices/0001", json!({ "status": "revoked" }))
        .await;
    let edit = DeviceEdit {
        site: Some(None),
        ..DeviceEdit::default()
    };
    let stale = Change::edit(&record, edit.clone(), &act(2)).unwrap();
    let refused = store.commit(&[stale]).await;
    assert!(
        matches!(refused, Err(CommitError::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(scratch.get("devices/0001").await["status"], "revoked");

    scratch
        .patch("devices/0001", json!({ "status": "active" }))
        .await;
    let record = load(&store, "0001").await;
    assert_eq!(record.device.version, 3);
    let edited = apply(&store, Change::edit(&record, edit, &act(3)).unwrap()).await;
    assert_eq!(load(&store, "0001").await, edited);
}

#[tokio::test]
async fn ids_of_scripts_are_taken_in_every_spelling() {
    let scratch = Scratch::new().await;
    register_as_the_script_does(&scratch, "Pump-7").await;
    let store = scratch.store().await;
    for text in ["Pump-7", "pump-7", "PUMP-7"] {
        let register = Change::register(None, new_device(text), &act(1)).unwrap();
        match store.commit(&[register]).await {
            Err(CommitError::IdTaken { existing, .. }) => assert_eq!(existing, id("Pump-7")),
            other => panic!("{text}: {other:?}"),
        }
    }
    // Two that differ in case only, as scripts may have made them, both stay what they are.
    register_as_the_script_does(&scratch, "pump-7").await;
    for text in ["Pump-7", "pump-7"] {
        let record = load(&store, text).await;
        let disable = Change::transition(&record, Action::Disable, &act(2)).unwrap();
        let record = apply(&store, disable).await;
        assert_eq!(load(&store, text).await, record);
    }
}

#[tokio::test]
async fn other_things_that_are_kept_there_are_no_devices() {
    let scratch = Scratch::new().await;
    for name in ["0001", "notes/2026", "pump.7", "-x", "with space"] {
        register_as_the_script_does(&scratch, name).await;
    }
    let deleted = format!("{}/data/devices/gone", scratch.mount);
    register_as_the_script_does(&scratch, "gone").await;
    scratch
        .admin
        .request("DELETE", &deleted, serde_json::Value::Null)
        .await;
    let store = scratch.store().await;
    let page = store.find(&Query::default()).await.unwrap();
    let ids: Vec<_> = page.items.iter().map(|r| r.device.id.as_str()).collect();
    assert_eq!(ids, ["0001"]);
    assert_eq!(store.load(&id("gone")).await.unwrap(), None);
    register(&store, "gone").await;
    assert_eq!(load(&store, "gone").await.device.generation, 1);
}

#[tokio::test]
async fn a_registry_whose_head_is_gone_is_not_taken_for_a_new_one() {
    let scratch = Scratch::new().await;
    let store = scratch.store().await;
    register(&store, "0001").await;
    scratch.settled().await;
    let corrupt = async || {
        let reader = store.position().await;
        let Err(StoreError::Corrupt { what }) = reader else {
            panic!("{reader:?}")
        };
        what
    };
    let head = format!("{}/data/leafgate/head", scratch.mount);
    scratch
        .admin
        .request("DELETE", &head, serde_json::Value::Null)
        .await;
    let what = corrupt().await;
    assert!(what.contains("vault kv undelete -versions="), "{what}");
    scratch.remove("leafgate/head").await;
    let what = corrupt().await;
    assert!(what.contains("restore it from a backup"), "{what}");
    let vault = scratch.vault().await;
    let opened = leafgate_vault::VaultStore::open(&vault, &scratch.config()).await;
    assert!(matches!(opened, Err(StoreError::Corrupt { .. })));
}

/// An event in the place of a committed one stops the registry, and says how to go on.
#[tokio::test]
async fn a_forged_event_is_not_taken_for_the_committed_one() {
    let scratch = Scratch::new().await;
    let store = scratch.store().await;
    register(&store, "0001").await;
    scratch
        .put(
            "leafgate/events/00000000000000000002",
            json!({ "forged": true }),
        )
        .await;
    register(&store, "0002").await;
    let next = Change::register(None, new_device("0003"), &act(1)).unwrap();
    let refused = store.commit(std::slice::from_ref(&next)).await;
    let Err(CommitError::Store(StoreError::Corrupt { what })) = refused else {
        panic!("{refused:?}")
    };
    assert!(what.contains("vault kv metadata delete"), "{what}");
    scratch.remove("leafgate/events/00000000000000000002").await;
    store.commit(&[next]).await.unwrap();
    let events = all_events(&store).await;
    let head = leafgate_registry::verify_chain(&events).unwrap();
    assert_eq!(head, store.position().await.unwrap().head());
    assert_eq!(events.len(), 3);
}
