//! Devices and their generations.

use std::collections::BTreeMap;

use leafgate_identity::UnixMs;
use leafgate_registry::{
    Action, CertificateStatus, Change, CommitError, DeviceEdit, DeviceState, NewDevice,
    RevocationReason,
};

use super::StoreFixture;
use super::records::{
    act, apply, certificate_id, fingerprint, id, load, new_certificate, new_device, register,
    register_with_certificate,
};

/// What was never registered is not there, which is no error.
pub async fn an_unknown_device_is_none(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    assert_eq!(store.load(&id("0001")).await.expect("an answer"), None);
}

/// All fields come back, and only to whoever spells the id as it was registered.
pub async fn a_device_is_loaded_as_it_was_committed_by_its_exact_spelling(
    fixture: &dyn StoreFixture,
) {
    let store = fixture.open().await;
    let record = register(&*store, "Pump-7").await;
    assert_eq!(load(&*store, "Pump-7").await, record);
    assert_eq!(store.load(&id("pump-7")).await.expect("an answer"), None);

    let plain = NewDevice {
        site: None,
        attributes: BTreeMap::new(),
        pending: true,
        ..new_device("b")
    };
    let plain = apply(
        &*store,
        Change::register(None, plain, &act(-5)).expect("a good device"),
    )
    .await;
    assert_eq!(load(&*store, "b").await, plain);
    assert_eq!(plain.device.state, DeviceState::Pending);
}

/// Each change of each kind is found again by another handle, exactly.
pub async fn every_step_of_a_life_is_loaded_as_committed(fixture: &dyn StoreFixture) {
    let (writer, reader) = (fixture.open().await, fixture.open().await);
    let new = NewDevice {
        pending: true,
        ..new_device("0001")
    };
    let mut record = apply(
        &*writer,
        Change::register(None, new, &act(1)).expect("a good device"),
    )
    .await;
    assert_eq!(load(&*reader, "0001").await, record);

    let (first, second, third) = (certificate_id(1), certificate_id(2), certificate_id(3));
    let overlap_ends = UnixMs::new(9_000);
    let edit = DeviceEdit {
        device_type: Some("pump".to_owned()),
        site: Some(None),
        attributes: Some(BTreeMap::from([("rack".to_owned(), String::new())])),
    };
    type Step<'a> = &'a dyn Fn(
        &leafgate_registry::DeviceRecord,
    ) -> Result<Change, leafgate_registry::BuildChangeError>;
    let steps: [Step<'_>; 16] = [
        &|record| Change::prepare_certificate(record, new_certificate(first), &act(2)),
        &|record| Change::record_issued(record, &first, fingerprint(1), &act(3)),
        &|record| Change::transition(record, Action::Approve, &act(4)),
        &|record| Change::prepare_certificate(record, new_certificate(second), &act(5)),
        &|record| Change::record_issued(record, &second, fingerprint(2), &act(6)),
        &|record| Change::supersede_older(record, &second, overlap_ends, &act(6)),
        &|record| Change::transition(record, Action::Quarantine, &act(7)),
        &|record| Change::transition(record, Action::Enable, &act(8)),
        &|record| Change::edit(record, edit.clone(), &act(9)),
        &|record| Change::transition(record, Action::Disable, &act(10)),
        &|record| Change::transition(record, Action::Enable, &act(11)),
        &|record| Change::prepare_certificate(record, new_certificate(third), &act(12)),
        &|record| {
            Change::revoke_certificate(record, &first, RevocationReason::KeyCompromise, &act(13))
        },
        &|record| Change::revoke(record, RevocationReason::PrivilegeWithdrawn, &act(14)),
        &|record| Change::delete(record, &act(15)),
        &|record| Change::register(Some(record), new_device("0001"), &act(16)),
    ];
    for step in steps {
        record = apply(&*writer, step(&record).expect("a legal step")).await;
        assert_eq!(load(&*reader, "0001").await, record);
    }
    assert_eq!(
        (
            record.device.generation,
            record.device.version,
            record.certificates.len()
        ),
        (2, 17, 3)
    );
}

