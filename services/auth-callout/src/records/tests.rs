use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::{DeviceId, TrustDomainName, UnixMs};
use leafgate_registry::{
    Act, Action, Actor, Change, DeviceState, DeviceStore, MemoryStore, NewDevice,
};

use super::*;

const SERVE_STALE: Duration = Duration::from_secs(3600);

fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn id() -> DeviceId {
    DeviceId::parse("0001").unwrap()
}

fn act() -> Act {
    Act {
        actor: Actor::parse("test:records").unwrap(),
        at: UnixMs::from_secs(1_795_226_584),
    }
}

/// A store with one device, and records that have just been confirmed.
async fn one_device() -> (MemoryStore, Records) {
    let store = MemoryStore::new();
    let new = NewDevice {
        id: id(),
        trust_domain: TrustDomainName::parse("default").unwrap(),
        pending: false,
        device_type: "pump".to_owned(),
        site: None,
        attributes: Default::default(),
    };
    let change = Change::register(None, new, &act()).unwrap();
    store.commit(&[change]).await.unwrap();
    let records = Records::new(Arc::new(store.clone()), 100, SERVE_STALE);
    records.confirm(at(10));
    (store, records)
}

async fn disable(store: &MemoryStore) {
    let record = store.load(&id()).await.unwrap().unwrap();
    let change = Change::transition(&record, Action::Disable, &act()).unwrap();
    store.commit(&[change]).await.unwrap();
}

fn state(found: &Found) -> DeviceState {
    found.record.as_ref().unwrap().device.state
}

#[tokio::test]
async fn a_record_is_kept_until_it_is_evicted() {
    let (store, records) = one_device().await;
    assert!(records.cached(&id(), at(10)).is_none());
    assert_eq!(
        records.look_up(&id(), at(10)).await.unwrap().source,
        Source::Store
    );
    let found = records.cached(&id(), at(11)).unwrap();
    assert_eq!((found.source, found.good_for), (Source::Cache, None));
    disable(&store).await;
    records.evict(&id());
    assert!(records.cached(&id(), at(11)).is_none());
    assert!(!records.is_current(&id(), found.version));
    let found = records.look_up(&id(), at(11)).await.unwrap();
    assert_eq!(state(&found), DeviceState::Disabled);
}

#[tokio::test]
async fn what_an_eviction_overtook_is_not_kept() {
    let (_store, records) = one_device().await;
    let version = records.versions.of(&id());
    let read_before = records.store.load(&id()).await.unwrap();
    records.evict(&id());
    let found = records.keep(&id(), version, read_before);
    assert!(!records.is_current(&id(), found.version));
    assert!(records.cached(&id(), at(10)).is_none());
}

#[tokio::test]
async fn evicting_all_evicts_each() {
    let (_store, records) = one_device().await;
    let found = records.look_up(&id(), at(10)).await.unwrap();
    records.evict_all();
    assert!(records.cached(&id(), at(10)).is_none());
    assert!(!records.is_current(&id(), found.version));
}

#[tokio::test]
async fn without_confirmation_memory_serves_only_while_the_store_fails_and_for_a_limited_time() {
    let (_store, records) = one_device().await;
    records.look_up(&id(), at(10)).await.unwrap();
    // Not failing, only late: the store is asked.
    assert!(records.cached(&id(), at(14)).is_none());
    records.fail(&timed_out());
    let found = records.cached(&id(), at(14)).unwrap();
    assert_eq!(found.source, Source::Stale);
    assert_eq!(found.good_for, Some(SERVE_STALE - at(4)));
    assert!(records.cached(&id(), at(10 + 3_601)).is_none());
    records.confirm(at(4_000));
    assert_eq!(
        records.cached(&id(), at(4_000)).unwrap().source,
        Source::Cache
    );
}

#[tokio::test]
async fn nothing_is_served_stale_before_the_first_confirmation() {
    let (store, _) = one_device().await;
    let records = Records::new(Arc::new(store), 100, SERVE_STALE);
    records.look_up(&id(), at(1)).await.unwrap();
    assert!(records.cached(&id(), at(1)).is_none());
    assert!(!records.is_fresh(at(1)));
}

#[tokio::test]
async fn a_store_that_can_be_asked_is_asked_though_its_feed_can_not_be_read() {
    let (_store, records) = one_device().await;
    records.look_up(&id(), at(10)).await.unwrap();
    records.fail(&StoreError::Corrupt {
        what: "event 7".to_owned(),
    });
    assert!(records.cached(&id(), at(14)).is_none());
    let found = records.look_up(&id(), at(14)).await.unwrap();
    assert_eq!((found.source, found.good_for), (Source::Store, None));
    assert!(!records.is_fresh(at(14)));
}

#[tokio::test]
async fn a_replica_serves_between_confirmations_even_if_nothing_may_be_stale() {
    let (store, _) = one_device().await;
    let records = Records::new(Arc::new(store), 100, Duration::ZERO);
    assert!(!records.may_serve(at(1)));
    records.confirm(at(10));
    assert!(records.may_serve(at(10)) && records.may_serve(at(12)));
    assert!(!records.may_serve(at(13)));
}

#[tokio::test]
async fn a_replica_serves_until_the_stale_limit() {
    let (_store, records) = one_device().await;
    records.fail(&timed_out());
    assert!(records.may_serve(at(10) + SERVE_STALE - at(1)));
    assert!(!records.may_serve(at(10) + SERVE_STALE));
}
