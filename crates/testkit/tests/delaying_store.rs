//! The delaying store changes when a store answers, and whether, never what.

use std::sync::Arc;

use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{
    Act, Actor, Change, CommitError, DeviceStore, EventKind, MemoryStore, StoreError,
};
use leafgate_testkit::delaying_store::{DelayControl, DelayingStore, Moment, Step, StoreFault};
use serde_json::json;

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

#[tokio::test]
async fn a_faulty_store_fails_as_it_is_told_to() {
    let control = DelayControl::default();
    let store = store(&control);
    let id = DeviceId::parse("0001").unwrap();
    let commits = async |seq: u64| {
        let act = Act {
            actor: Actor::parse("test").unwrap(),
            at: UnixMs::new(0),
        };
        let outcome = store
            .commit(&[Change::note(EventKind::RequestsRefused, json!({}), &act)])
            .await;
        assert_eq!(store.position().await.unwrap().seq, seq);
        outcome
    };
    control.set_fault(Some(StoreFault::Conflicts));
    let refused = commits(0).await;
    assert!(matches!(refused, Err(CommitError::Conflict { .. })));
    control.set_fault(Some(StoreFault::AnswersLost));
    let lost = commits(1).await;
    assert!(matches!(
        lost,
        Err(CommitError::Store(StoreError::Unavailable { .. }))
    ));
    control.set_fault(Some(StoreFault::Corrupt));
    let unread = store.load(&id).await;
    assert!(matches!(unread, Err(StoreError::Corrupt { .. })));
    control.set_fault(None);
    commits(2).await.unwrap();
    assert_eq!(store.load(&id).await.unwrap(), None);
}
