//! Listings of devices.

use std::collections::BTreeSet;

use leafgate_identity::DeviceId;
use leafgate_registry::{
    Action, Change, Cursor, DeviceRecord, DeviceState, DeviceStore, NewDevice, Query,
};

use super::records::{
    act, apply, certificate_id, load, new_device, register, register_with_certificate,
};
use super::{StoreFixture, features};

/// More pages than any listing of these cases has.
const ENDLESS: usize = 200;

/// By id, byte by byte, each with its own certificates, and tombstones only when asked for.
pub async fn devices_come_in_order_with_their_certificates(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    for (serial, text) in (0..).zip(["b", "B1", "a_1", "a-1", "a1", "a10", "Z", "0"]) {
        register_with_certificate(&*store, text, certificate_id(serial)).await;
    }
    let gone = register(&*store, "gone").await;
    apply(
        &*store,
        Change::delete(&gone, &act(9)).expect("a live device"),
    )
    .await;

    let page = store
        .find(&Query::default())
        .await
        .expect("readable devices");
    assert_eq!(page.next, None);
    assert_eq!(
        ids(&page.items),
        ["0", "B1", "Z", "a-1", "a1", "a10", "a_1", "b"]
    );
    for record in &page.items {
        assert_eq!(*record, load(&*store, record.device.id.as_str()).await);
    }
    let deleted = Query {
        state: Some(DeviceState::Deleted),
        ..Query::default()
    };
    assert_eq!(
        ids(&store.find(&deleted).await.expect("readable devices").items),
        ["gone"]
    );
}

/// State, type, attribute and prefix, alone and together.
pub async fn each_condition_narrows(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    for (text, device_type, line, disabled) in [
        ("a-1", "pump", "1", false),
        ("a-2", "pump", "2", true),
        ("A-3", "valve", "1", false),
        ("b-1", "valve", "2", true),
        ("a", "valve", "2", false),
    ] {
        let mut new = NewDevice {
            device_type: device_type.to_owned(),
            ..new_device(text)
        };
        new.attributes.insert("line".to_owned(), line.to_owned());
        let record = apply(
            &*store,
            Change::register(None, new, &act(1)).expect("a good device"),
        )
        .await;
        if disabled {
            apply(
                &*store,
                Change::transition(&record, Action::Disable, &act(2)).expect("legal"),
            )
            .await;
        }
    }
    let attribute = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
    let all = Query::default();
    for (query, expected) in [
        (
            Query {
                state: Some(DeviceState::Disabled),
                ..all.clone()
            },
            &["a-2", "b-1"][..],
        ),
        (
            Query {
                state: Some(DeviceState::Pending),
                ..all.clone()
            },
            &[],
        ),
        (
            Query {
                device_type: Some("pump".to_owned()),
                ..all.clone()
            },
            &["a-1", "a-2"],
        ),
        (
            Query {
                device_type: Some("pum".to_owned()),
                ..all.clone()
            },
            &[],
        ),
        (
            Query {
                attribute: attribute("line", "2"),
                ..all.clone()
            },
            &["a", "a-2", "b-1"],
        ),
        (
            Query {
                attribute: attribute("name", "\"Pump\" 'x' – %_\\"),
                ..all.clone()
            },
            &["A-3", "a", "a-1", "a-2", "b-1"],
        ),
        (
            Query {
                attribute: attribute("line", "3"),
                ..all.clone()
            },
            &[],
        ),
        (
            Query {
                attribute: attribute("no'such", "2"),
                ..all.clone()
            },
            &[],
        ),
        (
            Query {
                id_prefix: Some("a".to_owned()),
                ..all.clone()
            },
            &["a", "a-1", "a-2"],
        ),
        (
            Query {
                id_prefix: Some("a-".to_owned()),
                ..all.clone()
            },
            &["a-1", "a-2"],
        ),
        (
            Query {
                id_prefix: Some("%".to_owned()),
                ..all.clone()
            },
            &[],
        ),
        (
            Query {
                id_prefix: Some(String::new()),
                limit: 2,
                ..all.clone()
            },
            &["A-3", "a"],
        ),
        (
            Query {
                state: Some(DeviceState::Disabled),
                device_type: Some("valve".to_owned()),
                attribute: attribute("line", "2"),
                id_prefix: Some("b".to_owned()),
                ..all.clone()
            },
            &["b-1"],
        ),
    ] {
        if let Some(page) = features::find(fixture, &*store, &query).await {
            assert_eq!(ids(&page.items), expected, "{query:?}");
        }
    }
}

/// Pages of any size give the same listing, and the last one says so.
pub async fn pages_list_everything_once(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let expected: Vec<_> = (0..10).map(|number| format!("d{number}")).collect();
    for text in &expected {
        register(&*store, text).await;
    }
    for limit in [0, 1, 3, 5, 10, 11] {
        let pages = pages(&*store, limit).await;
        assert!(
            pages
                .iter()
                .all(|page| (1..=limit.max(1)).contains(&page.len())),
            "{limit}: {pages:?}"
        );
        assert_eq!(pages.concat(), expected, "{limit}");
    }
}

/// Whatever comes and goes between two pages, what was there all along is listed exactly once.
pub async fn pages_hold_under_writes(fixture: &dyn StoreFixture) {
    let (reader, writer) = (fixture.open().await, fixture.open().await);
    for number in 0..20 {
        register(&*writer, &format!("stays-{number:02}")).await;
        register(&*writer, &format!("leaves-{number:02}")).await;
    }
    let mut listed = Vec::new();
    let mut after: Option<Cursor<DeviceId>> = None;
    for round in 0.. {
        assert!(round < ENDLESS, "the listing has no end");
        let page = reader
            .find(&Query {
                after,
                limit: 3,
                ..Query::default()
            })
            .await
            .expect("readable devices");
        listed.extend(
            page.items
                .into_iter()
                .map(|record| record.device.id.to_string()),
        );
        after = page
            .next
            .map(|cursor| cursor.to_string().parse().expect("its own text"));
        if after.is_none() {
            break;
        }
        let leaves = load(&*writer, &format!("leaves-{:02}", round % 20)).await;
        if let Ok(delete) = Change::delete(&leaves, &act(9)) {
            apply(&*writer, delete).await;
        }
        for text in [
            format!("a-{round}"),
            format!("m-{round}"),
            format!("z-{round}"),
        ] {
            if round < 20 {
                register(&*writer, &text).await;
            }
        }
    }
    let once: BTreeSet<_> = listed.iter().collect();
    assert_eq!(once.len(), listed.len(), "nothing is listed twice");
    let stays: Vec<_> = listed
        .iter()
        .filter(|text| text.starts_with("stays"))
        .cloned()
        .collect();
    let expected: Vec<_> = (0..20).map(|number| format!("stays-{number:02}")).collect();
    assert_eq!(stays, expected);
}

async fn pages(store: &dyn DeviceStore, limit: usize) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        assert!(pages.len() < ENDLESS, "the listing has no end");
        let page = store
            .find(&Query {
                after,
                limit,
                ..Query::default()
            })
            .await
            .expect("readable devices");
        pages.push(ids(&page.items).into_iter().map(str::to_owned).collect());
        after = page.next;
        if after.is_none() {
            return pages;
        }
    }
}

fn ids(records: &[DeviceRecord]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record.device.id.as_str())
        .collect()
}
