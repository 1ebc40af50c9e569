//! The file of a registry: made, found, refused, gone.

mod refused;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leafgate_registry::{Change, CommitError, DeviceStore, Epoch, Query, StoreError};
use leafgate_store_sql::SqliteStore;
use leafgate_testkit::store_conformance::records::{act, knows, load, register, within};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinSet;

struct Scratch {
    _folder: TempDir,
    path: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        let folder = TempDir::new().expect("a scratch folder");
        let path = folder.path().join("registry.db");
        Self {
            _folder: folder,
            path,
        }
    }

    /// A registry with one device, closed again.
    async fn with_device() -> Self {
        let scratch = Self::new();
        register(
            &SqliteStore::open(&scratch.path).await.expect("a registry"),
            "0001",
        )
        .await;
        scratch
    }

    async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(true);
        options.connect().await.expect("the database")
    }

    async fn execute(&self, sql: &str) {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        statement
            .execute(&mut self.connect().await)
            .await
            .expect("a good statement");
    }
}

async fn open_error(path: &Path) -> StoreError {
    SqliteStore::open_read_only(path)
        .await
        .err()
        .expect("not to be opened")
}

#[tokio::test]
async fn a_registry_keeps_what_it_has_and_its_epoch() {
    let scratch = Scratch::with_device().await;
    let first = SqliteStore::open(&scratch.path).await.unwrap();
    let position = first.position().await.unwrap();
    drop(first);
    let second = SqliteStore::open(&scratch.path).await.unwrap();
    assert_eq!(second.position().await.unwrap(), position);
    assert_eq!(load(&second, "0001").await.device.version, 1);
}

#[tokio::test]
async fn those_who_create_it_at_once_share_one_registry() {
    let scratch = Scratch::new();
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let path = scratch.path.clone();
        opening.spawn(async move { SqliteStore::open(&path).await });
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
async fn a_reader_creates_nothing() {
    let scratch = Scratch::new();
    let error = open_error(&scratch.path).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        error.to_string().ends_with("registry.db does not exist"),
        "{error}"
    );
    assert!(!scratch.path.exists());
}

#[tokio::test]
async fn a_missing_folder_is_told() {
    let error = SqliteStore::open(&Scratch::new().path.join("registry.db"))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        error.to_string().contains("check that its folder exists"),
        "{error}"
    );
}

#[tokio::test]
async fn a_reader_migrates_nothing() {
    let scratch = Scratch::new();
    scratch.execute("PRAGMA journal_mode = WAL").await;
    let error = open_error(&scratch.path).await;
    assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("lacks step 1 (registry) of the schema"),
        "{error}"
    );
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut scratch.connect().await)
        .await
        .unwrap();
    assert_eq!(tables, 0);
}

#[tokio::test]
async fn a_reader_follows_and_never_writes() {
    let scratch = Scratch::with_device().await;
    let reader = SqliteStore::open_read_only(&scratch.path).await.unwrap();
    let record = load(&reader, "0001").await;
    let change = Change::delete(&record, &act(5)).unwrap();
    let refused = reader.commit(&[change]).await.unwrap_err();
    assert!(
        matches!(refused, CommitError::Store(StoreError::Unsupported { .. })),
        "{refused:?}"
    );
    assert!(
        refused.to_string().ends_with("was opened for reading only"),
        "{refused}"
    );

    let writer = SqliteStore::open(&scratch.path).await.unwrap();
    register(&writer, "0002").await;
    within(Duration::from_secs(10), "wake", reader.wake()).await;
    assert_eq!(load(&reader, "0002").await, load(&writer, "0002").await);
}

#[tokio::test]
async fn a_reader_opens_what_a_dead_writer_left() {
    let scratch = Scratch::with_device().await;
    let writer = SqliteStore::open(&scratch.path).await.unwrap();
    register(&writer, "0002").await;
    // As after a crash: the file with its log, and nobody who has it open.
    let left = Scratch::new();
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        fs::copy(name(&scratch.path), name(&left.path)).unwrap();
    }
    let reader = SqliteStore::open_read_only(&left.path).await.unwrap();
    assert_eq!(load(&reader, "0002").await.device.version, 1);
}

