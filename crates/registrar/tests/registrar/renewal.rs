//! Renewal by the device itself, with the certificate that it has.

use std::time::Duration;

use leafgate_identity::{DeviceId, Fingerprint};
use leafgate_registrar::{DeviceCredentials, ErrorKind, Registrar, RegistrarError, RenewalRefusal};
use leafgate_registry::{CertificateStatusKind, DeviceState, RevocationReason};

use crate::faulty_store::Fault;
use crate::support::{Bench, NOW, act, act_at, id, new_device, openssl_csr};

over_every_store!(
    a_device_renews_with_its_key_or_another,
    a_renewal_asked_for_twice_is_answered_alike,
    what_was_not_issued_to_this_device_renews_nothing,
    a_superseded_certificate_renews_until_its_overlap_ends,
    an_expired_certificate_renews_within_the_grace,
    devices_that_may_not_log_in_do_not_renew,
    a_compromised_key_neither_renews_nor_is_renewed_to,
    a_device_disabled_meanwhile_is_not_renewed,
);

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn renew(
    registrar: &Registrar,
    id: &DeviceId,
    presented: &Fingerprint,
    csr: &str,
) -> Result<DeviceCredentials, RegistrarError> {
    registrar.renew(id, presented, csr, &act()).await
}

fn refusal(outcome: Result<DeviceCredentials, RegistrarError>) -> RenewalRefusal {
    let refused = outcome.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
    match refused {
        RegistrarError::RenewalRefused { why, .. } => why,
        other => panic!("{other}"),
    }
}

async fn a_device_renews_with_its_key_or_another(bench: Bench) {
    let id = bench.registered("0001").await;
    let csr = openssl_csr();
    let registrar = &bench.registrar;
    let first = registrar.sign_csr(&id, &csr, &act()).await.unwrap();
    let presented = first.issued.fingerprint;
    let due = act_at(first.renew_after);
    let same_key = registrar.renew(&id, &presented, &csr, &due).await.unwrap();
    assert!(same_key.newly_issued);
    assert_eq!(bench.identity(&same_key.issued).id, id);

    let another = openssl_csr();
    let presented = same_key.issued.fingerprint;
    let other_key = registrar
        .renew(&id, &presented, &another, &due)
        .await
        .unwrap();
    assert!(other_key.newly_issued && other_key.private_key_pem.is_none());
    assert_eq!(
        bench.identity(&other_key.issued).id,
        id,
        "the request's own name has no say"
    );
    assert_eq!(
        bench.statuses(&id).await,
        [CertificateStatusKind::Issued; 3]
    );

    bench.registrar.quarantine(&id, &act()).await.unwrap();
    let presented = other_key.issued.fingerprint;
    let quarantined = registrar
        .renew(&id, &presented, &openssl_csr(), &due)
        .await
        .unwrap();
    assert_eq!(quarantined.device.device.state, DeviceState::Quarantined);
}

async fn a_renewal_asked_for_twice_is_answered_alike(bench: Bench) {
    let id = bench.registered("0001").await;
    let first = bench.issued(&id).await;
    let csr = openssl_csr();
    let presented = first.issued.fingerprint;
    let renewed = renew(&bench.registrar, &id, &presented, &csr)
        .await
        .unwrap();
    let again = renew(&bench.registrar, &id, &presented, &csr)
        .await
        .unwrap();
    assert_eq!(again.issued, renewed.issued);
    assert!(!again.newly_issued);
    assert_eq!(bench.record(&id).await.certificates.len(), 2);
}

async fn what_was_not_issued_to_this_device_renews_nothing(bench: Bench) {
    let registrar = &bench.registrar;
    let (mine, other) = (
        bench.registered("mine").await,
        bench.registered("other").await,
    );
    let made = bench.issued(&mine).await;
    let (presented, csr) = (made.issued.fingerprint, openssl_csr());
    for (id, presented) in [
        (&other, presented),
        (&mine, Fingerprint::from_bytes([7; 32])),
        (&id("nobody"), presented),
    ] {
        let why = refusal(renew(registrar, id, &presented, &csr).await);
        assert_eq!(why, RenewalRefusal::Unknown);
    }
    // Another registration of the same id is another device.
    registrar.delete(&mine, &act()).await.unwrap();
    registrar
        .register(new_device("mine"), &act())
        .await
        .unwrap();
    let why = refusal(renew(registrar, &mine, &presented, &csr).await);
    assert_eq!(why, RenewalRefusal::Unknown);

    let revoked = bench.issued(&other).await;
    let reason = RevocationReason::Superseded;
    registrar
        .revoke_certificate(revoked.issued.serial, None, reason, &act())
        .await
        .unwrap();
    let why = refusal(renew(registrar, &other, &revoked.issued.fingerprint, &csr).await);
    assert_eq!(why, RenewalRefusal::Revoked);
    // A key that another device holds is as good as none.
    let holder = bench.registered("holder").await;
    registrar.sign_csr(&holder, &csr, &act()).await.unwrap();
    let mine = bench.issued(&mine).await;
    let refused = renew(
        registrar,
        &mine.device.device.id,
        &mine.issued.fingerprint,
        &csr,
    )
    .await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::KeyHeld { holder: None }),
        "{refused}"
    );
}

