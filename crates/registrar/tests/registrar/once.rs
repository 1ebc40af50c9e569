//! Requests that must not be carried out twice.

use std::collections::BTreeMap;
use std::time::Duration;

use leafgate_registrar::{CertificateKey, ErrorKind, Registrar, RegistrarError, RequestKey};
use leafgate_registry::{DeviceState, DocumentKind, DocumentName, EventKind};

use crate::faulty_store::Fault;
use crate::support::{Bench, NOW, act, act_at, id, new_device, openssl_csr};

over_every_store!(
    a_request_is_recorded_with_what_it_did,
    a_repeated_request_is_refused_and_does_nothing,
    a_request_that_was_refused_is_not_recorded,
    a_request_is_recorded_by_the_first_commit_that_succeeds,
    a_request_that_changes_nothing_is_not_recorded,
    a_request_is_forgotten_after_a_day,
    of_many_equal_requests_one_is_carried_out,
    commits_of_one_request_at_a_time_record_it_once,
);

const DAY: Duration = Duration::from_secs(24 * 3600);

fn name() -> DocumentName {
    DocumentName::parse(&"ab".repeat(32)).unwrap()
}

fn once(registrar: &Registrar) -> Registrar {
    registrar.once(RequestKey {
        name: name(),
        request_sha256: "cd".repeat(32),
    })
}

async fn a_request_is_recorded_with_what_it_did(bench: Bench) {
    let registrar = &bench.registrar;
    assert_eq!(registrar.find_request(&name(), NOW).await.unwrap(), None);
    let made = once(registrar)
        .register_with_certificate(new_device("0001"), CertificateKey::New, &act())
        .await
        .unwrap();
    let recorded = registrar.find_request(&name(), NOW).await.unwrap().unwrap();
    assert_eq!(recorded.request_sha256, "cd".repeat(32));
    assert_eq!(recorded.at, NOW);
    let [registered, prepared] = &recorded.outcome[..] else {
        panic!("{recorded:?}");
    };
    assert_eq!(registered.event, EventKind::DeviceRegistered.as_str());
    assert_eq!(registered.device, Some(id("0001")));
    assert_eq!(registered.certificate, None);
    assert_eq!(prepared.event, EventKind::CertificatePrepared.as_str());
    let certificate = made.device.certificates[0].id();
    assert_eq!(prepared.certificate, Some(certificate.to_string()));
}

async fn a_repeated_request_is_refused_and_does_nothing(bench: Bench) {
    let registrar = &bench.registrar;
    let id = bench.registered("0001").await;
    let issue = async || once(registrar).issue_with_new_key(&id, &act()).await;
    issue().await.unwrap();
    let before = bench.store.inner().position().await.unwrap();
    let refused = issue().await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::RequestRepeated),
        "{refused}"
    );
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let other_act = once(registrar).disable(&id, &act()).await.unwrap_err();
    assert!(
        matches!(other_act, RegistrarError::RequestRepeated),
        "{other_act}"
    );
    assert_eq!(bench.store.inner().position().await.unwrap(), before);
}

async fn a_request_that_was_refused_is_not_recorded(bench: Bench) {
    let id = bench.registered("0001").await;
    let refused = once(&bench.registrar).approve(&id, &act()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
    let found = bench.registrar.find_request(&name(), NOW).await.unwrap();
    assert_eq!(found, None);
    once(&bench.registrar).disable(&id, &act()).await.unwrap();
}

async fn a_request_is_recorded_by_the_first_commit_that_succeeds(bench: Bench) {
    let id = bench.registered("0001").await;
    bench.store.plan([Fault::Conflict, Fault::Conflict]);
    once(&bench.registrar)
        .issue_with_new_key(&id, &act())
        .await
        .unwrap();
    let stored = bench
        .store
        .inner()
        .document(DocumentKind::Request, &name())
        .await;
    assert_eq!(stored.unwrap().unwrap().version, 1);

    // One whose answer was lost is recorded: whether it was carried out can be looked up.
    let other = bench.registered("0002").await;
    let lost = RequestKey {
        name: DocumentName::parse(&"ef".repeat(32)).unwrap(),
        request_sha256: String::new(),
    };
    bench.store.plan([Fault::AnswerLost]);
    let error = bench
        .registrar
        .once(lost.clone())
        .disable(&other, &act())
        .await;
    assert!(matches!(error, Err(RegistrarError::Unconfirmed(_))));
    let found = bench.registrar.find_request(&lost.name, NOW).await.unwrap();
    assert_eq!(found.unwrap().outcome[0].event, "device-disabled");
}

async fn a_request_that_changes_nothing_is_not_recorded(bench: Bench) {
    let id = bench.registered("0001").await;
    let csr = openssl_csr();
    bench.registrar.sign_csr(&id, &csr, &act()).await.unwrap();
    let again = once(&bench.registrar)
        .sign_csr(&id, &csr, &act())
        .await
        .unwrap();
    assert!(!again.newly_issued);
    let found = bench.registrar.find_request(&name(), NOW).await.unwrap();
    assert_eq!(found, None);
}

async fn a_request_is_forgotten_after_a_day(bench: Bench) {
    let registrar = &bench.registrar;
    let id = bench.registered("0001").await;
    once(registrar).disable(&id, &act()).await.unwrap();
    let (before, after) = (
        NOW.saturating_add(DAY - Duration::from_millis(1)),
        NOW.saturating_add(DAY),
    );
    assert!(
        registrar
            .find_request(&name(), before)
            .await
            .unwrap()
            .is_some()
    );
    assert!(once(registrar).enable(&id, &act_at(before)).await.is_err());
    // Whether or not its document is gone.
    assert_eq!(registrar.find_request(&name(), after).await.unwrap(), None);
    once(registrar).enable(&id, &act_at(after)).await.unwrap();
    let found = registrar.find_request(&name(), after).await.unwrap();
    assert_eq!(found.unwrap().outcome[0].event, "device-enabled");
}

async fn of_many_equal_requests_one_is_carried_out(bench: Bench) {
    let device = bench.registered("0001").await;
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let (registrar, device) = (once(&bench.restarted()), device.clone());
            tokio::spawn(async move { registrar.issue_with_new_key(&device, &act()).await })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => done += 1,
            Err(refused) => {
                assert!(
                    matches!(refused, RegistrarError::RequestRepeated),
                    "{refused}"
                );
            }
        }
    }
    assert_eq!(done, 1);
    assert_eq!(bench.record(&device).await.certificates.len(), 1);
}

async fn commits_of_one_request_at_a_time_record_it_once(bench: Bench) {
    let registrar = once(&bench.restarted());
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let registrar = registrar.clone();
            let new = leafgate_registry::NewDevice {
                attributes: BTreeMap::new(),
                ..new_device(&format!("d{number}"))
            };
            tokio::spawn(async move { registrar.register(new, &act()).await })
        })
        .collect();
    for task in tasks {
        let record = task.await.unwrap().unwrap();
        assert_eq!(record.device.state, DeviceState::Active);
    }
    let found = bench.registrar.find_request(&name(), NOW).await.unwrap();
    assert_eq!(found.unwrap().outcome.len(), 1);
}
