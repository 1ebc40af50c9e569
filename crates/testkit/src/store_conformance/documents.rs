//! Documents: versions, pages, and their place in a commit.

use leafgate_identity::UnixMs;
use leafgate_registry::{
    Action, Change, CommitError, Cursor, DeviceStore, Document, DocumentKind, DocumentName,
    DocumentWrite, EventKind,
};
use serde_json::{Value, json};

use super::StoreFixture;
use super::records::{act, all_events, id, load, new_device, register};

fn name(text: &str) -> DocumentName {
    DocumentName::parse(text).expect("a document name")
}

fn new(kind: DocumentKind, text: &str, body: Value) -> DocumentWrite {
    DocumentWrite::new(kind, name(text), body, None)
}

fn note(write: DocumentWrite) -> Change {
    Change::note(EventKind::ApiKeyCreated, json!({}), &act(1)).with_document(write)
}

async fn read(store: &dyn DeviceStore, kind: DocumentKind, text: &str) -> Option<Document> {
    let document = store.document(kind, &name(text)).await;
    document.expect("readable documents")
}

/// Kind, name, version, end and content come back; another kind of the same name is another document.
pub async fn a_document_is_read_as_it_was_written(fixture: &dyn StoreFixture) {
    let (writer, reader) = (fixture.open().await, fixture.open().await);
    let body = json!({"text": "\"x\" %_\\ –", "list": [1, null, {"a": true}]});
    let ends = Some(UnixMs::new(9_000));
    let write = DocumentWrite::new(DocumentKind::ApiKey, name("a.b:c-d_e"), body.clone(), ends);
    writer
        .commit(&[note(write.clone())])
        .await
        .expect("a free name");
    let found = read(&*reader, DocumentKind::ApiKey, "a.b:c-d_e").await;
    assert_eq!(found.as_ref(), Some(&write.document));
    assert_eq!(
        read(&*reader, DocumentKind::Issuer, "a.b:c-d_e").await,
        None
    );
    assert_eq!(
        read(&*reader, DocumentKind::ApiKey, "a.b:c-d_E").await,
        None
    );

    let next = found.expect("a document").replaced(json!("short"), None);
    writer
        .commit(&[note(next.clone())])
        .await
        .expect("the version that is there");
    let found = read(&*reader, DocumentKind::ApiKey, "a.b:c-d_e").await;
    assert_eq!(found.as_ref(), Some(&next.document));
    assert_eq!(next.document.version, 2);
}

/// Of two writers of one new name, the second is refused.
pub async fn a_name_is_given_once(fixture: &dyn StoreFixture) {
    let (one, other) = (fixture.open().await, fixture.open().await);
    let write = |body| note(new(DocumentKind::Request, "r", body));
    let (first, second) = (
        one.commit(&[write(json!(1))]).await,
        other.commit(&[write(json!(2))]).await,
    );
    first.expect("a free name");
    assert!(
        matches!(second, Err(CommitError::Conflict { .. })),
        "{second:?}"
    );
    let kept = read(&*other, DocumentKind::Request, "r").await;
    assert_eq!(kept.expect("the first").body, json!(1));
}

/// Neither the document, nor its event, nor the device change beside it.
pub async fn a_stale_document_is_refused_with_all_that_comes_with_it(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let token = new(DocumentKind::EnrolmentToken, "t", json!({"left": 1}));
    store
        .commit(&[note(token.clone())])
        .await
        .expect("a free name");
    let spend = |document: &Document| document.replaced(json!({"left": 0}), None);
    let enrol = |text: &str| {
        Change::register(None, new_device(text), &act(2))
            .expect("a good device")
            .with_document(spend(&token.document))
    };
    store.commit(&[enrol("0001")]).await.expect("one use");
    let position = store.position().await.expect("a position");
    let refused = store.commit(&[enrol("0002")]).await;
    assert!(
        matches!(refused, Err(CommitError::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(store.position().await.expect("a position"), position);
    assert_eq!(store.load(&id("0002")).await.expect("an answer"), None);
}

/// A conflict of the device leaves the document as it was; without one both are written, with one event.
pub async fn a_document_goes_with_its_change_or_not_at_all(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let record = register(&*store, "0001").await;
    let act = act(2);
    let change = |action| {
        Change::transition(&record, action, &act)
            .expect("legal")
            .with_document(new(DocumentKind::Request, action.as_str(), json!({})))
    };
    let (disable, quarantine) = (change(Action::Disable), change(Action::Quarantine));
    store.commit(&[disable]).await.expect("the version fits");
    store
        .commit(&[quarantine])
        .await
        .expect_err("the version is gone");
    let kept = read(&*store, DocumentKind::Request, "disable").await;
    assert!(kept.is_some());
    assert_eq!(
        read(&*store, DocumentKind::Request, "quarantine").await,
        None
    );
    assert_eq!(load(&*store, "0001").await.device.version, 2);
    assert_eq!(all_events(&*store).await.len(), 2);
}

/// Every document of one kind once, in the order of names.
pub async fn documents_come_in_pages_by_kind(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let names = ["b", "a:2", "Z", "a", "c", "a-1", "0"];
    let changes: Vec<_> = names
        .iter()
        .map(|name| note(new(DocumentKind::ApiKey, name, json!(name))))
        .chain([note(new(DocumentKind::Issuer, "other", json!({})))])
        .collect();
    store.commit(&changes).await.expect("free names");
    let (mut found, mut after): (Vec<String>, Option<Cursor<DocumentName>>) = (Vec::new(), None);
    loop {
        let page = store
            .documents(DocumentKind::ApiKey, after.as_ref(), 2)
            .await
            .expect("readable documents");
        assert!(page.items.len() <= 2);
        found.extend(page.items.iter().map(|document| document.name.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["0", "Z", "a", "a-1", "a:2", "b", "c"]);
}

/// What has no end stays, and what ends later too.
pub async fn only_what_expired_is_forgotten(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    for (text, ends) in [
        ("early", Some(1_000)),
        ("due", Some(2_000)),
        ("late", Some(2_001)),
        ("never", None),
    ] {
        let ends = ends.map(UnixMs::new);
        let write = DocumentWrite::new(DocumentKind::Request, name(text), json!({}), ends);
        store.commit(&[note(write)]).await.expect("a free name");
    }
    let forget = async |limit| store.forget_expired(UnixMs::new(2_000), limit).await;
    assert_eq!(forget(1).await.expect("a count"), 1);
    assert_eq!(forget(10).await.expect("a count"), 1);
    assert_eq!(forget(10).await.expect("a count"), 0);
    let left = store
        .documents(DocumentKind::Request, None, 10)
        .await
        .expect("readable documents");
    let left: Vec<_> = left.items.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(left, ["late", "never"]);
    assert_eq!(all_events(&*store).await.len(), 4);
}