#[tokio::test]
async fn a_file_that_is_gone_is_unavailable_and_stays_gone() {
    let scratch = Scratch::with_device().await;
    let store = SqliteStore::open(&scratch.path).await.unwrap();
    let record = load(&store, "0001").await;
    fs::remove_file(&scratch.path).unwrap();

    let change = Change::delete(&record, &act(5)).unwrap();
    let commit = store.commit(&[change]).await.unwrap_err();
    assert!(
        matches!(commit, CommitError::Store(StoreError::Unavailable { .. })),
        "{commit:?}"
    );
    for error in [
        store.load(&record.device.id).await.unwrap_err(),
        store.position().await.unwrap_err(),
        store.events_after(0, 1).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(
            error.to_string().ends_with("registry.db does not exist"),
            "{error}"
        );
    }
    within(Duration::from_secs(10), "wake", store.wake()).await;
    assert!(!scratch.path.exists());
}

#[tokio::test]
async fn a_file_that_was_replaced_is_unavailable() {
    let (scratch, other) = (Scratch::with_device().await, Scratch::with_device().await);
    let store = SqliteStore::open(&scratch.path).await.unwrap();
    let record = load(&store, "0001").await;
    fs::rename(&other.path, &scratch.path).unwrap();

    let error = store.load(&record.device.id).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        error.to_string().contains("was replaced while it was open"),
        "{error}"
    );
    let change = Change::delete(&record, &act(5)).unwrap();
    let commit = store.commit(&[change]).await.unwrap_err();
    assert!(
        matches!(commit, CommitError::Store(StoreError::Unavailable { .. })),
        "{commit:?}"
    );
}

#[tokio::test]
async fn a_lock_that_another_process_keeps_ends_in_unavailable_and_hurts_nothing() {
    let scratch = Scratch::with_device().await;
    let store = SqliteStore::open(&scratch.path).await.unwrap();
    let record = load(&store, "0001").await;
    let change = Change::delete(&record, &act(5)).unwrap();

    let mut other = scratch.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let commit = store.commit(std::slice::from_ref(&change));
    let error = within(Duration::from_secs(30), "the commit gives up", commit)
        .await
        .unwrap_err();
    assert!(
        matches!(error, CommitError::Store(StoreError::Unavailable { .. })),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .ends_with("is kept locked by another process"),
        "{error}"
    );
    assert_eq!(
        load(&store, "0001").await,
        record,
        "reading goes on meanwhile"
    );

    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    store.commit(&[change]).await.unwrap();
}

#[tokio::test]
async fn a_new_epoch_after_a_restore_is_told_to_all_and_recorded() {
    let scratch = Scratch::with_device().await;
    let (store, follower) = (
        SqliteStore::open(&scratch.path).await.unwrap(),
        SqliteStore::open_read_only(&scratch.path).await.unwrap(),
    );
    let known = follower.position().await.unwrap();
    let start = Change::start_epoch(Epoch::generate(), &act(9));
    let started = store.commit(&[start]).await.unwrap();
    assert_ne!(started.epoch, known.epoch);
    assert_eq!(follower.position().await.unwrap(), started);
    assert!(!knows(&follower, &known).await.unwrap());
    let event = follower.events_after(known.seq, 2).await.unwrap().remove(0);
    assert_eq!(
        (event.kind.as_str(), &event.detail["epoch"]),
        ("epoch-started", &started.epoch.to_string().into())
    );
}

#[tokio::test]
async fn a_spoiled_row_is_named() {
    let scratch = Scratch::with_device().await;
    let store = SqliteStore::open(&scratch.path).await.unwrap();
    scratch
        .execute("UPDATE devices SET state = 'Active'; UPDATE events SET detail = '{'")
        .await;
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
async fn a_url_names_the_file() {
    let scratch = Scratch::with_device().await;
    for prefix in ["sqlite:", "sqlite://"] {
        let url = format!("{prefix}{}", scratch.path.display());
        load(&SqliteStore::open_url(&url).await.unwrap(), "0001").await;
        load(
            &SqliteStore::open_url_read_only(&url).await.unwrap(),
            "0001",
        )
        .await;
    }
    for url in [
        "",
        "sqlite:",
        "postgres://u:secret@h/db",
        "registry.db",
        "sqlite:a?mode=rwc",
    ] {
        let error = SqliteStore::open_url(url).await.err().unwrap();
        assert!(
            matches!(error, StoreError::Unsupported { .. }),
            "{url}: {error:?}"
        );
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
