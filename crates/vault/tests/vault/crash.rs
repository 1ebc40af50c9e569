//! A writer dies, at any request: what it was about is wholly there or not at all, for readers before anybody has tidied
//! up after it, and to the last document once another writer has.

mod picture;

use std::collections::BTreeMap;
use std::time::Duration;

use leafgate_registry::{
    Change, DeviceStore, DocumentKind, DocumentName, DocumentWrite, EventKind, RevocationReason,
    verify_chain,
};
use leafgate_runtime::VaultConfig;
use leafgate_testkit::store_conformance::records::{
    act, all_events, apply, certificate_id, fingerprint, load, new_certificate, new_device,
    number_crl, register, register_with_certificate,
};
use leafgate_vault::{Vault, VaultStore};
use serde_json::{Value, json};

use self::picture::{Picture, dump};
use crate::proxy::{Deal, Proxy};
use crate::support::Scratch;

/// A write of every kind, in one commit.
async fn changes(store: &dyn DeviceStore) -> Vec<Change> {
    let old = load(store, "old").await;
    let revoke = Change::revoke(&old, RevocationReason::KeyCompromise, &act(10)).unwrap();
    let new = Change::register(None, new_device("new"), &act(11)).unwrap();
    let record = new.device_after().unwrap();
    let prepare = Change::prepare_certificate(record, new_certificate(certificate_id(2)), &act(12));
    let prepare = prepare.unwrap();
    let record = prepare.device_after().unwrap();
    let issue = Change::record_issued(record, &certificate_id(2), fingerprint(2), &act(13));
    let service = new_certificate(certificate_id(3));
    let service = Change::prepare_service_certificate("leaf-1", service, &act(14)).unwrap();
    let token = store
        .document(DocumentKind::EnrolmentToken, &name("token"))
        .await;
    let spend = token.unwrap().unwrap().replaced(json!({"left": 0}), None);
    let request = DocumentWrite::new(
        DocumentKind::Request,
        name("r"),
        json!(1.0),
        Some(at(9_000)),
    );
    let note = Change::note(EventKind::RequestsRefused, json!({"count": 1e2}), &act(15));
    vec![
        revoke,
        new.with_document(spend),
        prepare,
        issue.unwrap(),
        service,
        number_crl(None, 1),
        note.with_document(request),
    ]
}

/// What [`changes`] change.
async fn prepare(scratch: &Scratch) {
    let store = scratch.store().await;
    register_with_certificate(&store, "old", certificate_id(1)).await;
    scratch
        .patch("devices/old", json!({ "owner": "somebody" }))
        .await;
    let token = DocumentWrite::new(
        DocumentKind::EnrolmentToken,
        name("token"),
        json!({"left": 1}),
        None,
    );
    let note = Change::note(EventKind::EnrolmentTokenCreated, json!({}), &act(4));
    store.commit(&[note.with_document(token)]).await.unwrap();
    scratch.settled().await;
}

/// Large devices, so that the commit is in parts.
fn large() -> Vec<Change> {
    let register = |number| {
        let mut new = new_device(&format!("large-{number}"));
        let attributes = (0..60).map(|n| (format!("long-{n}"), "x".repeat(256)));
        new.attributes.extend(attributes);
        Change::register(None, new, &act(10)).unwrap()
    };
    (0..8).map(register).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_whole_whatever_request_was_the_last() {
    crash_at_every_step(Commit::OfEveryKind).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_in_parts_is_whole_whatever_request_was_the_last() {
    crash_at_every_step(Commit::InParts).await;
}

/// With each request of a commit as the first that doesn't get to Vault any more.
async fn crash_at_every_step(commit: Commit) {
    let reference = Reference::of(commit).await;
    let mut committed_from = None;
    for step in 1.. {
        let scratch = Scratch::new().await;
        prepare(&scratch).await;
        if let Crashed::Never = crash(&scratch, &reference, step).await {
            let from = committed_from.unwrap();
            assert!(from > 1 && from < step - 1, "{from} of {step}");
            return;
        }
        let committed = reference.check(&scratch, step).await;
        match committed_from {
            None if committed => committed_from = Some(step),
            None => {}
            Some(from) => assert!(committed, "step {step} after {from}"),
        }
    }
}

/// A writer that was asleep carries out what others have carried out and changed since: nothing happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_writer_does_no_harm() {
    let scratch = Scratch::new().await;
    let proxy = Proxy::start(&scratch.address).await;
    let vault = scratch.vault_at(&proxy.address, &scratch.token).await;
    let slow = VaultStore::open(&vault, &scratch.config()).await.unwrap();
    let mut committed = false;
    proxy.deal(
        move |request| match (committed, request.writes_the_head()) {
            (false, true) => {
                committed = true;
                Deal::Pass
            }
            (true, _) => Deal::Hold,
            _ => Deal::Pass,
        },
    );
    let slow = tokio::spawn(async move {
        let record = register(&slow, "0001").await;
        (slow, record)
    });
    proxy.dealt().await;

    let store = scratch.store().await;
    let record = load(&store, "0001").await;
    let revoked = apply(
        &store,
        Change::revoke(&record, RevocationReason::KeyCompromise, &act(5)).unwrap(),
    )
    .await;
    scratch.settled().await;
    let before = dump(&scratch).await;
    proxy.release();
    proxy.pass();
    let (slow, registered) = slow.await.unwrap();
    assert_eq!(registered, record);
    assert_eq!(load(&slow, "0001").await, revoked);
    assert_eq!(dump(&scratch).await, before);
}

/// The answer to a commit is lost, and meanwhile somebody else has committed: it is known all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_looked_up() {
    for others in [0, 1, 2] {
        let scratch = Scratch::new().await;
        let other = scratch.store().await;
        let proxy = Proxy::start(&scratch.address).await;
        let vault = scratch.vault_at(&proxy.address, &scratch.token).await;
        let store = VaultStore::open(&vault, &scratch.config()).await.unwrap();
        let mut lost = false;
        proxy.deal(move |request| {
            if request.writes_the_head() && !lost {
                lost = true;
                Deal::PassAndFail
            } else {
                Deal::Pass
            }
        });
        let writing = tokio::spawn(async move { register(&store, "mine").await });
        proxy.dealt().await;
        for number in 0..others {
            register(&other, &format!("other-{number}")).await;
        }
        proxy.release();
        let record = writing.await.unwrap();
        assert_eq!(load(&other, "mine").await, record);
        let events = all_events(&other).await;
        assert_eq!(events.len(), 1 + others);
        assert!(verify_chain(&events).is_ok());
    }
}

