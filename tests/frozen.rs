//! What ends without a word: a replica that freezes, a server that is killed, a connection that is
//! cut. The rest of the site finds out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use leafgate_nats_config::Name;
use leafgate_nats_config::subjects::alive;
use leafgate_processes::{LogMark, Signal};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::devices::{confirm, connects};
use crate::support::in_process::{InProcess, free_address};
use crate::support::observer::{self, Observer};
use crate::support::{PATIENCE, TestSite, eventually, options};

/// Long enough for silence to be told from a pause, and for live connections to be listed twice.
const LONG: Duration = Duration::from_secs(45);

/// Devices that log in one after the other: were every second one left waiting, one of so many
/// would be.
const LOG_INS: usize = 20;

/// Waits longer than [`eventually`] does.
async fn at_length<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(
            started.elapsed() < LONG,
            "{what} did not come within {LONG:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How often a replica's log has these words since `mark`.
fn count(site: &mut TestSite, ordinal: usize, mark: LogMark, words: &str) -> usize {
    let log = site.site.callouts()[ordinal].child_mut().log().since(mark);
    log.unwrap().matches(words).count()
}

/// Waits until both replicas listen to each other, and for a sign of life of the first after that.
async fn await_sign_of_life(site: &mut TestSite) {
    for callout in site.site.callouts() {
        eventually("a replica that lacks nothing", async || {
            let report = callout.get("/readyz").await.unwrap();
            report.contains("\"degraded\":[]").then_some(())
        })
        .await;
    }
    let spare = observer::connect(site, "auth").await;
    let replica = Name::parse("callout-0").unwrap();
    let mut signs = spare.subscribe(alive(&replica)).await.unwrap();
    let sign = tokio::time::timeout(PATIENCE, signs.next()).await;
    sign.expect("no sign of life").unwrap();
}

/// The number of workers that a replica told of at its start, each with a connection of its own.
fn workers(site: &mut TestSite, ordinal: usize) -> usize {
    let log = site.site.callouts()[ordinal].child_mut().log().clone();
    let started = log.find_since(log.start(), " workers=").unwrap().unwrap();
    let (_, count) = started.split_once(" workers=").unwrap();
    count.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_frozen_replica_is_cut_off_and_serves_again_when_it_runs() {
    let mut options = options();
    options.replicas = 2;
    let mut site = TestSite::start(&options).await;
    let ids = site.register_many("frozen", LOG_INS).await;
    let connections = workers(&mut site, 0);
    await_sign_of_life(&mut site).await;
    let [frozen, left] = [0, 1].map(|ordinal| {
        site.site.callouts()[ordinal]
            .child_mut()
            .log()
            .mark()
            .unwrap()
    });

    let process = site.site.callouts()[0].child_mut();
    process.signal(Signal::SIGSTOP).unwrap();
    at_length("the end of the frozen replica's connections", async || {
        let ended = count(&mut site, 1, left, "its connection was ended");
        (ended == connections).then_some(())
    })
    .await;
    let door = site.door();
    for id in &ids {
        let mut device = door.log_in(id).await.unwrap();
        confirm(&mut device).await;
        assert_eq!(connects(&device), 1, "{id} was not answered at first");
    }
    assert_eq!(count(&mut site, 0, frozen, "decision "), 0);

    let process = site.site.callouts()[0].child_mut();
    process.signal(Signal::SIGCONT).unwrap();
    eventually("a decision by the replica that runs again", async || {
        drop(door.log_in(&ids[0]).await.unwrap());
        let decisions = count(&mut site, 0, frozen, "decision allowed");
        (decisions > 0).then_some(())
    })
    .await;
    // It judged nobody for the time in which it heard nothing itself.
    assert_eq!(count(&mut site, 0, frozen, "its connection was ended"), 0);
}

#[tokio::test]
async fn the_sessions_of_a_killed_server_are_forgotten_and_no_others() {
    let mut options = options();
    options.replicas = 0;
    options.leaf_nodes = 2;
    let mut site = TestSite::start(&options).await;
    let callout = InProcess::start_with(&site, 0, |config| config.limits.sweep_secs = 1).await;
    let ids = site.register_many("orphan", 4).await;
    let doors = [site.door_of(0), site.door_of(1)];
    let mut stays = doors[0].log_in(&ids[0]).await.unwrap();
    let mut orphans = Vec::new();
    for id in &ids[1..] {
        orphans.push(doors[1].log_in(id).await.unwrap());
    }
    sessions(&callout, 4).await;
    site.site.leaves()[1].kill9().await.unwrap();
    sessions(&callout, 1).await;
    confirm(&mut stays).await;
    assert_eq!(connects(&stays), 1);
}

#[tokio::test]
async fn a_session_whose_end_was_not_heard_is_forgotten_and_no_other() {
    let mut options = options();
    options.replicas = 0;
    let mut site = TestSite::start(&options).await;
    let (address, leaf) = (free_address(), site.site.leaves()[0].ports().client);
    let cut = relay(address, leaf).await;
    let callout = InProcess::start_with(&site, 0, |config| {
        config.limits.sweep_secs = 1;
        config.system.as_mut().unwrap().urls = Some(vec![format!("tls://{address}")]);
    })
    .await;
    callout.answers("/readyz", "\"degraded\":[]").await;
    let ids = site.register_many("unheard", 2).await;
    let mut stays = site.log_in(&ids[0]).await.unwrap();
    let leaves = site.log_in(&ids[1]).await.unwrap();
    sessions(&callout, 2).await;

    cut.abort();
    callout.answers("/readyz", "system account").await;
    drop(leaves);
    let observer = Observer::connect(&site).await;
    eventually("the end of one session", async || {
        (observer.sessions(None).await.len() == 1).then_some(())
    })
    .await;
    let _relay = relay(address, leaf).await;
    sessions(&callout, 1).await;
    confirm(&mut stays).await;
    assert_eq!(connects(&stays), 1);
}

/// Waits until the replica remembers so many sessions.
async fn sessions(callout: &InProcess, expected: i64) {
    at_length(&format!("{expected} sessions"), async || {
        let sessions = callout.metric("leafgate_callout_sessions").await;
        (sessions == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn readiness_says_that_the_system_account_is_lost() {
    let mut options = options();
    options.replicas = 0;
    let mut site = TestSite::start(&options).await;
    let (address, leaf) = (free_address(), site.site.leaves()[0].ports().client);
    let cut = relay(address, leaf).await;
    let callout = InProcess::start_with(&site, 0, |config| {
        config.system.as_mut().unwrap().urls = Some(vec![format!("tls://{address}")]);
    })
    .await;
    callout.answers("/readyz", "\"degraded\":[]").await;
    site.register("0001").await;
    drop(site.log_in("0001").await.unwrap());

    cut.abort();
    let report = callout.answers("/readyz", "system account").await;
    assert!(report.starts_with("HTTP/1.0 200"), "{report}");
    // The server is known, so devices get in.
    drop(site.log_in("0001").await.unwrap());

    let _relay = relay(address, leaf).await;
    callout.answers("/readyz", "\"degraded\":[]").await;
}

/// Passes connections to `address` on to `target`, until it is aborted, which cuts them.
async fn relay(address: SocketAddr, target: SocketAddr) -> JoinHandle<()> {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut far = TcpStream::connect(target).await.unwrap();
                // Whoever closes first ends both.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    })
}
