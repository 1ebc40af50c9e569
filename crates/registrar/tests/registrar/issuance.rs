//! What is issued to whom: the same certificate for the same key, and no more than enough.

use std::time::Duration;

use leafgate_identity::UnixMs;
use leafgate_pki::Issuer;
use leafgate_registrar::{
    CertificateKey, ErrorKind, IssuanceLimits, RegistrarError, Service, renew_after,
};
use leafgate_registry::{CertificateId, DocumentKind, DocumentName, RevocationReason};

use crate::faulty_store::Fault;
use crate::support::{Bench, DeviceKey, NOW, act, act_at, openssl_csr};

over_every_store!(
    the_same_key_gets_the_same_certificate_until_it_is_due,
    a_certificate_that_is_not_kept_is_issued_anew,
    a_lost_certificate_is_not_handed_out_again_to_a_locked_out_device,
    certificates_are_kept_in_the_commit_that_records_them,
    a_certificate_is_forgotten_at_its_end,
    a_device_has_so_many_certificates_in_use,
    a_device_gets_so_many_certificates_a_day,
    intents_that_came_to_nothing_count_for_an_hour,
);

const HOUR: Duration = Duration::from_secs(3600);

async fn the_same_key_gets_the_same_certificate_until_it_is_due(bench: Bench) {
    let id = bench.registered("0001").await;
    let key = DeviceKey::new();
    let sign = async |name: &str, at| {
        let csr = key.csr(name);
        bench
            .registrar
            .sign_csr(&id, &csr, &act_at(at))
            .await
            .unwrap()
    };
    let first = sign("/CN=a", NOW).await;
    assert!(first.newly_issued);
    assert_eq!(
        first.renew_after,
        renew_after(first.issued.validity, &first.issued.fingerprint)
    );

    let before = bench.store.inner().position().await.unwrap();
    let just_before = UnixMs::new(first.renew_after.as_i64() - 1);
    for (name, at) in [("/CN=a", NOW), ("/CN=b", just_before)] {
        let again = sign(name, at).await;
        assert_eq!(again.issued, first.issued);
        assert_eq!(again.renew_after, first.renew_after);
        assert!(!again.newly_issued && again.private_key_pem.is_none());
    }
    assert_eq!(bench.store.inner().position().await.unwrap(), before);

    let renewed = sign("/CN=a", first.renew_after).await;
    assert!(renewed.newly_issued);
    assert_ne!(renewed.issued.serial, first.issued.serial);
    let again = sign("/CN=a", first.renew_after).await;
    assert_eq!(again.issued, renewed.issued, "the newest one");

    // A revoked one is not handed out again.
    bench
        .registrar
        .revoke_certificate(
            renewed.issued.serial,
            None,
            RevocationReason::Superseded,
            &act(),
        )
        .await
        .unwrap();
    assert!(sign("/CN=a", first.renew_after).await.newly_issued);
}

async fn a_certificate_that_is_not_kept_is_issued_anew(bench: Bench) {
    let id = bench.registered("0001").await;
    let csr = openssl_csr();
    let first = bench.registrar.sign_csr(&id, &csr, &act()).await.unwrap();
    // As a registry of an earlier version would be.
    let far = NOW.saturating_add(10_000 * HOUR);
    assert_eq!(
        bench.registrar.forget_expired_documents(far).await.unwrap(),
        1
    );
    let second = bench.registrar.sign_csr(&id, &csr, &act()).await.unwrap();
    assert!(second.newly_issued && second.issued.serial != first.issued.serial);
}

async fn a_lost_certificate_is_not_handed_out_again_to_a_locked_out_device(bench: Bench) {
    let id = bench.registered("0001").await;
    let csr = openssl_csr();
    bench.registrar.sign_csr(&id, &csr, &act()).await.unwrap();
    bench.registrar.disable(&id, &act()).await.unwrap();
    let refused = bench
        .registrar
        .sign_csr(&id, &csr, &act())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RegistrarError::NotIssuable { .. }),
        "{refused}"
    );
}

async fn certificates_are_kept_in_the_commit_that_records_them(bench: Bench) {
    let registrar = &bench.registrar;
    let id = bench.registered("0001").await;
    bench.store.plan([Fault::None, Fault::DeadBefore]);
    bench.not_issued(&id).await;
    let registrar_after = bench.restarted();
    let prepared = bench.record(&id).await.certificates[0].id();
    assert_eq!(
        registrar_after.certificate_pem(&prepared).await.unwrap(),
        None
    );

    let made = registrar_after
        .issue_with_new_key(&id, &act())
        .await
        .unwrap();
    let certificate = CertificateId {
        issuer: made.issued.issuer,
        serial: made.issued.serial,
    };
    let pem = registrar_after.certificate_pem(&certificate).await.unwrap();
    assert_eq!(pem.as_ref(), Some(&made.issued.certificate_pem));

    let client = Service::NatsClient {
        name: "callout-0".into(),
    };
    let made = registrar_after
        .issue_service_certificate(&client, CertificateKey::New, &act())
        .await
        .unwrap();
    let pem = registrar_after
        .certificate_pem(&made.record.id())
        .await
        .unwrap();
    assert_eq!(pem.as_ref(), Some(&made.issued.certificate_pem));
    assert!(
        registrar.certificate_pem(&certificate).await.is_err(),
        "this one is dead"
    );
}

