//! Records that something else than a store of ours wrote.

use std::sync::Arc;

use leafgate_identity::UnixMs;
use leafgate_registry::{Action, ChainError, Change, Query, RevocationReason, verify_chain};
use tokio::task::JoinSet;

use super::StoreTampering;
use super::records::{
    act, all_events, apply, apply_service, certificate_id, fingerprint, id, load, new_certificate,
    new_device, register, register_with_certificate,
};

/// Neither loading nor listing gives a device that may log in.
pub async fn an_unknown_state_denies(fixture: &dyn StoreTampering) {
    let store = fixture.open().await;
    register(&*store, "0001").await;
    for state in [
        "", "Active", "ACTIVE", "active ", " active", "enabled", "1", "true",
    ] {
        fixture.set_state(&id("0001"), state).await;
        if let Ok(Some(record)) = store.load(&id("0001")).await {
            assert!(!record.device.state.admits(), "{state:?} admits");
        }
        if let Ok(page) = store.find(&Query::default()).await {
            let admitted = page
                .items
                .iter()
                .find(|record| record.device.state.admits());
            assert_eq!(admitted, None, "{state:?} admits");
        }
    }
    fixture.set_state(&id("0001"), "active").await;
    assert!(load(&*store, "0001").await.device.state.admits());
}

/// Nor does a certificate whose status nobody knows count.
pub async fn an_unknown_certificate_status_denies(fixture: &dyn StoreTampering) {
    let store = fixture.open().await;
    register_with_certificate(&*store, "0001", certificate_id(1)).await;
    for status in ["", "Issued", "issued ", "valid", "superseded", "revoked"] {
        fixture
            .set_certificate_status(&certificate_id(1), status)
            .await;
        if let Ok(Some(record)) = store.load(&id("0001")).await {
            let certificate = record.certificate_by_fingerprint(&fingerprint(1));
            let admits = certificate
                .is_some_and(|certificate| certificate.status.admits(UnixMs::new(5_000)));
            assert!(!admits, "{status:?} admits");
        }
    }
    fixture
        .set_certificate_status(&certificate_id(1), "issued")
        .await;
    let record = load(&*store, "0001").await;
    let certificate = record
        .certificate_by_fingerprint(&fingerprint(1))
        .expect("the certificate");
    assert!(certificate.status.admits(UnixMs::new(5_000)));
}

/// A change that was built before can still lock the device out.
pub async fn an_unknown_state_survives_no_write(fixture: &dyn StoreTampering) {
    let store = fixture.open().await;
    let record = register(&*store, "0001").await;
    fixture.set_state(&id("0001"), "enabled").await;
    let revoked = apply(
        &*store,
        Change::transition(&record, Action::Revoke, &act(2)).expect("legal"),
    )
    .await;
    assert_eq!(load(&*store, "0001").await, revoked);
}

/// Whoever needs a record that can't be read is told so, and nobody else, whatever a store writes together.
pub async fn a_spoiled_record_is_the_business_of_its_caller(fixture: &dyn StoreTampering) {
    let store = fixture.open().await;
    let new = new_certificate(certificate_id(1));
    let prepare =
        Change::prepare_service_certificate("leaf-1", new, &act(1)).expect("a good certificate");
    let prepared = apply_service(&*store, prepare).await;
    fixture
        .set_certificate_status(&certificate_id(1), "signed")
        .await;
    let revoke =
        Change::revoke_service_certificate(&prepared, RevocationReason::Superseded, &act(2));
    let revoke = revoke.expect("not revoked");

    let mut tasks = JoinSet::new();
    for number in 0..30 {
        let store = Arc::clone(&store);
        let register = Change::register(None, new_device(&format!("d{number}")), &act(3))
            .expect("a good device");
        let change = if number % 10 == 5 {
            revoke.clone()
        } else {
            register
        };
        tasks.spawn(async move { (number, store.commit(&[change]).await) });
    }
    for (number, result) in tasks.join_all().await {
        assert_eq!(result.is_ok(), number % 10 != 5, "{number}: {result:?}");
    }
}

/// The chain tells which event was altered.
pub async fn an_altered_event_shows(fixture: &dyn StoreTampering) {
    let store = fixture.open().await;
    register_with_certificate(&*store, "0001", certificate_id(1)).await;
    fixture.set_event_actor(2, "somebody else").await;
    assert_eq!(
        verify_chain(all_events(&*store).await),
        Err(ChainError::Altered { seq: 2 })
    );
}

/// The chain tells which event is missing, and the position that the last one is.
pub async fn a_removed_event_shows(fixture: &dyn StoreTampering) {
    let store = fixture.open().await;
    register_with_certificate(&*store, "0001", certificate_id(1)).await;
    fixture.remove_event(3).await;
    let head = verify_chain(all_events(&*store).await).expect("what is left is a chain");
    assert_ne!(head, store.position().await.expect("a position").head());
    fixture.remove_event(1).await;
    assert_eq!(
        verify_chain(all_events(&*store).await),
        Err(ChainError::Gap { seq: 1, found: 2 })
    );
}