async fn a_superseded_certificate_renews_until_its_overlap_ends(bench: Bench) {
    let id = bench.registered("0001").await;
    let first = bench.issued(&id).await;
    let second = bench.issued(&id).await;
    bench
        .registrar
        .note_log_in(&id, &second.issued.fingerprint, &act())
        .await
        .unwrap();
    let presented = first.issued.fingerprint;
    let at = |after| act_at(NOW.saturating_add(after));
    let csr = openssl_csr();
    let ended = NOW.saturating_add(DAY);
    let why = refusal(bench.registrar.renew(&id, &presented, &csr, &at(DAY)).await);
    assert_eq!(why, RenewalRefusal::Superseded { ended });
    let in_time = at(23 * HOUR);
    bench
        .registrar
        .renew(&id, &presented, &csr, &in_time)
        .await
        .unwrap();
}

async fn an_expired_certificate_renews_within_the_grace(bench: Bench) {
    let id = bench.registered("0001").await;
    let made = bench.issued(&id).await;
    let (presented, ended) = (made.issued.fingerprint, made.issued.validity.not_after);
    let registrar = bench.registrar.clone().with_renew_grace(10 * DAY);
    let at = |days: u32| act_at(ended.saturating_add(days * DAY));
    let csr = openssl_csr();
    let why = refusal(registrar.renew(&id, &presented, &csr, &at(11)).await);
    assert_eq!(why, RenewalRefusal::TooLate { ended });
    let renewed = registrar
        .renew(&id, &presented, &csr, &at(10))
        .await
        .unwrap();
    assert!(renewed.issued.validity.not_after > at(10).at);
    // Unless said otherwise it has 90 days.
    let other = bench.registered("0002").await;
    let made = bench.issued(&other).await;
    let presented = made.issued.fingerprint;
    let csr = openssl_csr();
    assert!(
        bench
            .registrar
            .renew(&other, &presented, &csr, &at(91))
            .await
            .is_err()
    );
    bench
        .registrar
        .renew(&other, &presented, &csr, &at(90))
        .await
        .unwrap();
}

async fn devices_that_may_not_log_in_do_not_renew(bench: Bench) {
    let registrar = &bench.registrar;
    for text in ["disabled", "revoked", "deleted"] {
        let device = bench.registered(text).await;
        let made = bench.issued(&device).await;
        match text {
            "disabled" => registrar.disable(&device, &act()).await,
            "revoked" => {
                let reason = RevocationReason::Unspecified;
                registrar.revoke(&device, reason, &act()).await
            }
            _ => registrar.delete(&device, &act()).await,
        }
        .unwrap();
        let before = bench.record(&device).await;
        let presented = made.issued.fingerprint;
        let refused = renew(registrar, &device, &presented, &openssl_csr())
            .await
            .unwrap_err();
        assert!(
            matches!(refused, RegistrarError::NotIssuable { .. }),
            "{refused}"
        );
        assert_eq!(bench.record(&device).await, before);
    }
}

async fn a_compromised_key_neither_renews_nor_is_renewed_to(bench: Bench) {
    let registrar = &bench.registrar;
    let (one, two) = (bench.registered("one").await, bench.registered("two").await);
    let stolen = openssl_csr();
    let made = registrar.sign_csr(&one, &stolen, &act()).await.unwrap();
    let reason = RevocationReason::KeyCompromise;
    let serial = made.issued.serial;
    registrar
        .revoke_certificate(serial, None, reason, &act())
        .await
        .unwrap();
    let good = bench.issued(&two).await;
    let presented = good.issued.fingerprint;
    let refused = renew(registrar, &two, &presented, &stolen)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RegistrarError::KeyCompromised { .. }),
        "{refused}"
    );

    // A certificate whose key turned out to be compromised elsewhere, before keys were compared registry-wide.
    let shared = openssl_csr();
    let late = act_at(NOW.saturating_add(30 * DAY));
    let first = registrar.sign_csr(&one, &shared, &act()).await.unwrap();
    let second = registrar.sign_csr(&two, &shared, &late).await.unwrap();
    let serial = first.issued.serial;
    registrar
        .revoke_certificate(serial, None, reason, &late)
        .await
        .unwrap();
    let presented = second.issued.fingerprint;
    let why = refusal(
        registrar
            .renew(&two, &presented, &openssl_csr(), &late)
            .await,
    );
    assert_eq!(why, RenewalRefusal::KeyCompromised);
}

async fn a_device_disabled_meanwhile_is_not_renewed(bench: Bench) {
    let id = bench.registered("0001").await;
    let made = bench.issued(&id).await;
    let (other, same) = (bench.restarted(), id.clone());
    bench.store.plan([Fault::preceded(move |_| async move {
        other.disable(&same, &act()).await.unwrap();
    })]);
    let presented = made.issued.fingerprint;
    let refused = renew(&bench.registrar, &id, &presented, &openssl_csr()).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::NotIssuable { .. }),
        "{refused}"
    );
    assert_eq!(bench.record(&id).await.certificates.len(), 1);
}
