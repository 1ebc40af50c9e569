//! The revocation of single certificates.

use leafgate_identity::SerialNumber;
use leafgate_pki::Issuer;
use leafgate_registrar::{CertificateKey, ErrorKind, RegistrarError, Service};
use leafgate_registry::{CertificateStatus, CertificateStatusKind, DeviceState, RevocationReason};

use crate::faulty_store::Fault;
use crate::support::{Bench, NOW, act, key_of, new_device, openssl_csr};

over_every_store!(
    one_certificate_is_revoked_by_its_serial_number,
    equal_serial_numbers_of_two_issuers_are_told_apart,
    a_devices_compromised_key_is_not_certified_again,
    a_services_compromised_key_is_not_certified_again,
    every_certificate_of_a_compromised_service_key_is_revoked,
    a_key_compromised_while_it_is_certified_anew_gets_no_certificate,
);

async fn one_certificate_is_revoked_by_its_serial_number(bench: Bench) {
    let id = bench.registered("0001").await;
    let mut serials = Vec::new();
    for _ in 0..2 {
        let made = bench.issued(&id).await;
        serials.push(made.issued.serial);
    }
    let reason = RevocationReason::KeyCompromise;
    let revoke = async |serial| {
        bench
            .registrar
            .revoke_certificate(serial, None, reason, &act())
            .await
    };
    let revoked = revoke(serials[1]).await.unwrap();
    assert_eq!(
        revoked.status,
        CertificateStatus::Revoked { at: NOW, reason }
    );
    let record = bench.record(&id).await;
    assert_eq!(record.device.state, DeviceState::Active);
    let kinds = bench.statuses(&id).await;
    assert_eq!(
        kinds,
        [
            CertificateStatusKind::Issued,
            CertificateStatusKind::Revoked
        ]
    );

    let again = revoke(serials[1]).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict, "{again}");
    let unknown = SerialNumber::from_be_bytes(&[1, 2, 3]).unwrap();
    let missing = revoke(unknown).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
}

async fn equal_serial_numbers_of_two_issuers_are_told_apart(bench: Bench) {
    let registrar = bench.with_serials(&[&[7]], &[&[7]]);
    let id = bench.registered("0001").await;
    registrar.issue_with_new_key(&id, &act()).await.unwrap();
    let server = Service::NatsServer {
        dns_names: vec!["leaf-1".into()],
        ip_addresses: Vec::new(),
    };
    registrar
        .issue_service_certificate(&server, CertificateKey::New, &act())
        .await
        .unwrap();
    let serial = SerialNumber::from_be_bytes(&[7]).unwrap();
    let reason = RevocationReason::Superseded;
    let refused = registrar
        .revoke_certificate(serial, None, reason, &act())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RegistrarError::CertificateAmbiguous { .. }),
        "{refused}"
    );
    assert_eq!(refused.kind(), ErrorKind::Input);
    assert_eq!(bench.statuses(&id).await, [CertificateStatusKind::Issued]);

    let issuer = Some(bench.devices.spki());
    let revoked = registrar
        .revoke_certificate(serial, issuer, reason, &act())
        .await
        .unwrap();
    assert_eq!(Some(revoked.issuer), issuer);
    assert_eq!(bench.statuses(&id).await, [CertificateStatusKind::Revoked]);
}

