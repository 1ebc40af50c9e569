//! What is left when a process dies between two writes, a store's answer is lost, or an issuer
//! fails: always something that can be named, and never a certificate that counts unrecorded.

use leafgate_registrar::{CertificateKey, ErrorKind, RegistrarError, Service};
use leafgate_registry::{
    Action, BuildChangeError, CertificateStatusKind, Change, DeviceState, RevocationReason,
};

use crate::faulty_store::Fault;
use crate::support::{Bench, NOW, act, id, new_device, pair, statuses};

use CertificateStatusKind::{Issued, Prepared, Revoked, Superseded};

over_every_store!(
    dying_before_the_intent_leaves_nothing,
    dying_after_the_intent_leaves_a_certificate_that_admits_nobody,
    dying_before_the_record_hands_nothing_out,
    dying_after_the_record_hands_nothing_out,
    a_lost_write_is_made_again,
    a_lost_answer_is_looked_up,
    an_issuer_that_fails_leaves_an_intent,
    a_device_revoked_while_its_certificate_was_signed_gets_none,
    a_device_disabled_while_its_certificate_was_signed_stays_out,
    a_registration_without_certificate_says_so,
    a_registration_whose_answer_is_lost_says_so,
    services_are_treated_alike,
);

async fn dying_before_the_intent_leaves_nothing(bench: Bench) {
    let id = bench.registered("0001").await;
    bench.store.plan([Fault::DeadBefore]);
    let error = bench.not_issued(&id).await;
    assert!(matches!(error, RegistrarError::Unconfirmed(_)), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(bench.statuses(&id).await, []);
    bench
        .restarted()
        .issue_with_new_key(&id, &act())
        .await
        .unwrap();
    assert_eq!(bench.statuses(&id).await, [Issued]);
}

async fn dying_after_the_intent_leaves_a_certificate_that_admits_nobody(bench: Bench) {
    let id = bench.registered("0001").await;
    bench.store.plan([Fault::DeadAfter]);
    bench.not_issued(&id).await;
    let record = bench.record(&id).await;
    let [left] = &record.certificates[..] else {
        panic!("{record:?}");
    };
    assert_eq!(left.fingerprint, None);
    assert!(!left.status.admits(NOW));

    let made = bench
        .restarted()
        .issue_with_new_key(&id, &act())
        .await
        .unwrap();
    assert_ne!(made.issued.serial, left.serial);
    assert_eq!(bench.statuses(&id).await, [Prepared, Issued]);

    let revoked = bench
        .restarted()
        .revoke(&id, RevocationReason::KeyCompromise, &act())
        .await
        .unwrap();
    assert_eq!(revoked.certificates.len(), 2);
    assert_eq!(bench.statuses(&id).await, [Revoked, Revoked]);
}

async fn dying_before_the_record_hands_nothing_out(bench: Bench) {
    let id = bench.registered("0001").await;
    bench.store.plan([Fault::None, Fault::DeadBefore]);
    let error = bench.not_issued(&id).await;
    let RegistrarError::SignedNotRecorded { serial, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let record = bench.record(&id).await;
    assert_eq!(record.certificates[0].serial, *serial);
    assert_eq!(bench.statuses(&id).await, [Prepared]);
}

async fn dying_after_the_record_hands_nothing_out(bench: Bench) {
    let id = bench.registered("0001").await;
    bench.store.plan([Fault::None, Fault::DeadAfter]);
    let error = bench.not_issued(&id).await;
    assert!(
        matches!(error, RegistrarError::SignedNotRecorded { .. }),
        "{error}"
    );
    // The registry came to know it after all; nobody holds it, and the first log-in with the next one ends it.
    assert_eq!(bench.statuses(&id).await, [Issued]);
    let restarted = bench.restarted();
    let next = restarted.issue_with_new_key(&id, &act()).await.unwrap();
    restarted
        .note_log_in(&id, &next.issued.fingerprint, &act())
        .await
        .unwrap();
    assert_eq!(bench.statuses(&id).await, [Issued, Superseded]);
}

async fn a_lost_write_is_made_again(bench: Bench) {
    let id = bench.registered("0001").await;
    bench.store.plan([Fault::None, Fault::Lost]);
    let made = bench.issued(&id).await;
    assert_eq!(made.device, bench.record(&id).await);
    assert_eq!(bench.statuses(&id).await, [Issued]);
}

async fn a_lost_answer_is_looked_up(bench: Bench) {
    let id = bench.registered("0001").await;
    bench.store.plan([Fault::None, Fault::AnswerLost]);
    let made = bench.issued(&id).await;
    let record = bench.record(&id).await;
    assert_eq!(made.device, record);
    assert_eq!(record.device.version, 3, "recorded once");
    assert_eq!(
        record.certificates[0].fingerprint,
        Some(made.issued.fingerprint)
    );
}

async fn an_issuer_that_fails_leaves_an_intent(bench: Bench) {
    let id = bench.registered("0001").await;
    bench.devices.fail(true);
    let error = bench.not_issued(&id).await;
    let RegistrarError::NotSigned { serial, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        bench.record(&id).await.certificates[0].serial,
        serial.unwrap()
    );
    assert_eq!(bench.statuses(&id).await, [Prepared]);
    bench.devices.fail(false);
    bench.issued(&id).await;
}

fn meanwhile(text: &'static str, action: Action) -> Fault {
    Fault::preceded(move |store| async move {
        let record = store.load(&id(text)).await.unwrap().unwrap();
        let change = Change::transition(&record, action, &act()).unwrap();
        store.commit(&[change]).await.unwrap();
    })
}

async fn a_device_revoked_while_its_certificate_was_signed_gets_none(bench: Bench) {
    for (text, action) in [("revoked", Action::Revoke), ("deleted", Action::Delete)] {
        let id = bench.registered(text).await;
        bench.store.plan([Fault::None, meanwhile(text, action)]);
        let error = bench.not_issued(&id).await;
        let RegistrarError::SignedNotRecorded { source, .. } = &error else {
            panic!("{error}");
        };
        assert!(
            matches!(
                **source,
                RegistrarError::Change(BuildChangeError::CertificateIllegal { .. })
            ),
            "{source}"
        );
        assert_eq!(error.kind(), ErrorKind::Conflict);
        // It was signed, so it has to be on the list of revoked certificates.
        assert_eq!(bench.statuses(&id).await, [Revoked]);
    }
    let [devices, _] = pair(bench.registrar.build_crls(&act()).await.unwrap());
    assert_eq!(devices.revoked, 2);
}

async fn a_device_disabled_while_its_certificate_was_signed_stays_out(bench: Bench) {
    let id = bench.registered("0001").await;
    bench
        .store
        .plan([Fault::None, meanwhile("0001", Action::Disable)]);
    let made = bench.issued(&id).await;
    assert_eq!(made.device.device.state, DeviceState::Disabled);
    assert_eq!(bench.statuses(&id).await, [Issued]);

    // Disabled before the intent, it is not even signed.
    let id = bench.registered("0002").await;
    bench.store.plan([meanwhile("0002", Action::Disable)]);
    let error = bench.not_issued(&id).await;
    assert!(
        matches!(error, RegistrarError::NotIssuable { .. }),
        "{error}"
    );
    assert_eq!(bench.statuses(&id).await, []);
}

async fn a_registration_without_certificate_says_so(bench: Bench) {
    bench.devices.fail(true);
    let error = bench
        .registrar
        .register_with_certificate(new_device("0001"), CertificateKey::New, &act())
        .await
        .unwrap_err();
    let RegistrarError::RegisteredWithoutCertificate { source, .. } = &error else {
        panic!("{error}");
    };
    assert!(
        matches!(**source, RegistrarError::NotSigned { .. }),
        "{source}"
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.to_string(),
        "0001 is registered, but has no certificate yet: ask for one"
    );
    assert_eq!(
        bench.record(&id("0001")).await.device.state,
        DeviceState::Active
    );
    bench.devices.fail(false);
    bench.issued(&id("0001")).await;
}

async fn a_registration_whose_answer_is_lost_says_so(bench: Bench) {
    for (text, fault, registered) in [
        ("0001", Fault::Lost, false),
        ("0002", Fault::AnswerLost, true),
    ] {
        bench.store.plan([fault]);
        let error = bench
            .registrar
            .register_with_certificate(new_device(text), CertificateKey::New, &act())
            .await
            .unwrap_err();
        assert!(matches!(error, RegistrarError::Unconfirmed(_)), "{error}");
        assert!(error.to_string().contains("may or may not have been made"));
        let record = bench.store.inner().load(&id(text)).await.unwrap();
        assert_eq!(record.is_some(), registered);
        if let Some(record) = record {
            assert_eq!(
                record.certificates.len(),
                1,
                "registration and intent are one write"
            );
        }
    }
}

async fn services_are_treated_alike(bench: Bench) {
    let service = Service::NatsClient {
        name: "callout-0".into(),
    };
    let issue = async || {
        bench
            .registrar
            .issue_service_certificate(&service, CertificateKey::New, &act())
            .await
    };
    let all_statuses = async || statuses(&bench.certificates().await);

    bench.store.plan([Fault::None, Fault::Lost]);
    issue().await.unwrap();
    bench.store.plan([Fault::None, Fault::AnswerLost]);
    let second = issue().await.unwrap();
    assert_eq!(second.record.fingerprint, Some(second.issued.fingerprint));
    assert_eq!(all_statuses().await, [Issued, Superseded]);

    bench.devices.fail(true);
    let error = issue().await.unwrap_err();
    assert!(matches!(error, RegistrarError::NotSigned { .. }), "{error}");
    bench.devices.fail(false);

    bench.store.plan([Fault::None, Fault::DeadBefore]);
    let error = issue().await.unwrap_err();
    assert!(
        matches!(error, RegistrarError::SignedNotRecorded { .. }),
        "{error}"
    );
    assert_eq!(
        all_statuses().await,
        [Prepared, Prepared, Issued, Superseded]
    );
}
