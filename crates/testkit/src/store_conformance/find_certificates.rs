//! Listings of certificates.

use leafgate_identity::UnixMs;
use leafgate_registry::{
    Action, Certificate, CertificateId, CertificateQuery, CertificateStatusKind, Change,
    DeviceStore, Holder, Outstanding, RevocationReason, StoreError,
};

use super::records::{
    act, apply, apply_service, certificate_id, certificate_id_of, fingerprint, id, issuer,
    new_certificate, register, register_with_certificate,
};
use super::{StoreFixture, features};

/// More certificates than any listing of these cases has.
const ENDLESS: usize = 200;

/// Issuer, serial number, holder, status and expiry, alone and together.
pub async fn certificates_are_found_by_each_condition(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let record = register_with_certificate(&*store, "0001", certificate_id(1)).await;
    let mut long = new_certificate(certificate_id(2));
    long.validity.not_after = UnixMs::from_secs(2_000);
    let record = apply(
        &*store,
        Change::prepare_certificate(&record, long, &act(5)).expect("active"),
    )
    .await;
    let reason = RevocationReason::KeyCompromise;
    let revoke = Change::revoke_certificate(&record, &certificate_id(1), reason, &act(6));
    apply(&*store, revoke.expect("not revoked")).await;
    let other = register_with_certificate(&*store, "0002", certificate_id_of(2, 1)).await;
    apply(
        &*store,
        Change::delete(&other, &act(7)).expect("a live device"),
    )
    .await;
    let service = new_certificate(certificate_id_of(2, 3));
    let service = Change::prepare_service_certificate("leaf-1", service, &act(8))
        .expect("a good certificate");
    store.commit(&[service]).await.expect("a free serial");

    let device = |text: &str| {
        Some(Holder::Device {
            id: id(text),
            generation: 1,
        })
    };
    let all = CertificateQuery::default();
    let revoked = Some(CertificateStatusKind::Revoked);
    let (one, two) = (certificate_id(1), certificate_id(2));
    let (foreign, server) = (certificate_id_of(2, 1), certificate_id_of(2, 3));
    let cases = [
        (all.clone(), vec![one, two, foreign, server]),
        (
            CertificateQuery {
                issuer: Some(issuer(1)),
                ..all.clone()
            },
            vec![one, two],
        ),
        (
            CertificateQuery {
                issuer: Some(issuer(9)),
                ..all.clone()
            },
            vec![],
        ),
        (
            CertificateQuery {
                serial: Some(one.serial),
                ..all.clone()
            },
            vec![one, foreign],
        ),
        (
            CertificateQuery {
                status: revoked,
                ..all.clone()
            },
            vec![one, foreign],
        ),
        (
            CertificateQuery {
                issuer: Some(issuer(2)),
                status: revoked,
                ..all.clone()
            },
            vec![foreign],
        ),
        (
            CertificateQuery {
                status: Some(CertificateStatusKind::Prepared),
                ..all.clone()
            },
            vec![two, server],
        ),
        (
            CertificateQuery {
                holder: device("0001"),
                ..all.clone()
            },
            vec![one, two],
        ),
        (
            CertificateQuery {
                holder: Some(Holder::Device {
                    id: id("0001"),
                    generation: 2,
                }),
                ..all.clone()
            },
            vec![],
        ),
        (
            CertificateQuery {
                holder: Some(Holder::Service {
                    name: "leaf-1".to_owned(),
                }),
                ..all.clone()
            },
            vec![server],
        ),
        (
            CertificateQuery {
                holder: Some(Holder::Service {
                    name: "0001".to_owned(),
                }),
                ..all.clone()
            },
            vec![],
        ),
        (
            CertificateQuery {
                expires_after: Some(UnixMs::from_secs(1_000)),
                ..all.clone()
            },
            vec![two],
        ),
        (
            CertificateQuery {
                expires_by: Some(UnixMs::from_secs(1_000)),
                ..all.clone()
            },
            vec![one, foreign, server],
        ),
        (
            CertificateQuery {
                issuer: Some(issuer(1)),
                status: revoked,
                expires_after: Some(UnixMs::from_secs(1_000)),
                ..all.clone()
            },
            vec![],
        ),
    ];
    for (query, mut expected) in cases {
        if features::find_certificates(fixture, &*store, &query)
            .await
            .is_none()
        {
            continue;
        }
        let mut found = all_certificates(&*store, &query).await;
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{query:?}");
    }
}

/// A revocation list is read in pages, each certificate once.
pub async fn certificates_come_in_pages(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let mut record = register(&*store, "0001").await;
    for serial in 0..11 {
        let id = certificate_id_of(1 + (serial % 2) as u8, serial);
        let prepare =
            Change::prepare_certificate(&record, new_certificate(id), &act(2)).expect("active");
        record = apply(&*store, prepare).await;
    }
    let record = apply(
        &*store,
        Change::transition(&record, Action::Revoke, &act(3)).expect("legal"),
    )
    .await;
    for issuer_number in [1, 2] {
        for limit in [1, 2, 3, 100] {
            let query = CertificateQuery {
                issuer: Some(issuer(issuer_number)),
                status: Some(CertificateStatusKind::Revoked),
                limit,
                ..CertificateQuery::default()
            };
            let mut found = all_certificates(&*store, &query).await;
            found.sort();
            let of_issuer = record.certificates.iter().map(Certificate::id);
            let mut expected: Vec<_> = of_issuer
                .filter(|id| id.issuer == issuer(issuer_number))
                .collect();
            expected.sort();
            assert_eq!(found, expected);
        }
    }
}

