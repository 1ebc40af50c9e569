//! Revocation lists.

use std::time::Duration;

use leafgate_identity::{SerialNumber, SpkiHash, UnixMs, Validity};
use leafgate_pki::Issuer;
use leafgate_registrar::{ErrorKind, RegistrarError, SignedCrl};
use leafgate_registry::{CertificateId, Change, NewCertificate, RevocationReason};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::faulty_store::Fault;
use crate::support::{Bench, NOW, act, act_at, pair};

const DAY: Duration = Duration::from_secs(24 * 3600);

over_every_store!(
    lists_name_what_is_revoked_and_nothing_else,
    numbers_grow_whoever_makes_the_list,
    an_entry_stays_for_one_list_after_its_end,
    what_is_revoked_after_the_number_was_taken_is_listed,
    a_failed_list_uses_up_its_number,
    long_lists_are_read_page_by_page,
);

/// Serial numbers with their reason codes.
fn entries(list: &SignedCrl) -> Vec<(String, Option<u8>)> {
    let (rest, parsed) = CertificateRevocationList::from_der(&list.der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(
        parsed.crl_number().map(ToString::to_string),
        Some(list.number.to_string())
    );
    let mut entries: Vec<_> = parsed
        .iter_revoked_certificates()
        .map(|entry| {
            let serial = SerialNumber::from_be_bytes(entry.raw_serial()).unwrap();
            let reason = entry.reason_code().map(|(_, code)| code.0);
            (serial.to_string(), reason)
        })
        .collect();
    entries.sort();
    assert_eq!(entries.len(), list.revoked);
    entries
}

async fn lists_name_what_is_revoked_and_nothing_else(bench: Bench) {
    let registrar = &bench.registrar;
    let [devices, servers] = pair(registrar.build_crls(&act()).await.unwrap());
    assert_eq!(devices.issuer, bench.devices.spki());
    for list in [&devices, &servers] {
        assert_eq!(list.number, 1);
        assert_eq!(list.next_update, NOW.saturating_add(DAY));
        assert_eq!(entries(list), []);
    }

    let (kept, revoked) = (
        bench.registered("kept").await,
        bench.registered("revoked").await,
    );
    registrar.issue_with_new_key(&kept, &act()).await.unwrap();
    registrar.issue_with_new_key(&kept, &act()).await.unwrap();
    let one = registrar
        .issue_with_new_key(&revoked, &act())
        .await
        .unwrap();
    let two = registrar
        .issue_with_new_key(&revoked, &act())
        .await
        .unwrap();
    let superseded = RevocationReason::Superseded;
    registrar
        .revoke_certificate(one.issued.serial, None, superseded, &act())
        .await
        .unwrap();
    registrar
        .revoke(&revoked, RevocationReason::Unspecified, &act())
        .await
        .unwrap();

    let [devices, servers] = pair(registrar.build_crls(&act()).await.unwrap());
    assert_eq!(devices.number, 2);
    let mut expected = [
        (one.issued.serial.to_string(), Some(4)),
        (two.issued.serial.to_string(), None),
    ];
    expected.sort();
    assert_eq!(entries(&devices), expected);
    assert_eq!(entries(&servers), []);
}

async fn numbers_grow_whoever_makes_the_list(bench: Bench) {
    let mut numbers = Vec::new();
    for _ in 0..2 {
        for registrar in [&bench.registrar, &bench.restarted()] {
            let [devices, servers] = pair(registrar.build_crls(&act()).await.unwrap());
            assert_eq!(devices.number, servers.number);
            numbers.push(devices.number);
        }
    }
    assert_eq!(numbers, [1, 2, 3, 4]);

    let at_once: Vec<_> = (0..4)
        .map(|_| {
            let registrar = bench.registrar.clone();
            tokio::spawn(async move { registrar.build_crls(&act()).await.unwrap()[0].number })
        })
        .collect();
    let mut numbers = Vec::new();
    for task in at_once {
        numbers.push(task.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [5, 6, 7, 8]);
}

/// RFC 5280 section 3.3.
async fn an_entry_stays_for_one_list_after_its_end(bench: Bench) {
    let id = bench.registered("0001").await;
    bench.issued(&id).await;
    let reason = RevocationReason::KeyCompromise;
    bench.registrar.revoke(&id, reason, &act()).await.unwrap();
    for (days, listed) in [(0, 1), (6, 1), (8, 1), (9, 0), (10, 0)] {
        let at = NOW.saturating_add(days * DAY);
        let [devices, _] = pair(bench.registrar.build_crls(&act_at(at)).await.unwrap());
        assert_eq!(entries(&devices).len(), listed, "after {days} days");
    }
}

async fn what_is_revoked_after_the_number_was_taken_is_listed(bench: Bench) {
    let id = bench.registered("0001").await;
    let made = bench.issued(&id).await;
    let other = bench.restarted();
    bench.store.plan([Fault::followed(|_| async move {
        let reason = RevocationReason::KeyCompromise;
        other.revoke(&id, reason, &act()).await.unwrap();
    })]);
    let [devices, _] = pair(bench.registrar.build_crls(&act()).await.unwrap());
    assert_eq!(
        entries(&devices),
        [(made.issued.serial.to_string(), Some(1))]
    );
}

async fn a_failed_list_uses_up_its_number(bench: Bench) {
    bench.devices.fail(true);
    let error = bench.registrar.build_crls(&act()).await.unwrap_err();
    assert!(matches!(error, RegistrarError::Crl(_)), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    bench.devices.fail(false);
    bench.store.plan([Fault::AnswerLost]);
    let error = bench.registrar.build_crls(&act()).await.unwrap_err();
    assert!(matches!(error, RegistrarError::Unconfirmed(_)), "{error}");
    let [devices, servers] = pair(bench.registrar.build_crls(&act()).await.unwrap());
    assert_eq!((devices.number, servers.number), (3, 1));
}

async fn long_lists_are_read_page_by_page(bench: Bench) {
    const COUNT: u64 = 1003;
    let issuer = bench.devices.spki();
    let changes: Vec<Change> = (1..=COUNT)
        .flat_map(|number| revoked_service(issuer, number))
        .collect();
    bench.store.inner().commit(&changes).await.unwrap();
    let [devices, _] = pair(bench.registrar.build_crls(&act()).await.unwrap());
    let entries = entries(&devices);
    assert_eq!(entries.len() as u64, COUNT);
    assert!(
        entries.windows(2).all(|pair| pair[0] < pair[1]),
        "each once"
    );
}

fn revoked_service(issuer: SpkiHash, number: u64) -> [Change; 2] {
    let new = NewCertificate {
        id: CertificateId {
            issuer,
            serial: SerialNumber::from_be_bytes(&number.to_be_bytes()).unwrap(),
        },
        profile: "nats-client".into(),
        public_key: SpkiHash::from_bytes([7; 32]),
        validity: Validity {
            not_before: UnixMs::new(0),
            not_after: NOW.saturating_add(DAY),
        },
    };
    let prepare = Change::prepare_service_certificate("callout", new, &act()).unwrap();
    let certificate = prepare.service_certificate_after().unwrap().clone();
    let reason = RevocationReason::Unspecified;
    let revoke = Change::revoke_service_certificate(&certificate, reason, &act()).unwrap();
    [prepare, revoke]
}
