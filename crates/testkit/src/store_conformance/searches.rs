//! Searches that a fleet's operator makes: by site, by what ends soon, by key and fingerprint.

use leafgate_identity::{SpkiHash, UnixMs, Validity};
use leafgate_registry::{
    Action, CertificateQuery, Change, DeviceStore, NewCertificate, NewDevice, Query,
};

use super::records::{
    act, apply, certificate_id, fingerprint, load, new_certificate, new_device, register,
};
use super::{StoreFixture, features};

async fn assert_finds(
    fixture: &dyn StoreFixture,
    store: &dyn DeviceStore,
    query: &Query,
    expected: &[&str],
) {
    if let Some(page) = features::find(fixture, store, query).await {
        let found = page.items.iter();
        let found: Vec<_> = found.map(|record| record.device.id.as_str()).collect();
        assert_eq!(found, expected);
    }
}

/// Of that site, and not of another or of none.
pub async fn devices_are_found_by_site(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    for (text, site) in [
        ("a", Some("north")),
        ("b", None),
        ("c", Some("south")),
        ("d", Some("north")),
    ] {
        let new = NewDevice {
            site: site.map(str::to_owned),
            ..new_device(text)
        };
        let change = Change::register(None, new, &act(1)).expect("a good device");
        apply(&*store, change).await;
    }
    let query = Query {
        site: Some("north".to_owned()),
        ..Query::default()
    };
    assert_finds(fixture, &*store, &query, &["a", "d"]).await;
}

/// The last issued certificate of the present generation counts; one that is only prepared doesn't.
pub async fn devices_are_found_by_the_end_of_their_last_certificate(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    register(&*store, "none").await;
    for (serial, text, ends, issued) in [
        (1, "soon", 100, true),
        (2, "late", 900, true),
        (3, "renewed", 100, true),
        (4, "renewed", 900, true),
        (5, "trying", 100, true),
        (6, "trying", 900, false),
        (7, "again", 100, true),
    ] {
        issue(&*store, text, serial, ends, issued).await;
    }
    let deleted = Change::transition(&load(&*store, "again").await, Action::Delete, &act(5_000));
    let tombstone = apply(&*store, deleted.expect("legal")).await;
    let again = Change::register(Some(&tombstone), new_device("again"), &act(6_000));
    apply(&*store, again.expect("a tombstone")).await;
    let by = |secs| Query {
        expires_by: Some(UnixMs::from_secs(secs)),
        ..Query::default()
    };
    assert_finds(fixture, &*store, &by(99), &[]).await;
    assert_finds(fixture, &*store, &by(100), &["soon", "trying"]).await;
    let all = ["late", "renewed", "soon", "trying"];
    assert_finds(fixture, &*store, &by(900), &all).await;
}

async fn issue(store: &dyn DeviceStore, text: &str, serial: u32, ends_secs: i64, sign: bool) {
    let registered = store
        .load(&super::records::id(text))
        .await
        .expect("an answer");
    let record = match registered {
        Some(record) => record,
        None => register(store, text).await,
    };
    let new = NewCertificate {
        validity: Validity {
            not_before: UnixMs::from_secs(1),
            not_after: UnixMs::from_secs(ends_secs),
        },
        public_key: SpkiHash::from_bytes([u8::try_from(serial).expect("a small number"); 32]),
        ..new_certificate(certificate_id(serial))
    };
    let prepare = Change::prepare_certificate(&record, new, &act(2_000)).expect("an active device");
    let record = apply(store, prepare).await;
    if sign {
        let number = u8::try_from(serial).expect("a small number");
        let id = certificate_id(serial);
        let issued = Change::record_issued(&record, &id, fingerprint(number), &act(3_000));
        apply(store, issued.expect("a prepared certificate")).await;
    }
}

/// Each narrows to its own, alone and together.
pub async fn certificates_are_found_by_key_fingerprint_and_id_prefix(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    for (serial, text) in [(1, "pump-1"), (2, "pump-2"), (3, "valve-1"), (4, "Pump-3")] {
        issue(&*store, text, serial, 900, true).await;
    }
    let all = CertificateQuery::default();
    let prefix = |prefix: &str| CertificateQuery {
        device_prefix: Some(prefix.to_owned()),
        ..all.clone()
    };
    for (query, expected) in [
        (prefix("pump-"), &[1, 2][..]),
        (prefix("pump-2"), &[2]),
        (prefix("pumps"), &[]),
        (
            CertificateQuery {
                fingerprint: Some(fingerprint(3)),
                ..all.clone()
            },
            &[3],
        ),
        (
            CertificateQuery {
                public_key: Some(SpkiHash::from_bytes([4; 32])),
                ..all.clone()
            },
            &[4],
        ),
        (
            CertificateQuery {
                public_key: Some(SpkiHash::from_bytes([1; 32])),
                ..prefix("pump-2")
            },
            &[],
        ),
    ] {
        let Some(page) = features::find_certificates(fixture, &*store, &query).await else {
            continue;
        };
        let mut found: Vec<_> = page.items.iter().map(|c| c.id()).collect();
        found.sort();
        let expected: Vec<_> = expected
            .iter()
            .map(|serial| certificate_id(*serial))
            .collect();
        assert_eq!(found, expected, "{query:?}");
    }
}