/// Accepted certificates and all that have not ended, of one issuer.
pub async fn what_is_left_of_an_issuer_is_counted(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let at = UnixMs::from_secs;
    if !fixture.supports(features::Feature::UnindexedSearches) {
        let refused = store.outstanding(&issuer(1), at(2)).await;
        assert!(matches!(refused, Err(StoreError::Unsupported { .. })));
        return;
    }
    let nothing = Outstanding::default();
    assert_eq!(
        store.outstanding(&issuer(1), at(2)).await.expect("a count"),
        nothing
    );
    // Of one device: superseded until 500 s, and issued until 2,000 s.
    let record = register_with_certificate(&*store, "0001", certificate_id(1)).await;
    let mut long = new_certificate(certificate_id(2));
    long.validity.not_after = at(2_000);
    let prepare = Change::prepare_certificate(&record, long, &act(5_000)).expect("active");
    let record = apply(&*store, prepare).await;
    let issued = Change::record_issued(&record, &certificate_id(2), fingerprint(2), &act(6_000));
    let record = apply(&*store, issued.expect("prepared")).await;
    let older = Change::supersede_older(&record, &certificate_id(2), at(500), &act(7_000));
    apply(&*store, older.expect("issued")).await;
    // Of others: revoked until 3,000 s, prepared, a service's of the same name, and another issuer's.
    let record = register(&*store, "0002").await;
    let mut revoked = new_certificate(certificate_id(3));
    revoked.validity.not_after = at(3_000);
    let prepare = Change::prepare_certificate(&record, revoked, &act(8_000)).expect("active");
    let record = apply(&*store, prepare).await;
    let reason = RevocationReason::KeyCompromise;
    let revoke = Change::revoke_certificate(&record, &certificate_id(3), reason, &act(9_000));
    let record = apply(&*store, revoke.expect("not revoked")).await;
    let prepared = new_certificate(certificate_id(4));
    let prepare = Change::prepare_certificate(&record, prepared, &act(10_000)).expect("active");
    apply(&*store, prepare).await;
    let service = new_certificate(certificate_id(5));
    let service = Change::prepare_service_certificate("0001", service, &act(11_000));
    let service = apply_service(&*store, service.expect("a good certificate")).await;
    let issued = Change::record_service_issued(&service, fingerprint(5), &act(12_000));
    apply_service(&*store, issued.expect("prepared")).await;
    register_with_certificate(&*store, "0003", certificate_id_of(2, 1)).await;

    let cases = [
        (at(2), (3, 2, Some(at(2_000))), (5, Some(at(3_000)))),
        (at(500), (2, 2, Some(at(2_000))), (5, Some(at(3_000)))),
        (at(1_000), (1, 1, Some(at(2_000))), (2, Some(at(3_000)))),
        (at(2_000), (0, 0, None), (1, Some(at(3_000)))),
    ];
    for (now, (certificates, holders, last_not_after), (unexpired, last_unexpired)) in cases {
        let expected = Outstanding {
            certificates,
            holders,
            last_not_after,
            unexpired,
            last_unexpired,
        };
        let counted = store.outstanding(&issuer(1), now).await;
        assert_eq!(counted.expect("a count"), expected, "at {now}");
    }
    assert_eq!(
        store
            .outstanding(&issuer(1), at(3_000))
            .await
            .expect("a count"),
        nothing
    );
}

/// Of one issuer, without those that there are none of.
pub async fn certificates_are_found_by_serial_numbers(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    for (device, certificate) in [
        ("0001", certificate_id(1)),
        ("0002", certificate_id(2)),
        ("0003", certificate_id_of(2, 1)),
    ] {
        register_with_certificate(&*store, device, certificate).await;
    }
    let service = new_certificate(certificate_id(3));
    let service = Change::prepare_service_certificate("leaf-1", service, &act(8))
        .expect("a good certificate");
    store.commit(&[service]).await.expect("a free serial");
    for (issuer_number, serials, expected) in [
        (1, &[1, 2, 3, 4][..], &[1, 2, 3][..]),
        (1, &[3, 1], &[1, 3]),
        (2, &[2, 1], &[1]),
        (3, &[1], &[]),
        (1, &[4], &[]),
        (1, &[], &[]),
    ] {
        let id = |serial: &u32| certificate_id_of(issuer_number, *serial);
        let asked: Vec<_> = serials.iter().map(|serial| id(serial).serial).collect();
        let found = store.certificates(&issuer(issuer_number), &asked).await;
        let mut found: Vec<_> = found
            .expect("readable certificates")
            .iter()
            .map(Certificate::id)
            .collect();
        found.sort_unstable();
        let expected: Vec<_> = expected.iter().map(id).collect();
        assert_eq!(found, expected, "{serials:?} of {issuer_number}");
    }
}

async fn all_certificates(store: &dyn DeviceStore, query: &CertificateQuery) -> Vec<CertificateId> {
    let mut query = query.clone();
    let mut found = Vec::new();
    loop {
        assert!(found.len() < ENDLESS, "the listing has no end");
        let page = store
            .find_certificates(&query)
            .await
            .expect("readable certificates");
        assert!(page.items.len() <= query.limit);
        assert!(
            page.items
                .iter()
                .all(|certificate| query.matches(certificate))
        );
        found.extend(page.items.iter().map(Certificate::id));
        match page.next {
            None => return found,
            Some(next) => query.after = Some(next.to_string().parse().expect("its own text")),
        }
    }
}
