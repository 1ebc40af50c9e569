//! The delaying store changes when a store answers, never what.

use std::sync::Arc;

use leafgate_identity::DeviceId;
use leafgate_registry::{DeviceStore, MemoryStore, StoreError};
use leafgate_testkit::delaying_store::{DelayControl, DelayingStore, Moment, Step};

fn store(control: &DelayControl) -> DelayingStore {
    DelayingStore::new(Arc::new(MemoryStore::new()), control.clone())
}

#[tokio::test]
async fn one_reader_is_held_where_it_was_asked_for() {
    let control = DelayControl::default();
    let store = Arc::new(store(&control));
    let mut hold = control.hold(Step::Load, Moment::After);
    let held = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.load(&DeviceId::parse("0001").unwrap()).await }
    });
    hold.reached().await;
    assert!(!held.is_finished());
    // Others pass, at other steps and at the same.
    store.position().await.unwrap();
    store.load(&DeviceId::parse("0002").unwrap()).await.unwrap();
    drop(hold);
    assert_eq!(held.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn an_unreachable_store_is_unavailable_until_it_is_back() {
    let control = DelayControl::default();
    let store = store(&control);
    control.set_reachable(false);
    let position = store.position().await;
    assert!(matches!(position, Err(StoreError::Unavailable { .. })));
    control.set_reachable(true);
    store.position().await.unwrap();
}
