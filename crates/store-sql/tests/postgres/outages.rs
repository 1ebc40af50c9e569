//! Servers that are gone, silent, or of the wrong kind, and come back.

use leafgate_testkit::postgres::{PostgresServer, PostgresSettings};

use super::*;

/// That nothing can be done, which shows in time.
async fn assert_away(store: &PostgresStore, change: &Change, expected: &str) {
    let reading = within(PATIENCE, "a read", store.position());
    let writing = within(
        PATIENCE,
        "a commit",
        store.commit(std::slice::from_ref(change)),
    );
    let (read, written) = tokio::join!(reading, writing);
    let CommitError::Store(written) = written.unwrap_err() else {
        panic!("a conflict")
    };
    for error in [read.unwrap_err(), written] {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    within(PATIENCE, "wake", store.wake()).await;
}

/// That a commit of another handle wakes this one, three times early.
async fn assert_woken(follower: &PostgresStore, writer: &PostgresStore, prefix: &str) {
    let mut early = 0;
    for number in 0.. {
        assert!(number < 100, "commits don't wake");
        register(writer, &format!("{prefix}-{number}")).await;
        let woken = tokio::time::timeout(Duration::from_millis(400), follower.wake()).await;
        early += u32::from(woken.is_ok());
        if early == 3 {
            return;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_is_unavailable_until_it_is_back() {
    let server = PostgresServer::start(&PostgresSettings::default());
    let database = server.create_database();
    let (store, follower) = (open(&database).await, open_read_only(&database).await);
    let record = register(&store, "0001").await;
    assert_woken(&follower, &store, "before").await;

    server.stop();
    let delete = Change::delete(&record, &act(5)).unwrap();
    assert_away(&store, &delete, "can't be reached").await;
    server.start_again();
    assert_eq!(load(&store, "0001").await, record);
    store.commit(&[delete]).await.unwrap();
    assert_woken(&follower, &store, "after").await;
}

#[tokio::test]
async fn a_server_that_is_silent_is_unavailable_until_it_answers() {
    let server = PostgresServer::start(&PostgresSettings::default());
    let database = server.create_database();
    let store = open(&database).await;
    let record = register(&store, "0001").await;
    load(&store, "0001").await;

    let frozen = server.freeze();
    let delete = Change::delete(&record, &act(5)).unwrap();
    // Once on connections that are there, once on new ones.
    for _ in 0..2 {
        assert_away(&store, &delete, "does not answer").await;
    }
    let opened = PostgresStore::open(&options(database.url())).await;
    assert!(
        matches!(opened, Err(StoreError::Unavailable { .. })),
        "{:?}",
        opened.err()
    );
    drop(frozen);
    assert_eq!(load(&store, "0001").await.device.id, record.device.id);
    register(&store, "0002").await;
}

#[tokio::test]
async fn connections_that_were_cut_are_made_again_unnoticed() {
    let database = with_device().await;
    let (store, follower) = (open(&database).await, open_read_only(&database).await);
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for number in 0..5 {
        register(&store, &format!("d{number}")).await;
        load(&store, &format!("d{number}")).await;
        let open_connections: u32 = database.sql(cut).parse().unwrap();
        assert!(open_connections > 1);
    }
    assert_woken(&follower, &store, "after").await;
    assert_eq!(store.find(&Query::default()).await.unwrap().next, None);
}

#[tokio::test]
async fn a_lock_that_another_process_keeps_ends_in_unavailable_and_hurts_nothing() {
    let database = with_device().await;
    let store = open(&database).await;
    let record = load(&store, "0001").await;
    let delete = Change::delete(&record, &act(5)).unwrap();

    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    let lock = sqlx::raw_sql("BEGIN; SELECT 1 FROM feed_head FOR UPDATE");
    lock.execute(&mut other).await.unwrap();
    let commit = store.commit(std::slice::from_ref(&delete));
    let error = within(PATIENCE, "the commit gives up", commit)
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
    store.commit(&[delete]).await.unwrap();
}

#[tokio::test]
async fn a_standby_is_refused_and_one_that_takes_the_primarys_place_is_unavailable() {
    let server = PostgresServer::start(&PostgresSettings::default());
    let database = server.create_database();
    let store = open(&database).await;
    let record = register(&store, "0001").await;
    server.become_standby();

    let delete = Change::delete(&record, &act(5)).unwrap();
    assert_away(&store, &delete, "is on a standby").await;
    for opened in [
        PostgresStore::open(&options(database.url())).await,
        PostgresStore::open_read_only(&options(database.url())).await,
    ] {
        let error = opened.err().unwrap();
        assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
        assert!(
            error.to_string().ends_with("name the primary in the URL"),
            "{error}"
        );
    }

    database.sql("SELECT pg_promote()");
    let committed = async {
        while store.commit(std::slice::from_ref(&delete)).await.is_err() {
            store.wake().await;
        }
    };
    within(PATIENCE, "it is promoted", committed).await;
}
