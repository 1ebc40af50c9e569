//! Which issuer signs while issuers rotate.

use std::sync::Arc;
use std::time::Duration;

use leafgate_pki::Intermediate;
use leafgate_registrar::{
    CertificateKey, ErrorKind, IssuanceLimits, IssuerKeys, IssuerState, Issuers, Registrar,
    RegistrarError, Service, ServiceCredentials,
};
use leafgate_registry::{CertificateStatusKind, RevocationReason};

use crate::faulty_store::Fault;
use crate::rotation::{Rotating, domains};
use crate::support::{
    Bench, DeviceKey, NOW, act, act_at, domains_of, new_device, openssl_csr, random,
};

over_every_store!(
    the_next_issuer_signs_once_it_is_active,
    a_retired_issuer_signs_on_no_path,
    what_is_retired_between_intent_and_signature_signs_nothing,
    a_retired_issuer_still_signs_lists,
    the_same_key_gets_its_certificate_with_the_chain_of_its_issuer,
    the_same_key_leaves_a_retired_issuer,
    a_process_without_the_key_says_so,
    servers_rotate_on_their_own,
    a_services_certificate_of_the_issuer_before_is_superseded,
    a_service_renews_no_more_often_for_a_rotation,
);

async fn the_next_issuer_signs_once_it_is_active(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let (bench, registrar) = (&rotating.bench, &rotating.registrar);
    let id = bench.registered("0001").await;
    let issue = async || registrar.issue_with_new_key(&id, &act()).await.unwrap();
    assert_eq!(issue().await.issued.issuer, rotating.old);
    assert_eq!(registrar.note_issuers(&act()).await.unwrap().len(), 2);
    assert_eq!(issue().await.issued.issuer, rotating.old);
    assert_eq!(
        rotating.states().await,
        [
            (rotating.old, IssuerState::Active),
            (rotating.new, IssuerState::Prepared)
        ]
    );
    let status = rotating.activate(&rotating.new).await.unwrap();
    assert_eq!(
        (status.state, status.since),
        (IssuerState::Active, Some(NOW))
    );
    let issued = issue().await.issued;
    assert_eq!(issued.issuer, rotating.new);
    assert!(issued.chain_pem.ends_with(&status.certificate_pem));
    assert_eq!(
        rotating.states().await,
        [
            (rotating.old, IssuerState::Superseded),
            (rotating.new, IssuerState::Active)
        ]
    );
}

async fn a_retired_issuer_signs_on_no_path(bench: Bench) {
    let rotating = Rotating::activated(bench).await;
    let (registrar, old) = (&rotating.registrar, &rotating.old);
    registrar.retire_issuer(old, &act()).await.unwrap();
    // A process that has the retired key alone, and names it alone.
    let keys = IssuerKeys {
        devices: rotating.issuers.of(Intermediate::Devices)[..1].into(),
        servers: rotating.issuers.of(Intermediate::Servers),
    };
    assert_eq!(keys.devices[0].spki(), *old);
    let left_behind = rotating
        .bench
        .with_issuers(keys.into(), domains_of(vec![*old]));
    let id = rotating.bench.registered("0001").await;
    let key = DeviceKey::new();
    let service = Service::NatsClient {
        name: "callout-1".into(),
    };
    let refusals = [
        left_behind.issue_with_new_key(&id, &act()).await.err(),
        left_behind
            .sign_csr(&id, &key.csr("/CN=a"), &act())
            .await
            .err(),
        left_behind
            .register_with_certificate(new_device("0002"), CertificateKey::New, &act())
            .await
            .err(),
        left_behind
            .issue_service_certificate(&service, CertificateKey::New, &act())
            .await
            .err(),
    ];
    for refused in refusals {
        let refused = refused.unwrap();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        assert!(refused.to_string().contains(&rotating.new.to_string()));
    }
    assert_eq!(rotating.bench.certificates().await, []);
}

