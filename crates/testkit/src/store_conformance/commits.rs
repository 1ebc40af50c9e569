//! Commits: versions, and all or nothing.

use leafgate_registry::{
    Action, Change, CommitError, DeviceRecord, DeviceState, Epoch, EventKind, Query, verify_chain,
};

use super::StoreFixture;
use super::records::{
    act, all_events, apply, certificate_id, fingerprint, id, issuer, load, new_certificate,
    new_device, number_crl, register, register_with_certificate,
};

/// No changes: the position, and no event.
pub async fn an_empty_commit_writes_nothing(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    register(&*store, "0001").await;
    let position = store.position().await.expect("a position");
    assert_eq!(
        store.commit(&[]).await.expect("nothing to refuse"),
        position
    );
    assert_eq!(store.position().await.expect("a position"), position);
}

/// Of two changes built from one version, the second is refused and leaves no trace.
pub async fn a_stale_version_is_refused_and_writes_nothing(fixture: &dyn StoreFixture) {
    let (first, second) = (fixture.open().await, fixture.open().await);
    let record = register(&*first, "0001").await;
    let disabled = apply(
        &*first,
        Change::transition(&record, Action::Disable, &act(2)).expect("legal"),
    )
    .await;
    let position = first.position().await.expect("a position");

    let stale = Change::transition(&record, Action::Quarantine, &act(3)).expect("legal before");
    let refused = second.commit(&[stale]).await.expect_err("another version");
    assert!(
        matches!(refused, CommitError::Conflict { .. }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("0001"), "{refused}");
    assert_eq!(second.position().await.expect("a position"), position);
    assert_eq!(load(&*second, "0001").await, disabled);
}

/// A change of what this registry never held conflicts.
pub async fn a_device_that_was_never_registered_cannot_change(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let imagined =
        after(&Change::register(None, new_device("0001"), &act(1)).expect("a good device"));
    let change = Change::transition(&imagined, Action::Disable, &act(2)).expect("legal");
    let refused = store.commit(&[change]).await;
    assert!(
        matches!(refused, Err(CommitError::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(store.load(&id("0001")).await.expect("an answer"), None);
}

/// Registered, prepared and issued in one commit, as three events.
pub async fn several_changes_of_one_device_go_together(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let changes = registration("0001", 1);
    let position = store
        .commit(&changes)
        .await
        .expect("changes that build on each other");
    assert_eq!(load(&*store, "0001").await, after(&changes[2]));

    let events = all_events(&*store).await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            EventKind::DeviceRegistered,
            EventKind::CertificatePrepared,
            EventKind::CertificateIssued
        ]
    );
    assert_eq!(position.head(), events[2].head());
}

/// Whichever kind of refusal comes last, nothing that came before it in the commit is there, and all of it can be
/// committed afterwards.
pub async fn all_or_nothing_whatever_fails(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let held = register_with_certificate(&*store, "0001", certificate_id(1)).await;
    let other = register(&*store, "0002").await;
    let stale = Change::transition(&held, Action::Disable, &act(5)).expect("legal");
    let held = apply(
        &*store,
        Change::transition(&held, Action::Quarantine, &act(5)).expect("legal"),
    )
    .await;
    let service =
        Change::prepare_service_certificate("leaf-1", new_certificate(certificate_id(3)), &act(6));
    let service = service.expect("a good certificate");
    let crl = number_crl(None, 1);
    let position = store.position().await.expect("a position");

    let mut good = registration("0003", 2);
    good.push(Change::transition(&held, Action::Enable, &act(7)).expect("legal"));
    good.push(service.clone());
    good.push(crl.clone());
    good.push(Change::start_epoch(Epoch::generate(), &act(7)));

    let id_taken = Change::register(None, new_device("0001"), &act(8)).expect("a good device");
    let serial_taken =
        Change::prepare_certificate(&other, new_certificate(certificate_id(1)), &act(8));
    let own_serial_taken =
        Change::prepare_certificate(&other, new_certificate(certificate_id(2)), &act(8));
    let bad = [
        stale,
        id_taken,
        serial_taken.expect("legal"),
        own_serial_taken.expect("legal"),
        service,
        crl,
    ];
    for bad in bad {
        let mut changes = good.clone();
        changes.push(bad);
        let refused = store.commit(&changes).await;
        assert!(
            !matches!(refused, Ok(_) | Err(CommitError::Store(_))),
            "{refused:?}"
        );
        assert_eq!(store.position().await.expect("a position"), position);
        assert_eq!(store.load(&id("0003")).await.expect("an answer"), None);
        assert_eq!(load(&*store, "0001").await, held);
        assert_eq!(load(&*store, "0002").await, other);
        assert_eq!(store.crl(&issuer(1)).await.expect("an answer"), None);
    }

    store
        .commit(&good)
        .await
        .expect("nothing of it was left behind");
    assert_eq!(load(&*store, "0003").await, after(&good[2]));
    assert_eq!(
        load(&*store, "0001").await.device.state,
        DeviceState::Active
    );
}

/// A bulk import is one commit.
pub async fn thousands_of_changes_go_at_once(fixture: &dyn StoreFixture) {
    const DEVICES: u32 = 2_000;
    let store = fixture.open().await;
    let changes: Vec<_> = (0..DEVICES)
        .flat_map(|number| registration(&format!("bulk-{number:05}"), number))
        .collect();
    let position = store.commit(&changes).await.expect("changes that fit");
    assert_eq!(position.seq, u64::from(3 * DEVICES));
    let events = all_events(&*store).await;
    assert_eq!(verify_chain(&events), Ok(position.head()));
    let page = store
        .find(&Query {
            limit: 5_000,
            ..Query::default()
        })
        .await
        .expect("readable devices");
    let expected: Vec<_> = changes.iter().skip(2).step_by(3).map(after).collect();
    assert!(
        page.items == expected,
        "every device is as it was committed"
    );
}

fn after(change: &Change) -> DeviceRecord {
    change.device_after().expect("a change of a device").clone()
}

/// A device's registration with an issued certificate, as three changes.
fn registration(text: &str, serial: u32) -> Vec<Change> {
    let register = Change::register(None, new_device(text), &act(1_000)).expect("a good device");
    let id = certificate_id(serial);
    let prepare = Change::prepare_certificate(&after(&register), new_certificate(id), &act(2_000));
    let prepare = prepare.expect("an active device");
    let issue = Change::record_issued(&after(&prepare), &id, fingerprint(1), &act(3_000));
    vec![register, prepare, issue.expect("a prepared certificate")]
}
