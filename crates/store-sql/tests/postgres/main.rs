//! The database of a registry: made, found, refused, gone and back.

#![expect(
    clippy::unwrap_used,
    reason = "a test, though much of it stands outside of test functions"
)]

mod login;
mod outages;
mod refused;

use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::UnixMs;
use leafgate_registry::{
    Change, CommitError, DeviceStore, DocumentKind, DocumentName, DocumentWrite, EventKind, Query,
    StoreError,
};
use leafgate_store_sql::{PostgresOptions, PostgresStore};
use leafgate_testkit::postgres::{PostgresDatabase, PostgresServer};
use leafgate_testkit::store_conformance::records::{act, load, register, within};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

/// Long enough for the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(url: String) -> PostgresOptions {
    PostgresOptions {
        url,
        password_file: None,
        ca_file: None,
    }
}

/// A registry with one device, closed again.
async fn with_device() -> PostgresDatabase<'static> {
    let database = PostgresServer::shared().create_database();
    register(&open(&database).await, "0001").await;
    database
}

async fn open(database: &PostgresDatabase<'_>) -> PostgresStore {
    let opened = PostgresStore::open(&options(database.url())).await;
    opened.expect("a registry")
}

async fn open_read_only(database: &PostgresDatabase<'_>) -> PostgresStore {
    let opened = PostgresStore::open_read_only(&options(database.url())).await;
    opened.expect("a registry")
}

#[tokio::test]
async fn a_registry_keeps_what_it_has_and_its_epoch() {
    let database = with_device().await;
    let position = open(&database).await.position().await.unwrap();
    let again = open(&database).await;
    assert_eq!(again.position().await.unwrap(), position);
    assert_eq!(load(&again, "0001").await.device.version, 1);
}

#[tokio::test]
async fn those_who_create_it_at_once_share_one_registry() {
    let database = PostgresServer::shared().create_database();
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let options = options(database.url());
        opening.spawn(async move { PostgresStore::open(&options).await });
    }
    let mut epochs = Vec::new();
    for store in opening.join_all().await {
        epochs.push(store.unwrap().position().await.unwrap().epoch);
    }
    assert!(
        epochs.windows(2).all(|pair| pair[0] == pair[1]),
        "{epochs:?}"
    );
}

#[tokio::test]
async fn a_reader_creates_and_migrates_nothing() {
    let database = PostgresServer::shared().create_database();
    let opened = PostgresStore::open_read_only(&options(database.url())).await;
    let error = opened.err().unwrap();
    assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("lacks step 1 (registry) of the schema"),
        "{error}"
    );
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(database.sql(tables), "0");
}

#[tokio::test]
async fn a_reader_needs_no_more_than_the_right_to_read() {
    let database = with_device().await;
    database.sql(
        "CREATE ROLE reader LOGIN PASSWORD 'reader'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    );
    let reader = options(database.url_with("reader:reader"));
    let reader = PostgresStore::open_read_only(&reader).await.unwrap();
    let record = load(&reader, "0001").await;
    let refused = reader
        .commit(&[Change::delete(&record, &act(5)).unwrap()])
        .await
        .unwrap_err();
    assert!(
        matches!(refused, CommitError::Store(StoreError::Unsupported { .. })),
        "{refused:?}"
    );
    assert!(
        refused.to_string().ends_with("was opened for reading only"),
        "{refused}"
    );

    let writer = open(&database).await;
    register(&writer, "0002").await;
    within(PATIENCE, "wake", reader.wake()).await;
    assert_eq!(load(&reader, "0002").await, load(&writer, "0002").await);

    // Without the right to create anything either, a registry that is there can be written.
    database.sql(
        "CREATE ROLE writer LOGIN PASSWORD 'writer'; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO writer",
    );
    let writer = options(database.url_with("writer:writer"));
    register(&PostgresStore::open(&writer).await.unwrap(), "0003").await;
    drop(reader);
    database.sql("DROP OWNED BY reader, writer; DROP ROLE reader, writer");
}

#[tokio::test]
async fn a_spoiled_row_is_named() {
    let database = with_device().await;
    let store = open(&database).await;
    database.sql("UPDATE devices SET state = 'Active'; UPDATE events SET detail = '{'");
    let device = store.find(&Query::default()).await.unwrap_err();
    let event = store.events_after(0, 1).await.unwrap_err();
    for (error, expected) in [
        (
            device,
            r#"state of "0001" in devices: "Active" is not a device state"#,
        ),
        (event, "detail of 1 in events: EOF"),
    ] {
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_document_that_is_being_renewed_is_not_forgotten() {
    let database = with_device().await;
    let store = open(&database).await;
    let name = DocumentName::parse("token-1").unwrap();
    let new = DocumentWrite::new(
        DocumentKind::EnrolmentToken,
        name.clone(),
        json!({}),
        Some(UnixMs::new(100)),
    );
    let note = Change::note(EventKind::from("noted"), json!({}), &act(1)).with_document(new);
    store.commit(&[note]).await.unwrap();

    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    let renew = "BEGIN; UPDATE documents SET expires_at_ms = 900, version = 2";
    sqlx::raw_sql(renew).execute(&mut other).await.unwrap();
    let now = UnixMs::new(500);
    let forgetting = store.forget_expired(now, 10);
    assert_eq!(
        within(PATIENCE, "it doesn't wait", forgetting)
            .await
            .unwrap(),
        0
    );
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(store.forget_expired(now, 10).await.unwrap(), 0);
    let kept = store.document(DocumentKind::EnrolmentToken, &name).await;
    assert_eq!(kept.unwrap().unwrap().version, 2);
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_written() {
    let database = with_device().await;
    let store = Arc::new(open(&database).await);
    let change = Change::delete(&load(&*store, "0001").await, &act(5)).unwrap();
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    let hold = sqlx::raw_sql("BEGIN; SELECT 1 FROM feed_head FOR UPDATE");
    hold.execute(&mut other).await.unwrap();
    let commit = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(&[change]).await })
    };
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database()";
    while database.sql(waits) != "1" {
        tokio::task::yield_now().await;
    }
    commit.abort();
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let written = async {
        while store.position().await.unwrap().seq < 2 {
            store.wake().await;
        }
    };
    within(PATIENCE, "the commit is written", written).await;
}