async fn what_is_retired_between_intent_and_signature_signs_nothing(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let (bench, registrar) = (&rotating.bench, &rotating.registrar);
    let id = bench.registered("0001").await;
    registrar.note_issuers(&act()).await.unwrap();
    // Another process, past this store's faults, rotates once the intent is recorded.
    let other = Registrar::new(
        bench.store.inner(),
        rotating.issuers.clone(),
        Arc::new(domains(&rotating.issuers)),
        random,
    );
    let (old, new) = (rotating.old, rotating.new);
    bench.store.plan([Fault::followed(move |_| async move {
        let now = act();
        let activated = other.activate_issuer(&new, Duration::ZERO, &now);
        activated.await.unwrap();
        other.retire_issuer(&old, &now).await.unwrap();
    })]);
    let refused = registrar.issue_with_new_key(&id, &act()).await.unwrap_err();
    assert!(matches!(refused, RegistrarError::Busy { .. }), "{refused}");
    let left = bench.record(&id).await;
    let [withdrawn] = &left.certificates[..] else {
        panic!("one intent")
    };
    assert_eq!((withdrawn.issuer, withdrawn.fingerprint), (old, None));
    assert!(!withdrawn.status.admits(NOW));
    let again = registrar.issue_with_new_key(&id, &act()).await.unwrap();
    assert_eq!(again.issued.issuer, new);
}

async fn a_retired_issuer_still_signs_lists(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let (registrar, old) = (&rotating.registrar, &rotating.old);
    let id = rotating.bench.registered("0001").await;
    let issued = registrar.issue_with_new_key(&id, &act()).await.unwrap();
    rotating.activate(&rotating.new).await.unwrap();
    registrar.retire_issuer(old, &act()).await.unwrap();
    let reason = RevocationReason::KeyCompromise;
    let serial = issued.issued.serial;
    registrar
        .revoke_certificate(serial, None, reason, &act())
        .await
        .unwrap();
    let lists = registrar.build_crls(&act()).await.unwrap();
    let shown: Vec<_> = lists.iter().map(|it| (it.issuer, it.revoked)).collect();
    let servers = rotating.issuers.of(Intermediate::Servers)[0].spki();
    assert_eq!(shown, [(*old, 1), (rotating.new, 0), (servers, 0)]);
}

async fn the_same_key_gets_its_certificate_with_the_chain_of_its_issuer(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let registrar = &rotating.registrar;
    let id = rotating.bench.registered("0001").await;
    let key = DeviceKey::new();
    let sign = async |registrar: &Registrar, at| {
        let csr = key.csr("/CN=a");
        registrar.sign_csr(&id, &csr, &act_at(at)).await.unwrap()
    };
    let first = sign(registrar, NOW).await;
    rotating.activate(&rotating.new).await.unwrap();
    let again = sign(registrar, NOW).await;
    assert!(!again.newly_issued);
    assert_eq!(again.issued, first.issued);
    // The chain is recorded: it does not take the old key.
    let keys = IssuerKeys {
        devices: rotating.issuers.of(Intermediate::Devices)[1..].into(),
        servers: rotating.issuers.of(Intermediate::Servers),
    };
    let newcomer = rotating
        .bench
        .with_issuers(keys.into(), domains(&rotating.issuers));
    assert_eq!(sign(&newcomer, NOW).await.issued, first.issued);
    let due = sign(registrar, first.renew_after).await;
    assert!(due.newly_issued);
    assert_eq!(due.issued.issuer, rotating.new);
}

async fn the_same_key_leaves_a_retired_issuer(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let registrar = &rotating.registrar;
    let id = rotating.bench.registered("0001").await;
    let csr = DeviceKey::new().csr("/CN=a");
    registrar.sign_csr(&id, &csr, &act()).await.unwrap();
    rotating.activate(&rotating.new).await.unwrap();
    registrar
        .retire_issuer(&rotating.old, &act())
        .await
        .unwrap();
    let next = registrar.sign_csr(&id, &csr, &act()).await.unwrap();
    assert!(next.newly_issued);
    assert_eq!(next.issued.issuer, rotating.new);
    let again = registrar.sign_csr(&id, &csr, &act()).await.unwrap();
    assert_eq!(again.issued, next.issued);
}

