//! Listings of the largest fleet that is supported.

use leafgate_registry::{
    Action, CertificateQuery, CertificateStatusKind, Change, DeviceState, DeviceStore, Query,
};
use leafgate_testkit::store_conformance::records::{
    act, certificate_id, fingerprint, load, new_certificate, new_device,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::Scratch;

const SEEDED: usize = 8_000;
const REGISTERED: u32 = 2_000;
const PAGE: usize = 500;

/// 10,000 devices, most of which a script registered, and some leafgate, each on one page, in order; so with those
/// of a prefix, those in a state, and certificates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_is_listed_in_pages() {
    let scratch = Scratch::new().await;
    let mut tasks = JoinSet::new();
    for task in 0..16 {
        let (admin, mount) = (scratch.admin.clone(), scratch.mount.clone());
        tasks.spawn(async move {
            for number in (task..SEEDED).step_by(16) {
                let path = format!("devices/seeded-{number:05}");
                let status = if number % 10 == 0 {
                    "disabled"
                } else {
                    "active"
                };
                let seed = json!({
                    "registered_at": "2026-03-01T12:00:00Z",
                    "status": status,
                    "device_type": "iot-sensor",
                });
                admin.kv_put(&mount, &path, seed).await;
            }
        });
    }
    tasks.join_all().await;
    let store = scratch.store().await;
    for start in (0..REGISTERED).step_by(200) {
        let changes: Vec<_> = (start..start + 200).flat_map(registration).collect();
        store.commit(&changes).await.unwrap();
    }
    let gone = load(&store, "made-00000").await;
    store
        .commit(&[Change::delete(&gone, &act(9)).unwrap()])
        .await
        .unwrap();

    let made: Vec<_> = (1..REGISTERED).map(made_id).collect();
    let seeded: Vec<_> = (0..SEEDED)
        .map(|number| format!("seeded-{number:05}"))
        .collect();
    let all = [made.clone(), seeded].concat();
    let query = Query {
        limit: PAGE,
        ..Query::default()
    };
    assert_eq!(listed(&store, &query, 20).await, all);
    let prefix = Query {
        id_prefix: Some("made-".to_owned()),
        ..query.clone()
    };
    assert_eq!(listed(&store, &prefix, 4).await, made);
    let disabled = Query {
        state: Some(DeviceState::Disabled),
        id_prefix: Some("seeded-00".to_owned()),
        ..query.clone()
    };
    assert_eq!(listed(&store, &disabled, 1).await.len(), 100);
    let deleted = Query {
        state: Some(DeviceState::Deleted),
        id_prefix: Some("made-".to_owned()),
        ..query
    };
    assert_eq!(listed(&store, &deleted, 1).await, ["made-00000"]);

    let certificates = CertificateQuery {
        limit: PAGE,
        ..CertificateQuery::default()
    };
    assert_eq!(count(&store, &certificates).await, 2_000);
    let of_prefix = CertificateQuery {
        device_prefix: Some("made-0000".to_owned()),
        limit: 3,
        ..CertificateQuery::default()
    };
    assert_eq!(count(&store, &of_prefix).await, 10);
    let revoked = CertificateQuery {
        status: Some(CertificateStatusKind::Revoked),
        ..certificates
    };
    assert_eq!(count(&store, &revoked).await, 1);
    let record = load(&store, "seeded-00001").await;
    let disable = Change::transition(&record, Action::Disable, &act(10)).unwrap();
    store.commit(&[disable]).await.unwrap();
}

fn made_id(number: u32) -> String {
    format!("made-{number:05}")
}

fn registration(number: u32) -> Vec<Change> {
    let register = Change::register(None, new_device(&made_id(number)), &act(1)).unwrap();
    let id = certificate_id(number);
    let record = register.device_after().unwrap();
    let prepare = Change::prepare_certificate(record, new_certificate(id), &act(2)).unwrap();
    let record = prepare.device_after().unwrap();
    let issue = Change::record_issued(record, &id, fingerprint(1), &act(3)).unwrap();
    vec![register, prepare, issue]
}

/// The ids of all pages, which must be so many.
async fn listed(store: &dyn DeviceStore, query: &Query, pages: usize) -> Vec<String> {
    let mut query = query.clone();
    let mut ids = Vec::new();
    for _ in 0..pages {
        let page = store.find(&query).await.unwrap();
        ids.extend(page.items.iter().map(|record| record.device.id.to_string()));
        query.after = page.next;
    }
    assert_eq!(query.after, None, "{} were listed", ids.len());
    ids
}

async fn count(store: &dyn DeviceStore, query: &CertificateQuery) -> usize {
    let mut query = query.clone();
    let mut ids = std::collections::BTreeSet::new();
    loop {
        let page = store.find_certificates(&query).await.unwrap();
        for certificate in &page.items {
            assert!(ids.insert(certificate.id()), "it is listed twice");
        }
        query.after = page.next;
        if query.after.is_none() {
            return ids.len();
        }
    }
}
