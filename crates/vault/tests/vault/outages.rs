//! Vault goes, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leafgate_registry::{Change, CommitError, DeviceStore, Query, StoreError, verify_chain};
use leafgate_testkit::store_conformance::records::{
    act, all_events, id, load, new_device, register, within,
};
use leafgate_testkit::vault::{VaultServer, VaultSettings};
use leafgate_vault::VaultStore;
use tokio::task::JoinHandle;

use crate::proxy::{Deal, Proxy};
use crate::support::Scratch;

const PATIENCE: Duration = Duration::from_secs(60);

/// Registers devices until told to stop, and gives the ids of those that were acknowledged.
fn write(store: VaultStore, name: &'static str, stop: Arc<AtomicBool>) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Acquire) {
                break;
            }
            let text = format!("{name}-{number}");
            let change = Change::register(None, new_device(&text), &act(1)).unwrap();
            match store.commit(&[change]).await {
                Ok(_) => acknowledged.push(text),
                Err(CommitError::Store(StoreError::Unavailable { .. })) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(other) => panic!("{text}: {other:?}"),
            }
        }
        acknowledged
    })
}

/// Waits until a store answers.
async fn back(store: &VaultStore) {
    let answering = async {
        while store.position().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(PATIENCE, "Vault is back", answering).await;
}

async fn at_least(store: &VaultStore, events: u64) {
    let growing = async {
        while store.position().await.unwrap().seq < events {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(PATIENCE, "writers write", growing).await;
}

/// That what was acknowledged is there, once, and the chain holds.
async fn assert_whole(store: &VaultStore, acknowledged: &[String]) {
    let events = all_events(store).await;
    assert_eq!(
        verify_chain(&events),
        Ok(store.position().await.unwrap().head())
    );
    let told: Vec<_> = events
        .iter()
        .map(|event| event.device.as_ref().unwrap().to_string())
        .collect();
    for text in acknowledged {
        assert_eq!(
            told.iter().filter(|told| *told == text).count(),
            1,
            "{text}"
        );
    }
    let query = Query {
        limit: 100_000,
        ..Query::default()
    };
    let found = store.find(&query).await.unwrap();
    assert_eq!(found.items.len(), told.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_vault_is_told_and_an_unsealed_one_goes_on() {
    let server = VaultServer::start(&VaultSettings::default());
    let scratch = Scratch::on(&server).await;
    let store = scratch.store().await;
    let record = register(&store, "0001").await;
    scratch.admin.seal().await;
    let assert_sealed = |error: StoreError| {
        let StoreError::Unavailable { what, .. } = error else {
            panic!("{error:?}")
        };
        let expected = format!("Vault at {} is sealed; unseal it", scratch.address);
        assert_eq!(what, expected);
    };
    assert_sealed(store.load(&id("0001")).await.unwrap_err());
    assert_sealed(store.find(&Query::default()).await.unwrap_err());
    assert_sealed(store.events_after(0, 1).await.unwrap_err());
    within(PATIENCE, "wake", store.wake()).await;
    let change = Change::register(None, new_device("0002"), &act(1)).unwrap();
    match store.commit(std::slice::from_ref(&change)).await {
        Err(CommitError::Store(error)) => assert_sealed(error),
        other => panic!("{other:?}"),
    }
    scratch.admin.unseal().await;
    back(&store).await;
    assert_eq!(load(&store, "0001").await, record);
    store.commit(&[change]).await.unwrap();
}

/// Nobody waits for somebody to unseal it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_meets_a_seal_is_told_of_it() {
    let server = VaultServer::start(&VaultSettings::default());
    let scratch = Scratch::on(&server).await;
    let proxy = Proxy::start(&scratch.address).await;
    let vault = scratch.vault_at(&proxy.address, &scratch.token).await;
    let store = VaultStore::open(&vault, &scratch.config()).await.unwrap();
    proxy.deal(|request| match request.writes_the_head() {
        true => Deal::Hold,
        false => Deal::Pass,
    });
    let change = Change::register(None, new_device("0001"), &act(1)).unwrap();
    let writing = tokio::spawn({
        let (store, change) = (store.clone(), change.clone());
        async move { store.commit(&[change]).await }
    });
    proxy.dealt().await;
    scratch.admin.seal().await;
    proxy.release();
    match writing.await.unwrap() {
        Err(CommitError::Store(StoreError::Unavailable { what, .. })) => {
            assert!(what.ends_with("is sealed; unseal it"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    scratch.admin.unseal().await;
    back(&store).await;
    store.commit(&[change]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_vault_is_sealed_stopped_or_killed_under_load() {
    let server = VaultServer::start(&VaultSettings {
        durable: true,
        ..VaultSettings::default()
    });
    let scratch = Scratch::on(&server).await;
    let store = scratch.store().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = [
        (store.clone(), "one"),
        (store.clone(), "two"),
        (scratch.store().await, "three"),
    ]
    .into_iter()
    .map(|(store, name)| write(store, name, Arc::clone(&stop)))
    .collect();

    at_least(&store, 20).await;
    scratch.admin.seal().await;
    assert!(store.position().await.is_err());
    scratch.admin.unseal().await;
    back(&store).await;

    for end in [VaultServer::stop, VaultServer::kill9] {
        let seq = store.position().await.unwrap().seq;
        at_least(&store, seq + 20).await;
        end(&server);
        let gone = store.load(&id("0001")).await.unwrap_err();
        assert!(
            matches!(&gone, StoreError::Unavailable { what, source: Some(_) } if what.contains("does not answer")),
            "{gone:?}"
        );
        server.start_again();
        back(&store).await;
    }
    let seq = store.position().await.unwrap().seq;
    at_least(&store, seq + 20).await;
    stop.store(true, Ordering::Release);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() >= 60, "{}", acknowledged.len());
    assert_whole(&store, &acknowledged).await;
}