async fn a_devices_compromised_key_is_not_certified_again(bench: Bench) {
    let registrar = &bench.registrar;
    let id = bench.registered("0001").await;
    let (stolen, kept) = (openssl_csr(), openssl_csr());
    let first = registrar.sign_csr(&id, &stolen, &act()).await.unwrap();
    let serial = first.issued.serial;
    registrar
        .revoke_certificate(serial, None, RevocationReason::KeyCompromise, &act())
        .await
        .unwrap();
    let before = bench.record(&id).await;
    let refused = registrar.sign_csr(&id, &stolen, &act()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(
        refused.to_string(),
        format!(
            "this key is compromised: certificate {serial} was revoked for that; make a new key"
        )
    );
    assert_eq!(bench.record(&id).await, before);

    // A key that was not compromised may be certified again.
    let other = registrar.sign_csr(&id, &kept, &act()).await.unwrap();
    registrar
        .revoke_certificate(
            other.issued.serial,
            None,
            RevocationReason::Superseded,
            &act(),
        )
        .await
        .unwrap();
    registrar.sign_csr(&id, &kept, &act()).await.unwrap();

    // A new registration does not make the key any better.
    registrar.delete(&id, &act()).await.unwrap();
    let refused = registrar
        .register_with_certificate(new_device("0001"), CertificateKey::Csr(&stolen), &act())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    assert_eq!(bench.record(&id).await.device.state, DeviceState::Deleted);
    registrar
        .register_with_certificate(new_device("0001"), CertificateKey::Csr(&kept), &act())
        .await
        .unwrap();
}

async fn a_services_compromised_key_is_not_certified_again(bench: Bench) {
    let service = Service::NatsClient {
        name: "callout-0".into(),
    };
    let stolen = openssl_csr();
    let issue = async |key| {
        bench
            .registrar
            .issue_service_certificate(&service, key, &act())
            .await
    };
    let serial = issue(CertificateKey::Csr(&stolen))
        .await
        .unwrap()
        .issued
        .serial;
    let reason = RevocationReason::KeyCompromise;
    bench
        .registrar
        .revoke_certificate(serial, None, reason, &act())
        .await
        .unwrap();
    let refused = issue(CertificateKey::Csr(&stolen)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    assert_eq!(bench.certificates().await.len(), 1);
    issue(CertificateKey::New).await.unwrap();
}

fn client(name: &str) -> Service {
    Service::NatsClient { name: name.into() }
}

/// Services may share a key: whoever has it can pose as each of them.
async fn every_certificate_of_a_compromised_service_key_is_revoked(bench: Bench) {
    let stolen = openssl_csr();
    let issue = async |name: &str, key| {
        let (service, now) = (client(name), act());
        let registrar = &bench.registrar;
        let made = registrar.issue_service_certificate(&service, key, &now);
        made.await.unwrap().issued.serial
    };
    issue("callout-0", CertificateKey::Csr(&stolen)).await;
    issue("callout-1", CertificateKey::Csr(&stolen)).await;
    let renewed = issue("callout-0", CertificateKey::Csr(&stolen)).await;
    let spared = issue("callout-2", CertificateKey::New).await;
    // Somebody has the key certified once more while it is revoked.
    let (other, same) = (bench.restarted(), stolen.clone());
    bench.store.plan([Fault::preceded(move |_| async move {
        let key = CertificateKey::Csr(&same);
        other
            .issue_service_certificate(&client("callout-3"), key, &act())
            .await
            .unwrap();
    })]);
    let revoked = bench
        .registrar
        .revoke_certificate(renewed, None, RevocationReason::KeyCompromise, &act())
        .await
        .unwrap();
    assert_eq!(revoked.serial, renewed);
    let all = bench.certificates().await;
    assert_eq!(all.len(), 5);
    for certificate in all {
        let expected = if certificate.serial == spared {
            CertificateStatusKind::Issued
        } else {
            CertificateStatusKind::Revoked
        };
        assert_eq!(certificate.status.kind(), expected, "{certificate:?}");
    }
}

async fn a_key_compromised_while_it_is_certified_anew_gets_no_certificate(bench: Bench) {
    let stolen = openssl_csr();
    let issue = async || {
        let key = CertificateKey::Csr(&stolen);
        bench
            .registrar
            .issue_service_certificate(&client("callout-0"), key, &act())
            .await
    };
    let serial = issue().await.unwrap().issued.serial;
    let other = bench.restarted();
    // After the key was looked at, and before the intent is recorded.
    bench.store.plan([Fault::preceded(move |_| async move {
        other
            .revoke_certificate(serial, None, RevocationReason::KeyCompromise, &act())
            .await
            .unwrap();
    })]);
    let refused = issue().await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::KeyCompromised { .. }),
        "{refused}"
    );
    let left = bench.certificates().await;
    assert_eq!(left.len(), 2, "the intent was recorded");
    for certificate in left {
        assert_eq!(certificate.public_key, key_of(&stolen));
        assert_eq!(certificate.status.kind(), CertificateStatusKind::Revoked);
    }
}
