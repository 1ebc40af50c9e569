//! Certificates of devices.

use std::process::Command;
use std::sync::Arc;

use leafgate_identity::TrustDomainName;
use leafgate_pki::Issuer;
use leafgate_registrar::{CertificateKey, ErrorKind, IssuanceLimits, Registrar, RegistrarError};
use leafgate_registry::{
    CertificateStatus, CertificateStatusKind, DeviceState, EventKind, NewDevice, RevocationReason,
};
use secrecy::ExposeSecret;

use crate::support::{Bench, act, domains, id, new_device, openssl_csr, random};

over_every_store!(
    a_new_key_comes_with_a_certificate_that_is_known,
    a_request_is_signed_for_its_key_alone,
    every_certificate_is_announced_before_it_is_signed,
    devices_that_may_not_log_in_get_no_certificate,
    a_quarantined_device_can_be_renewed,
    a_bad_request_leaves_no_trace,
    another_issuers_devices_are_not_served,
    registration_and_first_certificate_go_together,
    a_pending_device_is_not_registered_with_a_certificate,
    a_taken_serial_number_is_drawn_again,
    many_at_once_are_all_recorded,
);

async fn a_new_key_comes_with_a_certificate_that_is_known(bench: Bench) {
    let id = bench.registered("0001").await;
    let made = bench.issued(&id).await;

    let identity = bench.identity(&made.issued);
    assert_eq!(identity.id, id);
    assert_eq!(made.device, bench.record(&id).await);
    let [certificate] = &made.device.certificates[..] else {
        panic!("{:?}", made.device);
    };
    assert_eq!(certificate.status, CertificateStatus::Issued);
    assert_eq!(certificate.fingerprint, Some(identity.fingerprint));
    assert_eq!(certificate.serial, identity.serial);
    assert_eq!(certificate.issuer, bench.devices.spki());
    assert_eq!(certificate.profile, "device");
    assert_eq!(certificate.not_before, identity.validity.not_before);
    assert_eq!(certificate.not_after, identity.validity.not_after);

    let key = made.private_key_pem.unwrap();
    let public = |args: &[&str], text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let output = Command::new("openssl")
            .args(args)
            .arg("-in")
            .arg(file.path())
            .output()
            .expect("these tests need openssl on PATH");
        assert!(output.status.success());
        output.stdout
    };
    assert_eq!(
        public(&["pkey", "-pubout"], key.expose_secret()),
        public(&["x509", "-noout", "-pubkey"], &made.issued.certificate_pem)
    );
}

async fn a_request_is_signed_for_its_key_alone(bench: Bench) {
    let id = bench.registered("0001").await;
    let made = bench
        .registrar
        .sign_csr(&id, &openssl_csr(), &act())
        .await
        .unwrap();
    assert!(made.private_key_pem.is_none());
    let identity = bench.identity(&made.issued);
    assert_eq!(identity.id, id, "the request's own name has no say");
    let der = pem::parse(&made.issued.certificate_pem).unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(der.contents()).unwrap();
    assert!(!parsed.is_ca());
}

async fn every_certificate_is_announced_before_it_is_signed(bench: Bench) {
    let id = bench.registered("0001").await;
    let made = bench.issued(&id).await;
    let events = bench.store.inner().events_after(0, 10).await.unwrap();
    let kinds: Vec<&EventKind> = events.iter().map(|event| &event.kind).collect();
    assert_eq!(
        kinds,
        [
            &EventKind::DeviceRegistered,
            &EventKind::CertificatePrepared,
            &EventKind::CertificateIssued
        ]
    );
    let serial = made.issued.serial.to_string();
    for event in &events[1..] {
        assert_eq!(event.actor, "cli:test");
        assert_eq!(event.detail["serial"], serial.as_str());
    }
    let text = serde_json::to_string(&events).unwrap();
    let key = made.private_key_pem.unwrap();
    let secret = key.expose_secret().lines().nth(1).unwrap();
    assert!(!text.contains(secret));
}

async fn devices_that_may_not_log_in_get_no_certificate(bench: Bench) {
    let registrar = &bench.registrar;
    let waiting = NewDevice {
        pending: true,
        ..new_device("pending")
    };
    registrar.register(waiting, &act()).await.unwrap();
    for text in ["disabled", "revoked", "deleted"] {
        bench.registered(text).await;
    }
    registrar.disable(&id("disabled"), &act()).await.unwrap();
    registrar
        .revoke(&id("revoked"), RevocationReason::Unspecified, &act())
        .await
        .unwrap();
    registrar.delete(&id("deleted"), &act()).await.unwrap();

    for (text, hint) in [
        ("pending", "approve it first"),
        ("disabled", "enable it first"),
        ("revoked", "delete it and register it again"),
        ("deleted", "register it again"),
    ] {
        let before = bench.record(&id(text)).await;
        for refused in [
            registrar.issue_with_new_key(&id(text), &act()).await,
            registrar.sign_csr(&id(text), &openssl_csr(), &act()).await,
        ] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Conflict);
            assert_eq!(
                refused.to_string(),
                format!("{text} is {text}: no certificate is issued to it; {hint}")
            );
        }
        assert_eq!(bench.record(&id(text)).await, before);
    }
}

