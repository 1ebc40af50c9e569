//! Keys: one holder each, and none that is known to be in other hands.

use leafgate_registrar::{CertificateKey, ErrorKind, RegistrarError, Service};
use leafgate_registry::{CertificateStatusKind, RevocationReason};

use crate::faulty_store::Fault;
use crate::support::{Bench, act, act_at, key_of, new_device, openssl_csr};

over_every_store!(
    another_devices_key_is_refused_and_not_named,
    of_two_devices_that_ask_for_one_key_at_a_time_one_gets_it_at_most,
    an_intent_that_lost_its_key_is_withdrawn,
    a_service_and_a_device_share_no_key,
    a_key_compromised_anywhere_is_refused_everywhere,
);

const ANOTHER: &str =
    "this key is held by another device: every device needs a key of its own; make a new key";

async fn another_devices_key_is_refused_and_not_named(bench: Bench) {
    let (owner, thief) = (
        bench.registered("owner").await,
        bench.registered("thief").await,
    );
    let csr = openssl_csr();
    let registrar = &bench.registrar;
    let made = registrar.sign_csr(&owner, &csr, &act()).await.unwrap();

    let before = bench.store.inner().position().await.unwrap();
    for refused in [
        registrar.sign_csr(&thief, &csr, &act()).await,
        registrar
            .register_with_certificate(new_device("third"), CertificateKey::Csr(&csr), &act())
            .await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert_eq!(refused.to_string(), ANOTHER);
    }
    assert_eq!(bench.store.inner().position().await.unwrap(), before);

    // It is held for as long as a certificate for it could be used, whatever became of its device.
    registrar.disable(&owner, &act()).await.unwrap();
    assert!(registrar.sign_csr(&thief, &csr, &act()).await.is_err());
    let at_its_end = act_at(made.issued.validity.not_after);
    registrar.sign_csr(&thief, &csr, &at_its_end).await.unwrap();
    registrar.enable(&owner, &act()).await.unwrap();
    let refused = registrar
        .sign_csr(&owner, &csr, &at_its_end)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RegistrarError::KeyHeld { .. }),
        "{refused}"
    );

    // A revoked certificate holds nothing, if it was not for the key's sake.
    registrar.delete(&thief, &act()).await.unwrap();
    registrar.sign_csr(&owner, &csr, &at_its_end).await.unwrap();
}

async fn of_two_devices_that_ask_for_one_key_at_a_time_one_gets_it_at_most(bench: Bench) {
    for round in 0..10 {
        let csr = openssl_csr();
        let mut tasks = Vec::new();
        for name in ["a", "b", "c"] {
            let id = bench.registered(&format!("{name}{round}")).await;
            let (registrar, csr) = (bench.restarted(), csr.clone());
            tasks.push(tokio::spawn(async move {
                registrar.sign_csr(&id, &csr, &act()).await
            }));
        }
        let mut issued = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => issued += 1,
                Err(refused) => {
                    assert!(
                        matches!(refused, RegistrarError::KeyHeld { .. }),
                        "{refused}"
                    );
                }
            }
        }
        assert!(issued <= 1, "{issued} devices have one key");
        let holding = bench
            .certificates()
            .await
            .into_iter()
            .filter(|certificate| {
                certificate.public_key == key_of(&csr)
                    && certificate.status.kind() != CertificateStatusKind::Revoked
            });
        assert_eq!(holding.count(), issued, "what was refused holds no key");
    }
}

async fn an_intent_that_lost_its_key_is_withdrawn(bench: Bench) {
    let (first, second) = (
        bench.registered("first").await,
        bench.registered("second").await,
    );
    let csr = openssl_csr();
    let (other, same, taken) = (bench.restarted(), csr.clone(), second.clone());
    // Both have looked; now both announce.
    bench.store.plan([Fault::preceded(move |_| async move {
        other.sign_csr(&taken, &same, &act()).await.unwrap();
    })]);
    let refused = bench
        .registrar
        .sign_csr(&first, &csr, &act())
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), ANOTHER);
    assert_eq!(
        bench.statuses(&first).await,
        [CertificateStatusKind::Revoked]
    );
    assert_eq!(bench.record(&first).await.certificates[0].fingerprint, None);
    assert_eq!(
        bench.statuses(&second).await,
        [CertificateStatusKind::Issued]
    );
}

async fn a_service_and_a_device_share_no_key(bench: Bench) {
    let id = bench.registered("0001").await;
    let (of_device, of_service) = (openssl_csr(), openssl_csr());
    bench
        .registrar
        .sign_csr(&id, &of_device, &act())
        .await
        .unwrap();
    let issue = async |name: &str, csr| {
        let service = Service::NatsClient { name: name.into() };
        bench
            .registrar
            .issue_service_certificate(&service, CertificateKey::Csr(csr), &act())
            .await
    };
    let refused = issue("callout-0", &of_device).await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::KeyHeld { .. }),
        "{refused}"
    );
    issue("callout-0", &of_service).await.unwrap();
    issue("callout-1", &of_service).await.unwrap();
    let refused = bench
        .registrar
        .sign_csr(&id, &of_service, &act())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RegistrarError::KeyHeld { holder: None }),
        "{refused}"
    );
}

async fn a_key_compromised_anywhere_is_refused_everywhere(bench: Bench) {
    let registrar = &bench.registrar;
    let (owner, other) = (
        bench.registered("owner").await,
        bench.registered("other").await,
    );
    let csr = openssl_csr();
    let first = registrar.sign_csr(&owner, &csr, &act()).await.unwrap();
    let second = registrar
        .sign_csr(&owner, &csr, &act_at(first.renew_after))
        .await
        .unwrap();
    let spared = bench.issued(&owner).await;
    registrar
        .revoke_certificate(
            first.issued.serial,
            None,
            RevocationReason::KeyCompromise,
            &act(),
        )
        .await
        .unwrap();
    // Whoever has the key has the newer certificate too, which anybody may have seen.
    let record = bench.record(&owner).await;
    let kind = |made: &leafgate_registrar::DeviceCredentials| {
        let found = record.certificate_by_fingerprint(&made.issued.fingerprint);
        found.unwrap().status.kind()
    };
    assert_eq!(kind(&second), CertificateStatusKind::Revoked);
    assert_eq!(kind(&spared), CertificateStatusKind::Issued);

    let refused = registrar.sign_csr(&other, &csr, &act()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(
        refused.to_string(),
        "this key is compromised: a certificate was revoked for that; make a new key"
    );
    let server = Service::NatsServer {
        dns_names: vec!["leaf-1".into()],
        ip_addresses: Vec::new(),
    };
    let refused = registrar
        .issue_service_certificate(&server, CertificateKey::Csr(&csr), &act())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RegistrarError::KeyCompromised { serial: None }),
        "{refused}"
    );
}
