//! Certificates of servers and clients of the installation.

use std::sync::Arc;

use leafgate_identity::SpkiHash;
use leafgate_pki::{Intermediate, Issuer};
use leafgate_registrar::{CertificateKey, ErrorKind, Issuers, Registrar, RegistrarError, Service};
use leafgate_registry::{CertificateStatus, CertificateStatusKind, Holder, RevocationReason};

use crate::faulty_store::Fault;
use crate::support::{Bench, NOW, act, pair, random};

over_every_store!(
    each_service_is_signed_by_its_intermediate,
    a_newer_certificate_supersedes_its_like_alone,
    no_service_is_named_like_a_device,
    a_service_certificate_is_revoked,
    a_service_certificate_revoked_meanwhile_is_not_superseded,
    issuers_of_one_key_keep_namesakes_apart,
);

fn server(name: &str) -> Service {
    Service::NatsServer {
        dns_names: vec![name.into(), "localhost".into()],
        ip_addresses: vec!["127.0.0.1".parse().unwrap()],
    }
}

fn client(name: &str) -> Service {
    Service::NatsClient { name: name.into() }
}

async fn each_service_is_signed_by_its_intermediate(bench: Bench) {
    let spki = |intermediate| bench.ca.load(intermediate).unwrap().spki();
    for (service, name, profile, issuer) in [
        (
            server("leaf-1"),
            "leaf-1",
            "nats-server",
            spki(Intermediate::Servers),
        ),
        (
            client("callout-0"),
            "callout-0",
            "nats-client",
            spki(Intermediate::Devices),
        ),
    ] {
        let made = bench
            .registrar
            .issue_service_certificate(&service, CertificateKey::New, &act())
            .await
            .unwrap();
        assert_eq!(made.issued.issuer, issuer);
        assert_eq!(made.record.issuer, issuer);
        assert_eq!(made.record.serial, made.issued.serial);
        assert_eq!(made.record.fingerprint, Some(made.issued.fingerprint));
        assert_eq!(made.record.status, CertificateStatus::Issued);
        assert_eq!(made.record.profile, profile);
        assert_eq!(made.record.holder, Holder::Service { name: name.into() });
        assert!(made.private_key_pem.is_some());
    }
}

async fn a_newer_certificate_supersedes_its_like_alone(bench: Bench) {
    let issue = async |service: Service| {
        bench
            .registrar
            .issue_service_certificate(&service, CertificateKey::New, &act())
            .await
            .unwrap()
            .record
    };
    let first = issue(server("leaf-1")).await;
    let neighbour = issue(server("leaf-2")).await;
    let namesake = issue(client("leaf-1")).await;
    let second = issue(server("leaf-1")).await;

    let found = bench.certificates().await;
    for certificate in found {
        let expected = if certificate.is(&first.id()) {
            CertificateStatus::Superseded {
                at: NOW.saturating_add(leafgate_registrar::Registrar::DEFAULT_OVERLAP),
            }
        } else {
            assert!([&neighbour, &namesake, &second].contains(&&certificate));
            CertificateStatus::Issued
        };
        assert_eq!(certificate.status, expected);
    }
}

async fn no_service_is_named_like_a_device(bench: Bench) {
    for service in [
        server("device-0001.device.synadia.local"),
        client("device-0001.device.synadia.local"),
        server("*.device.synadia.local"),
        client("0001.elsewhere.example.org"),
        client("a b"),
        Service::NatsServer {
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
        },
    ] {
        let refused = bench
            .registrar
            .issue_service_certificate(&service, CertificateKey::New, &act())
            .await
            .unwrap_err();
        assert!(
            matches!(refused, RegistrarError::Name(_)),
            "{service:?}: {refused}"
        );
        assert_eq!(refused.kind(), ErrorKind::Input);
    }
    assert_eq!(bench.store.inner().position().await.unwrap().seq, 0);
}

async fn a_service_certificate_is_revoked(bench: Bench) {
    let made = bench
        .registrar
        .issue_service_certificate(&server("leaf-1"), CertificateKey::New, &act())
        .await
        .unwrap();
    let reason = RevocationReason::KeyCompromise;
    let revoke = async |issuer| {
        bench
            .registrar
            .revoke_certificate(made.issued.serial, issuer, reason, &act())
            .await
    };
    let elsewhere = revoke(Some(SpkiHash::from_bytes([7; 32]))).await;
    assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::NotFound);
    let revoked = revoke(None).await.unwrap();
    assert_eq!(
        revoked.status,
        CertificateStatus::Revoked { at: NOW, reason }
    );
    assert_eq!(revoke(None).await.unwrap_err().kind(), ErrorKind::Conflict);
    let [devices, servers] = pair(bench.registrar.build_crls(&act()).await.unwrap());
    assert_eq!((devices.revoked, servers.revoked), (0, 1));
}

async fn a_service_certificate_revoked_meanwhile_is_not_superseded(bench: Bench) {
    let issue = async || {
        bench
            .registrar
            .issue_service_certificate(&server("leaf-1"), CertificateKey::New, &act())
            .await
            .unwrap()
            .record
    };
    let first = issue().await;
    let revoking = bench.restarted();
    let serial = first.serial;
    bench.store.plan([
        Fault::None,
        Fault::preceded(move |_| async move {
            revoking
                .revoke_certificate(serial, None, RevocationReason::KeyCompromise, &act())
                .await
                .unwrap();
        }),
    ]);
    let second = issue().await;
    let found = bench.certificates().await;
    let kind_of = |record: &leafgate_registry::Certificate| {
        let found = found.iter().find(|item| item.is(&record.id()));
        found.unwrap().status.kind()
    };
    assert_eq!(kind_of(&first), CertificateStatusKind::Revoked);
    assert_eq!(kind_of(&second), CertificateStatusKind::Issued);
}

/// As in an engine elsewhere that signs both kinds with one key, each by rules of its own.
async fn issuers_of_one_key_keep_namesakes_apart(bench: Bench) {
    let ca = Arc::new(bench.ca.load(Intermediate::Devices).unwrap());
    let registrar = Registrar::new(
        bench.store.clone(),
        Issuers::new(ca.clone(), ca),
        bench.domains.clone(),
        random,
    );
    for service in [client("leaf-1"), server("leaf-1")] {
        registrar
            .issue_service_certificate(&service, CertificateKey::New, &act())
            .await
            .unwrap();
    }
    for certificate in bench.certificates().await {
        assert_eq!(
            certificate.status,
            CertificateStatus::Issued,
            "{certificate:?}"
        );
    }
}