#[derive(Clone, Copy)]
enum Commit {
    OfEveryKind,
    InParts,
}

impl Commit {
    async fn changes(self, store: &dyn DeviceStore) -> Vec<Change> {
        match self {
            Self::OfEveryKind => changes(store).await,
            Self::InParts => large(),
        }
    }
}

enum Crashed {
    There,
    /// The commit was done and tidied up before.
    Never,
}

/// Commits through a proxy, and dies before the given request after the changes were built.
async fn crash(scratch: &Scratch, reference: &Reference, step: usize) -> Crashed {
    let commit = reference.commit;
    let proxy = Proxy::start(&scratch.address).await;
    let environment = crate::support::environment(&proxy.address, &scratch.token);
    let config = scratch.config();
    let (armed, arm) = tokio::sync::oneshot::channel();
    let (go, start) = tokio::sync::oneshot::channel();
    // The process: everything that it would still do ends with its runtime.
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let writing = process.spawn(async move {
        let vault = Vault::connect(&VaultConfig::default(), &environment)
            .await
            .unwrap();
        let store = VaultStore::open(&vault, &config).await.unwrap();
        let changes = commit.changes(&store).await;
        armed.send(()).unwrap();
        start.await.unwrap();
        store.commit(&changes).await.unwrap();
        // Whoever looks at the head finds nothing left to do.
        std::future::pending::<()>().await;
    });
    arm.await.unwrap();
    let mut left = step;
    proxy.deal(move |_| {
        left = left.saturating_sub(1);
        match left {
            0 => Deal::Swallow,
            _ => Deal::Pass,
        }
    });
    go.send(()).unwrap();
    let crashed = tokio::select! {
        () = proxy.dealt() => Crashed::There,
        () = done(scratch, reference.after.events.len()) => Crashed::Never,
    };
    writing.abort();
    process.shutdown_background();
    crashed
}

/// Waits until a commit is done and nothing is left of it to be done. Once it is, a moment passes in which one more
/// request would come, were there one.
async fn done(scratch: &Scratch, events: usize) {
    let store = scratch.reader().await;
    while store.position().await.unwrap().seq < events as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scratch.settled().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// What a registry is before and after a commit that nothing disturbs.
struct Reference {
    commit: Commit,
    before: Picture,
    after: Picture,
    /// Every document, once one more device was registered after the commit, and without the commit.
    with: BTreeMap<String, Value>,
    without: BTreeMap<String, Value>,
}

impl Reference {
    async fn of(commit: Commit) -> Self {
        let (with, without) = (Scratch::new().await, Scratch::new().await);
        prepare(&with).await;
        prepare(&without).await;
        let store = with.store().await;
        let before = Picture::of(&store).await;
        let changes = commit.changes(&store).await;
        store.commit(&changes).await.unwrap();
        let after = Picture::of(&store).await;
        register(&store, "last").await;
        register(&without.store().await, "last").await;
        with.settled().await;
        without.settled().await;
        Self {
            commit,
            before,
            after,
            with: dump(&with).await,
            without: dump(&without).await,
        }
    }

    /// That a registry is as before or after the commit, and which.
    async fn check(&self, scratch: &Scratch, step: usize) -> bool {
        let found = Picture::of(&scratch.reader().await).await;
        let committed = found == self.after;
        if !committed {
            assert_eq!(found, self.before, "step {step}");
        }
        let store = scratch.store().await;
        assert_eq!(Picture::of(&store).await, found, "step {step}");
        register(&store, "last").await;
        scratch.settled().await;
        // Parts that nobody will ever name are swept at the next start.
        scratch.store().await;
        let expected = if committed { &self.with } else { &self.without };
        let found = dump(scratch).await;
        let paths = |documents: &BTreeMap<String, Value>| -> Vec<String> {
            documents.keys().cloned().collect()
        };
        assert_eq!(paths(&found), paths(expected), "step {step}");
        for (path, document) in &found {
            assert_eq!(document, &expected[path], "step {step}: {path}");
        }
        committed
    }
}

fn name(text: &str) -> DocumentName {
    DocumentName::parse(text).unwrap()
}

fn at(ms: i64) -> leafgate_identity::UnixMs {
    leafgate_identity::UnixMs::new(ms)
}
