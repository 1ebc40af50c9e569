//! Processes that write, and the server that they write to, are killed in the middle, again and again: whatever was
//! told to be done, is done.

#![expect(
    clippy::unwrap_used,
    reason = "a test, though much of it stands outside of test functions"
)]

mod server;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leafgate_registry::{
    Change, CommitError, DeviceStore, Event, EventKind, Head, Query, StoreError,
};
use leafgate_store_sql::{PostgresOptions, PostgresStore, SqliteStore};
use leafgate_testkit::postgres::PostgresServer;
use leafgate_testkit::store_conformance::records::{act, new_device};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Names the registry to a child, and the child to the registry.
const CHILD_VARIABLE: &str = "LEAFGATE_TEST_CRASH_CHILD";
const ROUNDS: usize = 4;
const WRITERS: usize = 2;
const TASKS: usize = 48;

/// A registration that a child was told is durable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Acknowledged {
    id: String,
    seq: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_in_sqlite() {
    let folder = TempDir::new().unwrap();
    kill_writers(&format!("sqlite:{}/registry.db", folder.path().display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_in_postgres() {
    kill_writers(&PostgresServer::shared().create_database().url()).await;
}

async fn kill_writers(url: &str) {
    let share = registrations().div_ceil(ROUNDS);
    drop(open(url).await);

    let stop = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn(follow(open_read_only(url).await, Arc::clone(&stop)));
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        let writers = (0..WRITERS).map(|writer| {
            let child = spawn_writer(url, &format!("r{round}-w{writer}"));
            // One dies after the other, so that the last one writes on while a dead one's traces are around.
            let enough = (share * (writer + 1)).div_ceil((1..=WRITERS).sum());
            tokio::task::spawn_blocking(move || kill_after(child, enough))
        });
        for writer in writers.collect::<Vec<_>>() {
            acknowledged.extend(writer.await.unwrap());
        }
        check(&*open(url).await, &acknowledged).await;
    }
    assert!(acknowledged.len() >= registrations());

    stop.store(true, Ordering::Release);
    let head = open(url).await.position().await.unwrap().head();
    assert_eq!(follower.await.unwrap(), head);
}

async fn open(url: &str) -> Arc<dyn DeviceStore> {
    if url.starts_with("sqlite:") {
        Arc::new(SqliteStore::open_url(url).await.unwrap())
    } else {
        Arc::new(PostgresStore::open(&options(url)).await.unwrap())
    }
}

async fn open_read_only(url: &str) -> Arc<dyn DeviceStore> {
    if url.starts_with("sqlite:") {
        Arc::new(SqliteStore::open_url_read_only(url).await.unwrap())
    } else {
        Arc::new(PostgresStore::open_read_only(&options(url)).await.unwrap())
    }
}

fn options(url: &str) -> PostgresOptions {
    PostgresOptions {
        url: url.to_owned(),
        password_file: None,
        ca_file: None,
    }
}

/// That all that was acknowledged is there, and that what is there is whole.
async fn check(store: &dyn DeviceStore, acknowledged: &HashSet<Acknowledged>) {
    let mut registered = HashSet::new();
    let mut head = Head::GENESIS;
    loop {
        let events = store.events_after(head.seq, 1_000).await.unwrap();
        if events.is_empty() {
            break;
        }
        for event in events {
            head = head.follow(&event).unwrap();
            assert_eq!(event.kind, EventKind::DeviceRegistered);
            registered.insert(Acknowledged {
                id: event.device.unwrap().to_string(),
                seq: event.seq,
            });
        }
    }
    assert_eq!(head, store.position().await.unwrap().head());
    let lost: Vec<_> = acknowledged.difference(&registered).collect();
    assert!(
        lost.is_empty(),
        "{} of {} were lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );

    let mut devices = HashSet::new();
    let mut query = Query {
        limit: 1_000,
        ..Query::default()
    };
    loop {
        let page = store.find(&query).await.unwrap();
        devices.extend(
            page.items
                .into_iter()
                .map(|record| record.device.id.to_string()),
        );
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    let told: HashSet<_> = registered
        .into_iter()
        .map(|registration| registration.id)
        .collect();
    assert_eq!(
        devices, told,
        "there is a device for each event and an event for each device"
    );
}

/// Follows the feed through every crash, and never sees an event go that it has seen.
async fn follow(store: Arc<dyn DeviceStore>, stop: Arc<AtomicBool>) -> Head {
    let mut head = Head::GENESIS;
    loop {
        // Read before the events are, so that the last round sees all of them.
        let last = stop.load(Ordering::Acquire);
        loop {
            let events = events_after(&*store, head.seq).await;
            if events.is_empty() {
                break;
            }
            head = events
                .iter()
                .fold(head, |head, event| head.follow(event).unwrap());
        }
        if last {
            return head;
        }
        store.wake().await;
    }
}

/// What follows, as soon as the store is there.
async fn events_after(store: &dyn DeviceStore, seq: u64) -> Vec<Event> {
    loop {
        match store.events_after(seq, 1_000).await {
            Ok(events) => return events,
            Err(StoreError::Unavailable { .. }) => store.wake().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// How many registrations the whole test acknowledges, at least.
fn registrations() -> usize {
    let scale = variable("LEAFGATE_TEST_SCALE")
        .map(|scale| scale.parse().expect("a number of registrations"));
    scale.unwrap_or(10_000)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is configured by its environment alone"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn spawn_writer(url: &str, name: &str) -> Child {
    Command::new(std::env::current_exe().expect("this test's own binary"))
        .args([
            "--exact",
            "register_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(CHILD_VARIABLE, format!("{name}={url}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test's own binary starts")
}

/// Kills a writer (SIGKILL) once it was told `enough` times, and gives all that it was told.
fn kill_after(mut child: Child, enough: usize) -> Vec<Acknowledged> {
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    while output.read_line(&mut line).expect("text") > 0 {
        // The last line may have been cut off by the kill.
        if let Some(told) = line
            .strip_suffix('\n')
            .and_then(|line| line.strip_prefix("acknowledged "))
        {
            let (id, seq) = told.split_once(' ').expect("an id and a number");
            acknowledged.push(Acknowledged {
                id: id.to_owned(),
                seq: seq.parse().expect("a number"),
            });
            if acknowledged.len() == enough {
                child.kill().expect("it runs");
            }
        }
        line.clear();
    }
    let status = child.wait().expect("it was started");
    assert!(
        acknowledged.len() >= enough,
        "the writer ended by itself: {status}"
    );
    acknowledged
}

/// The child: registers devices, many at once, and prints each one that is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the part of the tests that is killed; does nothing by itself"]
async fn register_until_killed() {
    let Some(child) = variable(CHILD_VARIABLE) else {
        return;
    };
    let (name, url) = child.split_once('=').unwrap();
    let store = open(url).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, name) = (Arc::clone(&store), name.to_owned());
        tasks.spawn(async move {
            for number in 0.. {
                let id = format!("{name}-{task}-{number}");
                let change = Change::register(None, new_device(&id), &act(1)).unwrap();
                let position = store.commit(&[change]).await.unwrap();
                println!("acknowledged {id} {}", position.seq);
            }
        });
    }
    tasks.join_all().await;
}
