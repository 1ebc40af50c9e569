//! A follower on a store in memory, with faults put between the two.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use leafgate_feed::{FeedSink, follow};
use leafgate_identity::{DeviceId, SpkiHash, TrustDomainName, UnixMs};
use leafgate_registry::{
    Act, Actor, Certificate, CertificateId, CertificateQuery, Change, CommitError, Crl, Cursor,
    DeviceRecord, DeviceStore, Document, DocumentKind, DocumentName, Epoch, Event, EventHash,
    FeedPosition, MemoryStore, NewDevice, Page, Query, StoreError,
};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Well above the time that the follower gives its store.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq)]
enum Told {
    Applied(u64),
    Reset(u64),
    Confirmed(u64),
    Failed,
}

struct Ear(UnboundedSender<Told>);

impl Ear {
    fn hear(&self, told: Told) {
        self.0.send(told).unwrap();
    }
}

impl FeedSink for Ear {
    fn apply(&self, event: &Event) {
        self.hear(Told::Applied(event.seq));
    }
    fn reset(&self, position: &FeedPosition) {
        self.hear(Told::Reset(position.seq));
    }
    fn confirm(&self, position: &FeedPosition) {
        self.hear(Told::Confirmed(position.seq));
    }
    fn fail(&self, _error: &StoreError) {
        self.hear(Told::Failed);
    }
}

/// A store that can be made unreachable or silent, or to tell other events once than it holds.
struct Faulty {
    store: MemoryStore,
    down: AtomicBool,
    silent: AtomicBool,
    asked_in_vain: Notify,
    falsify: Mutex<Option<Falsify>>,
}

type Falsify = fn(&mut Vec<Event>);

impl Faulty {
    async fn check(&self) -> Result<(), StoreError> {
        if self.silent.load(Ordering::SeqCst) {
            self.asked_in_vain.notify_one();
            std::future::pending::<()>().await;
        }
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable {
                what: "down for the test".to_owned(),
                source: None,
            });
        }
        Ok(())
    }
}

#[async_trait]
impl DeviceStore for Faulty {
    async fn load(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        self.store.load(id).await
    }
    async fn find(&self, query: &Query) -> Result<Page<DeviceRecord, DeviceId>, StoreError> {
        self.store.find(query).await
    }
    async fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, StoreError> {
        self.store.find_certificates(query).await
    }
    async fn crl(&self, issuer: &SpkiHash) -> Result<Option<Crl>, StoreError> {
        self.store.crl(issuer).await
    }
    async fn document(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, StoreError> {
        self.store.document(kind, name).await
    }
    async fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<Document, DocumentName>, StoreError> {
        self.store.documents(kind, after, limit).await
    }
    async fn forget_expired(&self, now: UnixMs, limit: usize) -> Result<usize, StoreError> {
        self.store.forget_expired(now, limit).await
    }
    async fn commit(&self, changes: &[Change]) -> Result<FeedPosition, CommitError> {
        self.store.commit(changes).await
    }
    async fn position(&self) -> Result<FeedPosition, StoreError> {
        self.check().await?;
        self.store.position().await
    }
    async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.check().await?;
        let mut events = self.store.events_after(seq, limit).await?;
        if let Some(falsify) = self.falsify.lock().unwrap().take() {
            falsify(&mut events);
        }
        Ok(events)
    }
    async fn wake(&self) {
        self.store.wake().await;
    }
}

