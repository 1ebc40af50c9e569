//! Certificates of devices and services, and CRL numbers.

use leafgate_identity::UnixMs;
use leafgate_registry::{
    BuildChangeError, Certificate, CertificateQuery, CertificateStatus, Change, CommitError,
    DeviceStore, RevocationReason,
};

use super::StoreFixture;
use super::records::{
    act, apply, apply_service, certificate_id, certificate_id_of, fingerprint, issuer, load,
    new_certificate, number_crl, register, register_with_certificate,
};

/// The same serial number is refused to another device and to a service, but not of another issuer.
pub async fn serials_are_unique_per_issuer(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    register_with_certificate(&*store, "0001", certificate_id(7)).await;
    let other = register(&*store, "0002").await;
    let prepare = |id| {
        Change::prepare_certificate(&other, new_certificate(id), &act(5)).expect("an active device")
    };
    let prepare_service = |id| {
        Change::prepare_service_certificate("leaf-1", new_certificate(id), &act(5))
            .expect("a good certificate")
    };

    for taken in [
        prepare(certificate_id(7)),
        prepare_service(certificate_id(7)),
    ] {
        match store.commit(&[taken]).await {
            Err(CommitError::SerialTaken { id }) => assert_eq!(id, certificate_id(7)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        load(&*store, "0002").await,
        other,
        "a refused certificate leaves the device as it was"
    );

    apply_service(&*store, prepare_service(certificate_id_of(2, 7))).await;
    let taken = store.commit(&[prepare(certificate_id_of(2, 7))]).await;
    assert!(
        matches!(taken, Err(CommitError::SerialTaken { .. })),
        "{taken:?}"
    );
    apply(&*store, prepare(certificate_id_of(3, 7))).await;
}

/// The signature of a certificate whose device was deleted meanwhile is not recorded, and its serial stays revoked.
pub async fn a_device_deleted_during_a_signature_gets_no_certificate(fixture: &dyn StoreFixture) {
    let (signer, operator) = (fixture.open().await, fixture.open().await);
    let record = register(&*signer, "0001").await;
    let prepare = Change::prepare_certificate(&record, new_certificate(certificate_id(1)), &act(2));
    let prepared = apply(&*signer, prepare.expect("an active device")).await;
    let deleted = apply(
        &*operator,
        Change::delete(&prepared, &act(3)).expect("a live device"),
    )
    .await;

    let issue = Change::record_issued(&prepared, &certificate_id(1), fingerprint(1), &act(4));
    let late = signer
        .commit(&[issue.expect("legal before the deletion")])
        .await;
    assert!(
        matches!(late, Err(CommitError::Conflict { .. })),
        "{late:?}"
    );
    assert_eq!(load(&*signer, "0001").await, deleted);
}

/// Prepared, issued, superseded, revoked: found again by another handle after each step.
pub async fn service_certificates_live_the_same_way(fixture: &dyn StoreFixture) {
    let (writer, reader) = (fixture.open().await, fixture.open().await);
    let new = new_certificate(certificate_id(1));
    let prepare = Change::prepare_service_certificate("leaf-1.example", new, &act(1))
        .expect("a good certificate");
    let prepared = apply_service(&*writer, prepare).await;
    assert_eq!(only_certificate(&*reader).await, prepared);

    let issue = Change::record_service_issued(&prepared, fingerprint(1), &act(2))
        .expect("a prepared certificate");
    let issued = apply_service(&*writer, issue).await;
    assert_eq!(only_certificate(&*reader).await, issued);

    let supersede = Change::supersede_service_certificate(&issued, UnixMs::new(50), &act(3));
    let superseded = apply_service(&*writer, supersede.expect("an issued certificate")).await;
    assert_eq!(only_certificate(&*reader).await, superseded);

    let revoke =
        Change::revoke_service_certificate(&superseded, RevocationReason::Superseded, &act(4));
    let revoked = apply_service(&*writer, revoke.expect("not revoked yet")).await;
    assert_eq!(only_certificate(&*reader).await, revoked);
}

/// A service certificate that somebody else changed meanwhile is left as they made it.
pub async fn a_stale_service_certificate_is_refused(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let new = new_certificate(certificate_id(1));
    let prepare =
        Change::prepare_service_certificate("leaf-1", new, &act(1)).expect("a good certificate");
    let prepared = apply_service(&*store, prepare).await;
    let revoke =
        Change::revoke_service_certificate(&prepared, RevocationReason::KeyCompromise, &act(2));
    let revoked = apply_service(&*store, revoke.expect("not revoked yet")).await;

    let issue =
        Change::record_service_issued(&prepared, fingerprint(1), &act(3)).expect("legal before");
    let late = store.commit(&[issue]).await;
    assert!(
        matches!(late, Err(CommitError::Conflict { .. })),
        "{late:?}"
    );
    assert_eq!(only_certificate(&*store).await, revoked);
}

/// Each issuer counts for itself, and of two who take the same number one is refused.
pub async fn crl_numbers_are_given_once(fixture: &dyn StoreFixture) {
    let (first, second) = (fixture.open().await, fixture.open().await);
    assert_eq!(first.crl(&issuer(1)).await.expect("an answer"), None);
    for number in 1..=3 {
        let previous = second.crl(&issuer(1)).await.expect("an answer");
        let next = number_crl(previous.as_ref(), 1);
        first
            .commit(std::slice::from_ref(&next))
            .await
            .expect("the next number");
        let twice = second.commit(&[next]).await;
        assert!(
            matches!(twice, Err(CommitError::Conflict { .. })),
            "{twice:?}"
        );
        let crl = second
            .crl(&issuer(1))
            .await
            .expect("an answer")
            .expect("a number");
        assert_eq!((crl.number, crl.issuer), (number, issuer(1)));
        assert_eq!(
            (crl.this_update, crl.next_update),
            (UnixMs::new(1_000), UnixMs::new(2_000))
        );
    }
    assert_eq!(first.crl(&issuer(2)).await.expect("an answer"), None);
    first
        .commit(&[number_crl(None, 2)])
        .await
        .expect("another issuer's first number");
    assert_eq!(first.position().await.expect("a position").seq, 4);
}

async fn only_certificate(store: &dyn DeviceStore) -> Certificate {
    let page = store
        .find_certificates(&CertificateQuery::default())
        .await
        .expect("readable certificates");
    let [certificate] = <[_; 1]>::try_from(page.items).expect("one certificate");
    certificate
}

/// The clock of the overlap starts when the newer one is seen in use; a still newer one stays as it is.
pub async fn older_certificates_are_superseded_by_a_newer_one_in_use(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let mut record = register(&*store, "0001").await;
    for serial in 1..=3 {
        let at = act(i64::from(serial) * 1_000);
        let id = certificate_id(serial);
        let prepare = Change::prepare_certificate(&record, new_certificate(id), &at);
        record = apply(&*store, prepare.expect("an active device")).await;
        let number = u8::try_from(serial).expect("a small number");
        let issue = Change::record_issued(&record, &id, fingerprint(number), &at);
        record = apply(&*store, issue.expect("a prepared certificate")).await;
    }
    let ends = UnixMs::new(90_000);
    let second = certificate_id(2);
    let supersede = Change::supersede_older(&record, &second, ends, &act(5_000));
    apply(&*store, supersede.expect("an older one")).await;
    let record = load(&*store, "0001").await;
    let status = |serial| {
        let certificate = record.certificate(&certificate_id(serial));
        certificate.expect("a certificate of the device").status
    };
    assert_eq!(status(1), CertificateStatus::Superseded { at: ends });
    assert_eq!(status(2), CertificateStatus::Issued);
    assert_eq!(status(3), CertificateStatus::Issued);

    let again = Change::supersede_older(&record, &second, ends, &act(6_000));
    assert!(
        matches!(again, Err(BuildChangeError::Unchanged { .. })),
        "{again:?}"
    );
    let stale = Change::supersede_older(&record, &certificate_id(1), ends, &act(6_000));
    assert!(
        matches!(stale, Err(BuildChangeError::CertificateIllegal { .. })),
        "{stale:?}"
    );
}