async fn a_process_without_the_key_says_so(bench: Bench) {
    let rotating = Rotating::devices(bench);
    let keys = IssuerKeys {
        devices: rotating.issuers.of(Intermediate::Devices)[..1].into(),
        servers: rotating.issuers.of(Intermediate::Servers),
    };
    let issuers = Issuers::from(keys);
    let behind = rotating
        .bench
        .with_issuers(issuers.clone(), domains(&rotating.issuers));
    rotating.registrar.note_issuers(&act()).await.unwrap();
    let now = act();
    let refused = behind.activate_issuer(&rotating.new, Duration::ZERO, &now);
    let refused = refused.await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::IssuerKeyMissing { .. }),
        "{refused}"
    );

    rotating.activate(&rotating.new).await.unwrap();
    let id = rotating.bench.registered("0001").await;
    let refused = behind.issue_with_new_key(&id, &act()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(
        refused.to_string().contains("copy devices.crt"),
        "{refused}"
    );
    let status = behind.issuer_status(&rotating.new, NOW).await.unwrap();
    assert_eq!(
        (status.state, status.key_present),
        (IssuerState::Active, false)
    );
    assert_eq!(rotating.bench.certificates().await, []);

    issuers.replace(IssuerKeys {
        devices: rotating.issuers.of(Intermediate::Devices),
        servers: rotating.issuers.of(Intermediate::Servers),
    });
    let issued = behind.issue_with_new_key(&id, &act()).await.unwrap();
    assert_eq!(issued.issued.issuer, rotating.new);
}

async fn servers_rotate_on_their_own(bench: Bench) {
    let rotating = Rotating::of(Intermediate::Servers, bench);
    let registrar = &rotating.registrar;
    rotating.activate(&rotating.new).await.unwrap();
    let service = Service::NatsServer {
        dns_names: vec!["leaf-1.example.org".into()],
        ip_addresses: Vec::new(),
    };
    let now = act();
    let issued = registrar.issue_service_certificate(&service, CertificateKey::New, &now);
    assert_eq!(issued.await.unwrap().issued.issuer, rotating.new);
    let devices = rotating.issuers.of(Intermediate::Devices)[0].spki();
    assert_eq!(rotating.states().await, [(devices, IssuerState::Active)]);
}

fn leaf() -> Service {
    Service::NatsServer {
        dns_names: vec!["leaf-1.example.org".into()],
        ip_addresses: Vec::new(),
    }
}

async fn issued_to_leaf(registrar: &Registrar) -> ServiceCredentials {
    registrar
        .issue_service_certificate(&leaf(), CertificateKey::New, &act())
        .await
        .unwrap()
}

async fn a_services_certificate_of_the_issuer_before_is_superseded(bench: Bench) {
    let rotating = Rotating::of(Intermediate::Servers, bench);
    let old = issued_to_leaf(&rotating.registrar).await.record;
    rotating.activate(&rotating.new).await.unwrap();
    let new = issued_to_leaf(&rotating.registrar).await.record;
    assert_eq!([old.issuer, new.issuer], [rotating.old, rotating.new]);
    for certificate in rotating.bench.certificates().await {
        let expected = if certificate.is(&old.id()) {
            CertificateStatusKind::Superseded
        } else {
            CertificateStatusKind::Issued
        };
        assert_eq!(certificate.status.kind(), expected);
    }
}

async fn a_service_renews_no_more_often_for_a_rotation(bench: Bench) {
    let rotating = Rotating::of(Intermediate::Servers, bench);
    let limits = IssuanceLimits {
        per_day: 3,
        ..IssuanceLimits::default()
    };
    let registrar = rotating.registrar.clone().with_limits(limits);
    let presented = issued_to_leaf(&registrar).await.issued;
    rotating.activate(&rotating.new).await.unwrap();
    let renew = async || {
        let csr = openssl_csr();
        let (serial, fingerprint) = (presented.serial, &presented.fingerprint);
        registrar
            .renew_service(&leaf(), serial, fingerprint, &csr, &act())
            .await
    };
    for _ in 0..2 {
        assert_eq!(renew().await.unwrap().issued.issuer, rotating.new);
    }
    let refused = renew().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooMany, "{refused}");
}