/// No two spellings of one id, and the refusal names the device that has it.
pub async fn ids_are_unique_ignoring_case(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    register(&*store, "Pump-7").await;
    for taken in ["Pump-7", "pump-7", "PUMP-7"] {
        let change = Change::register(None, new_device(taken), &act(2)).expect("a good device");
        match store.commit(&[change]).await {
            Err(CommitError::IdTaken {
                id: refused,
                existing,
            }) => {
                assert_eq!((refused, existing), (id(taken), id("Pump-7")));
            }
            other => panic!("{taken}: {other:?}"),
        }
    }
    assert_eq!(store.position().await.expect("a position").seq, 1);
    register(&*store, "Pump-8").await;
}

/// A deleted id can't be registered as if it were new, nor in another spelling; knowing the tombstone, it can, once.
pub async fn a_tombstone_keeps_its_id_for_the_next_generation(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let record = register(&*store, "Pump-7").await;
    let tombstone = apply(
        &*store,
        Change::delete(&record, &act(2)).expect("a live device"),
    )
    .await;
    assert_eq!(load(&*store, "Pump-7").await, tombstone);

    for taken in ["Pump-7", "pump-7"] {
        let as_new = Change::register(None, new_device(taken), &act(3)).expect("a good device");
        let refused = store
            .commit(&[as_new])
            .await
            .expect_err("the tombstone has the id");
        assert!(
            matches!(refused, CommitError::IdTaken { .. }),
            "{refused:?}"
        );
    }

    let again = Change::register(Some(&tombstone), new_device("Pump-7"), &act(4))
        .expect("a deleted device");
    let record = apply(&*store, again.clone()).await;
    assert_eq!((record.device.generation, record.device.version), (2, 3));
    let twice = store
        .commit(&[again])
        .await
        .expect_err("it is registered by now");
    assert!(matches!(twice, CommitError::Conflict { .. }), "{twice:?}");
    assert_eq!(load(&*store, "Pump-7").await, record);
}

/// The certificates of an earlier generation stay revoked in the record, and none of them counts for the new one.
pub async fn the_next_generation_knows_the_certificates_of_the_last(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let record = register_with_certificate(&*store, "0001", certificate_id(1)).await;
    let tombstone = apply(
        &*store,
        Change::delete(&record, &act(4)).expect("a live device"),
    )
    .await;
    let again =
        Change::register(Some(&tombstone), new_device("0001"), &act(5)).expect("a deleted device");
    apply(&*store, again).await;

    let record = load(&*store, "0001").await;
    let old = record
        .certificate(&certificate_id(1))
        .expect("the old certificate");
    let reason = RevocationReason::CessationOfOperation;
    assert_eq!(
        old.status,
        CertificateStatus::Revoked {
            at: UnixMs::new(4),
            reason
        }
    );
    assert_eq!(record.certificate_by_fingerprint(&fingerprint(1)), None);
}

/// Whatever somebody prepared from what they read before a revocation, nothing of it gets through.
pub async fn revoked_is_final_for_whoever_knew_the_device_before(fixture: &dyn StoreFixture) {
    let (first, second) = (fixture.open().await, fixture.open().await);
    register_with_certificate(&*first, "0001", certificate_id(1)).await;
    let stale = load(&*second, "0001").await;
    let revoke =
        Change::revoke(&stale, RevocationReason::KeyCompromise, &act(5)).expect("an active device");
    let revoked = apply(&*first, revoke).await;

    let edit = DeviceEdit {
        site: Some(None),
        ..DeviceEdit::default()
    };
    for late in [
        Change::transition(&stale, Action::Quarantine, &act(6)),
        Change::transition(&stale, Action::Disable, &act(6)),
        Change::transition(&stale, Action::Delete, &act(6)),
        Change::edit(&stale, edit, &act(6)),
        Change::prepare_certificate(&stale, new_certificate(certificate_id(2)), &act(6)),
        Change::revoke_certificate(
            &stale,
            &certificate_id(1),
            RevocationReason::Superseded,
            &act(6),
        ),
    ] {
        let refused = second
            .commit(&[late.expect("legal before the revocation")])
            .await;
        assert!(
            matches!(refused, Err(CommitError::Conflict { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(load(&*second, "0001").await, revoked);
}