struct Following {
    store: Arc<Faulty>,
    told: UnboundedReceiver<Told>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Following {
    fn start(store: MemoryStore) -> Self {
        let store = Arc::new(Faulty {
            store,
            down: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            asked_in_vain: Notify::new(),
            falsify: Mutex::new(None),
        });
        let (ear, told) = unbounded_channel();
        let cancel = CancellationToken::new();
        let task = tokio::spawn(follow(store.clone(), Arc::new(Ear(ear)), cancel.clone()));
        Self {
            store,
            told,
            cancel,
            task,
        }
    }

    /// The next thing told.
    async fn next(&mut self) -> Told {
        let told = tokio::time::timeout(LIMIT, self.told.recv());
        told.await.expect("the follower went silent").unwrap()
    }

    /// Everything told up to the confirmation of `seq`.
    async fn until_confirmed(&mut self, seq: u64) -> Vec<Told> {
        let mut heard = Vec::new();
        loop {
            match self.next().await {
                Told::Confirmed(confirmed) if confirmed == seq => return heard,
                Told::Confirmed(_) => {}
                told => heard.push(told),
            }
        }
    }

    async fn register(&self, id: &str) {
        register(&self.store.store, id).await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn act() -> Act {
    Act {
        actor: Actor::parse("test:feed").unwrap(),
        at: UnixMs::from_secs(1_795_226_584),
    }
}

async fn register(store: &MemoryStore, id: &str) {
    let new = NewDevice {
        id: DeviceId::parse(id).unwrap(),
        trust_domain: TrustDomainName::parse("default").unwrap(),
        pending: false,
        device_type: "pump".to_owned(),
        site: None,
        attributes: Default::default(),
    };
    let change = Change::register(None, new, &act()).unwrap();
    store.commit(&[change]).await.unwrap();
}

#[tokio::test]
async fn every_event_is_applied_once_and_in_order() {
    let store = MemoryStore::new();
    register(&store, "before").await;
    let mut following = Following::start(store);
    assert_eq!(following.until_confirmed(1).await, [Told::Reset(1)]);
    for number in 0..2_500 {
        following.register(&format!("d{number}")).await;
    }
    let heard = following.until_confirmed(2_501).await;
    let expected: Vec<Told> = (2..=2_501).map(Told::Applied).collect();
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn an_outage_delays_events_and_loses_none() {
    let mut following = Following::start(MemoryStore::new());
    assert_eq!(following.until_confirmed(0).await, [Told::Reset(0)]);
    following.store.down.store(true, Ordering::SeqCst);
    following.register("a").await;
    while following.next().await != Told::Failed {}
    following.register("b").await;
    following.store.down.store(false, Ordering::SeqCst);
    let mut heard = following.until_confirmed(2).await;
    heard.retain(|told| *told != Told::Failed);
    assert_eq!(heard, [Told::Applied(1), Told::Applied(2)]);
}

#[tokio::test]
async fn a_new_epoch_starts_over() {
    let mut following = Following::start(MemoryStore::new());
    following.register("a").await;
    following.until_confirmed(1).await;
    let restored = Change::start_epoch(Epoch::generate(), &act());
    following.store.commit(&[restored]).await.unwrap();
    assert_eq!(following.until_confirmed(2).await, [Told::Reset(2)]);
}

#[tokio::test]
async fn a_feed_that_does_not_continue_starts_over_and_applies_nothing_of_it() {
    let falsifications: [(&str, Falsify); 4] = [
        ("another history", |events| {
            events[0].previous_hash = EventHash::from([7; 32]);
        }),
        ("a gap", |events| {
            events[0].seq += 1;
        }),
        ("an event that was altered after it was written", |events| {
            events[0].device = Some(DeviceId::parse("another").unwrap());
        }),
        ("events cut off", Vec::clear),
    ];
    for (what, falsify) in falsifications {
        let mut following = Following::start(MemoryStore::new());
        following.until_confirmed(0).await;
        *following.store.falsify.lock().unwrap() = Some(falsify);
        following.register("a").await;
        let heard = following.until_confirmed(1).await;
        assert_eq!(heard, [Told::Reset(1)], "{what}");
        following.register("b").await;
        let heard = following.until_confirmed(2).await;
        assert_eq!(heard, [Told::Applied(2)], "{what}");
    }
}

#[tokio::test]
async fn a_store_that_goes_silent_counts_as_failing_until_it_answers() {
    let mut following = Following::start(MemoryStore::new());
    following.until_confirmed(0).await;
    following.store.silent.store(true, Ordering::SeqCst);
    following.register("a").await;
    while following.next().await != Told::Failed {}
    following.store.silent.store(false, Ordering::SeqCst);
    let mut heard = following.until_confirmed(1).await;
    heard.retain(|told| *told != Told::Failed);
    assert_eq!(heard, [Told::Applied(1)]);
}

#[tokio::test]
async fn following_ends_when_told_to_even_while_the_store_is_silent() {
    let mut following = Following::start(MemoryStore::new());
    following.until_confirmed(0).await;
    following.store.silent.store(true, Ordering::SeqCst);
    following.register("a").await;
    following.store.asked_in_vain.notified().await;
    following.cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(3), &mut following.task).await;
    ended.expect("it follows on").unwrap();
}