async fn a_quarantined_device_can_be_renewed(bench: Bench) {
    let id = bench.registered("0001").await;
    bench.registrar.quarantine(&id, &act()).await.unwrap();
    let made = bench.issued(&id).await;
    assert_eq!(made.device.device.state, DeviceState::Quarantined);
}

async fn a_bad_request_leaves_no_trace(bench: Bench) {
    let id = bench.registered("0001").await;
    let before = bench.store.inner().position().await.unwrap();
    let csr = openssl_csr();
    let huge = "a".repeat(70_000);
    for bad in ["", "junk", &csr[..csr.len() / 2], &huge] {
        let refused = bench
            .registrar
            .sign_csr(&id, bad, &act())
            .await
            .unwrap_err();
        assert!(matches!(refused, RegistrarError::Csr(_)), "{refused}");
        assert_eq!(refused.kind(), ErrorKind::Input);
        let refused = bench
            .registrar
            .register_with_certificate(new_device("0002"), CertificateKey::Csr(bad), &act())
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Input);
    }
    assert_eq!(bench.store.inner().position().await.unwrap(), before);
}

async fn another_issuers_devices_are_not_served(bench: Bench) {
    let foreign = NewDevice {
        trust_domain: TrustDomainName::parse("elsewhere").unwrap(),
        ..new_device("0001")
    };
    bench.registrar.register(foreign, &act()).await.unwrap();
    let refused = bench.not_issued(&id("0001")).await;
    assert!(
        matches!(refused, RegistrarError::IssuerForeign { .. }),
        "{refused}"
    );
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(bench.record(&id("0001")).await.certificates, []);

    // A domain that was taken out of the configuration.
    let only_elsewhere = domains(bench.devices.spki())
        .iter()
        .filter(|domain| domain.name.as_str() == "elsewhere")
        .cloned()
        .collect::<Vec<_>>();
    let id = bench.registered("0002").await;
    let registrar = Registrar::new(
        bench.store.clone(),
        bench.issuers(),
        Arc::new(only_elsewhere.try_into().unwrap()),
        random,
    );
    let refused = registrar.issue_with_new_key(&id, &act()).await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::TrustDomainUnknown { .. }),
        "{refused}"
    );
}

async fn registration_and_first_certificate_go_together(bench: Bench) {
    let made = bench
        .registrar
        .register_with_certificate(new_device("0001"), CertificateKey::New, &act())
        .await
        .unwrap();
    assert_eq!(made.device, bench.record(&id("0001")).await);
    assert_eq!(made.device.device.version, 3);
    assert_eq!(bench.identity(&made.issued).id, id("0001"));
    assert!(made.private_key_pem.is_some());

    let taken = bench
        .registrar
        .register_with_certificate(new_device("0001"), CertificateKey::New, &act())
        .await
        .unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    assert_eq!(bench.record(&id("0001")).await, made.device);

    bench.registrar.delete(&id("0001"), &act()).await.unwrap();
    let again = bench
        .registrar
        .register_with_certificate(
            new_device("0001"),
            CertificateKey::Csr(&openssl_csr()),
            &act(),
        )
        .await
        .unwrap();
    assert_eq!(again.device.device.generation, 2);
    assert_eq!(again.device.current_certificates().count(), 1);
}

async fn a_pending_device_is_not_registered_with_a_certificate(bench: Bench) {
    let waiting = NewDevice {
        pending: true,
        ..new_device("0001")
    };
    let refused = bench
        .registrar
        .register_with_certificate(waiting, CertificateKey::New, &act())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RegistrarError::NotIssuable { .. }),
        "{refused}"
    );
    assert_eq!(bench.store.inner().load(&id("0001")).await.unwrap(), None);
}

async fn a_taken_serial_number_is_drawn_again(bench: Bench) {
    let registrar = bench.with_serials(&[&[7], &[7], &[7], &[8], &[8], &[9]], &[]);
    let (first, second) = (
        bench.registered("0001").await,
        bench.registered("0002").await,
    );
    let serial_of = async |id| {
        let made = registrar.issue_with_new_key(id, &act()).await.unwrap();
        made.issued.serial.to_string()
    };
    assert_eq!(serial_of(&first).await, "07");
    assert_eq!(serial_of(&second).await, "08");
    let made = registrar
        .register_with_certificate(new_device("0003"), CertificateKey::New, &act())
        .await
        .unwrap();
    assert_eq!(made.issued.serial.to_string(), "09");
    assert_eq!(made.device.device.version, 3, "registered once");
}

async fn many_at_once_are_all_recorded(bench: Bench) {
    const TASKS: usize = 20;
    let id = bench.registered("0001").await;
    let registrar = bench.registrar.clone().with_limits(IssuanceLimits::NONE);
    let issued: Vec<_> = (0..TASKS)
        .map(|_| {
            let (registrar, id) = (registrar.clone(), id.clone());
            tokio::spawn(async move { registrar.issue_with_new_key(&id, &act()).await })
        })
        .collect();
    let mut fingerprints = Vec::new();
    for task in issued {
        fingerprints.push(task.await.unwrap().unwrap().issued.fingerprint);
    }
    let record = bench.record(&id).await;
    assert_eq!(record.certificates.len(), TASKS);
    for fingerprint in &fingerprints {
        assert!(record.certificate_by_fingerprint(fingerprint).is_some());
    }
    assert_eq!(
        bench.statuses(&id).await,
        [CertificateStatusKind::Issued; TASKS]
    );
}