async fn a_certificate_is_forgotten_at_its_end(bench: Bench) {
    let id = bench.registered("0001").await;
    let made = bench.issued(&id).await;
    let certificate = made.device.certificates[0].id();
    let name = DocumentName::parse(&certificate.to_string()).unwrap();
    let kept = bench
        .store
        .inner()
        .document(DocumentKind::Certificate, &name)
        .await
        .unwrap()
        .unwrap();
    let end = made.issued.validity.not_after;
    assert_eq!(kept.expires_at, Some(end));
    bench.registrar.forget_expired_documents(end).await.unwrap();
    let pem = bench.registrar.certificate_pem(&certificate).await.unwrap();
    assert_eq!(pem, None);
}

async fn a_device_has_so_many_certificates_in_use(bench: Bench) {
    let id = bench.registered("0001").await;
    let limits = IssuanceLimits {
        in_use: 2,
        ..IssuanceLimits::default()
    };
    let registrar = bench.registrar.clone().with_limits(limits);
    let issue = async |at| registrar.issue_with_new_key(&id, &act_at(at)).await;
    let later = |hours: u32| NOW.saturating_add(hours * HOUR);
    let first = issue(NOW).await.unwrap();
    let second = issue(later(10)).await.unwrap();

    let before = bench.store.inner().position().await.unwrap();
    let refused = issue(later(20)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooMany);
    let end = first.issued.validity.not_after;
    assert_eq!(refused.retry_after(), Some(end.since(later(20))));
    assert_eq!(
        refused.to_string(),
        "0001 has 2 certificates in use; the next one can be asked for in 148 h"
    );
    assert_eq!(bench.store.inner().position().await.unwrap(), before);

    // A log-in with the newer one shortens the older one's time.
    registrar
        .note_log_in(&id, &second.issued.fingerprint, &act_at(later(20)))
        .await
        .unwrap();
    let refused = issue(later(30)).await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(14 * HOUR));
    issue(later(44)).await.unwrap();
    assert!(issue(later(45)).await.is_err());
    bench
        .registrar
        .revoke_certificate(
            second.issued.serial,
            None,
            RevocationReason::Superseded,
            &act_at(later(45)),
        )
        .await
        .unwrap();
    issue(later(45)).await.unwrap();
}

async fn a_device_gets_so_many_certificates_a_day(bench: Bench) {
    let id = bench.registered("0001").await;
    let limits = IssuanceLimits {
        in_use: 100,
        per_day: 3,
    };
    let registrar = bench.registrar.clone().with_limits(limits);
    let issue = async |hours: u32| {
        let at = act_at(NOW.saturating_add(hours * HOUR));
        registrar.issue_with_new_key(&id, &at).await
    };
    for hours in [0, 1, 2] {
        issue(hours).await.unwrap();
    }
    let refused = issue(3).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooMany);
    assert_eq!(refused.retry_after(), Some(21 * HOUR));
    assert!(
        refused
            .to_string()
            .starts_with("0001 has asked for 3 certificates within a day;")
    );

    // Deleting and registering again is no way around.
    bench.registrar.delete(&id, &act()).await.unwrap();
    bench.registered("0001").await;
    assert!(issue(3).await.is_err());
    issue(24).await.unwrap();
    assert!(issue(24).await.is_err());
    issue(25).await.unwrap();
}

async fn intents_that_came_to_nothing_count_for_an_hour(bench: Bench) {
    let id = bench.registered("0001").await;
    let limits = IssuanceLimits {
        in_use: 100,
        per_day: 3,
    };
    let registrar = bench.registrar.clone().with_limits(limits);
    let issue = async |hours: u32| {
        let at = act_at(NOW.saturating_add(hours * HOUR));
        registrar.issue_with_new_key(&id, &at).await
    };
    bench.devices.fail(true);
    for _ in 0..3 {
        let error = issue(0).await.unwrap_err();
        assert!(matches!(error, RegistrarError::NotSigned { .. }), "{error}");
    }
    let refused = issue(0).await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(HOUR));
    bench.devices.fail(false);
    for _ in 0..3 {
        issue(1).await.unwrap();
    }
    assert_eq!(issue(1).await.unwrap_err().retry_after(), Some(24 * HOUR));
    assert_eq!(
        bench.devices.spki(),
        bench.record(&id).await.certificates[0].issuer
    );
}
