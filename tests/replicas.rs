//! Replicas side by side: one that dies or ends takes no device with it, and what one has granted
//! any other can end.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use futures::{StreamExt, stream};
use leafgate::local::{Device, LogInError, ServiceProcess, SiteOptions};
use leafgate::wiring::open_local_store;
use leafgate_identity::DeviceId;
use leafgate_processes::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::sync::watch;

use crate::support::devices::{Door, confirm, connects, log_in_with_retry};
use crate::support::observer::Observer;
use crate::support::{PATIENCE, TestSite, act, eventually, machine, options, scale};

/// Log-ins in a stream, times `LEAFGATE_TEST_SCALE`.
const LOG_INS: usize = 200;

/// Log-ins of a stream at once.
const PARALLEL: usize = 20;

/// Log-ins of which either of two replicas gets some: all but one time in eight millions.
const SHARED: usize = 24;

fn two_replicas() -> SiteOptions {
    SiteOptions {
        replicas: 2,
        ..options()
    }
}

fn log_ins() -> usize {
    LOG_INS * scale()
}

/// Logs all in, `PARALLEL` at once; the outcomes in the order of the ids.
async fn log_in_all<O>(ids: &[String], log_in: impl AsyncFn(&str) -> O) -> Vec<O> {
    let log_ins = stream::iter(ids).map(|id| {
        let log_in = &log_in;
        async move { log_in(id).await }
    });
    log_ins.buffered(PARALLEL).collect().await
}

/// Registers so many devices and logs them in.
async fn fleet(site: &TestSite, prefix: &str, count: usize) -> (Vec<String>, Vec<Device>) {
    let ids = site.register_many(prefix, count).await;
    let devices = log_in_all(&ids, async |id| site.log_in(id).await.unwrap()).await;
    (ids, devices)
}

/// The devices that a replica has let in, by its log.
fn allowed(site: &mut TestSite, ordinal: usize) -> Vec<String> {
    let log = site.site.callouts()[ordinal].child_mut().log().clone();
    let text = log.since(log.start()).unwrap();
    let lines = text
        .lines()
        .filter_map(|line| line.split_once("decision allowed device="));
    let devices = lines.filter_map(|(_, rest)| rest.split_whitespace().next());
    devices.map(str::to_owned).collect()
}

/// Ends when every device's connection has ended.
async fn all_end(devices: &mut [Device]) {
    for device in devices {
        device.ended(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn a_replica_killed_under_a_stream_of_log_ins_fails_none_after_the_clients_retry() {
    let killed = async |callout: &mut ServiceProcess| callout.child_mut().kill9().await.unwrap();
    // Panics where the retry fails, too.
    under_a_stream("kill", log_in_with_retry, killed).await;
}

#[tokio::test]
async fn a_replica_ended_under_a_stream_of_log_ins_fails_none_at_all() {
    let ended = async |callout: &mut ServiceProcess| callout.stop(PATIENCE).await.unwrap();
    let (outcomes, status) = under_a_stream("term", single_log_in, ended).await;
    let failed: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(status.code(), Some(0));
}

/// Logs devices in, and ends the first of two replicas when half are done.
async fn under_a_stream<O>(
    prefix: &str,
    log_in: impl AsyncFn(&Door, &str) -> O,
    end: impl AsyncFn(&mut ServiceProcess) -> ExitStatus,
) -> (Vec<O>, ExitStatus) {
    let _machine = machine().await;
    let mut site = TestSite::start(&two_replicas()).await;
    let ids = site.register_many(prefix, log_ins()).await;
    let half = ids.len() / 2;
    let (door, (done, mut is_done)) = (site.door(), watch::channel(0));
    let stream = log_in_all(&ids, async |id| {
        let outcome = log_in(&door, id).await;
        done.send_modify(|done| *done += 1);
        outcome
    });
    let ended = async {
        is_done.wait_for(|done| *done >= half).await.unwrap();
        end(&mut site.site.callouts()[0]).await
    };
    let (outcomes, status) = tokio::join!(stream, ended);
    // Otherwise the one that was ended would not have been missed.
    assert!(!allowed(&mut site, 0).is_empty());
    assert!(allowed(&mut site, 1).len() >= half);
    (outcomes, status)
}

/// Logs in, and proves that it took one connection and no second one.
async fn single_log_in(door: &Door, id: &str) -> Result<Device, String> {
    let mut device = door
        .log_in(id)
        .await
        .map_err(|error| format!("{id}: {error:?}"))?;
    confirm(&mut device).await;
    match connects(&device) {
        1 => Ok(device),
        connects => Err(format!("{id}: connected {connects} times")),
    }
}

#[tokio::test]
async fn revocation_ends_the_sessions_of_every_replica() {
    let mut site = TestSite::start(&two_replicas()).await;
    let (ids, mut devices) = fleet(&site, "many", SHARED).await;
    for ordinal in 0..2 {
        assert!(
            !allowed(&mut site, ordinal).is_empty(),
            "replica {ordinal} was never asked"
        );
    }
    site.revoke_many(&ids).await;
    all_end(&mut devices).await;
    let refused = log_in_all(&ids, async |id| site.log_in(id).await).await;
    for outcome in refused {
        assert!(matches!(outcome, Err(LogInError::Refused)), "{outcome:?}");
    }
    let observer = Observer::connect(&site).await;
    assert_eq!(observer.sessions(None).await, []);
}

#[tokio::test]
async fn revocation_ends_sessions_on_every_server_of_the_cluster() {
    let mut options = two_replicas();
    options.leaf_nodes = 2;
    let mut site = TestSite::start(&options).await;
    let ids = site.register_many("server", 10).await;
    let doors = [site.door_of(0), site.door_of(1)];
    let mut devices = Vec::new();
    for (id, door) in ids.iter().zip(doors.iter().cycle()) {
        devices.push(door.log_in(id).await.unwrap());
    }
    site.revoke_many(&ids).await;
    all_end(&mut devices).await;
    for door in doors {
        let outcome = door.log_in(&ids[0]).await;
        assert!(matches!(outcome, Err(LogInError::Refused)), "{outcome:?}");
    }
}

/// Kills the first replica, which has let some of the devices in.
async fn lose_replica_0(site: &mut TestSite) {
    assert!(!allowed(site, 0).is_empty(), "replica 0 was never asked");
    site.site.callouts()[0].child_mut().kill9().await.unwrap();
}

#[tokio::test]
async fn what_a_dead_replica_granted_another_ends() {
    let mut site = TestSite::start(&two_replicas()).await;
    let (ids, mut devices) = fleet(&site, "dead", SHARED).await;
    lose_replica_0(&mut site).await;
    site.revoke_many(&ids).await;
    all_end(&mut devices).await;
    let observer = Observer::connect(&site).await;
    assert_eq!(observer.sessions(None).await, []);
}

#[tokio::test]
async fn what_no_replica_saw_revoked_ends_when_one_starts() {
    let mut site = TestSite::start(&two_replicas()).await;
    let (ids, mut devices) = fleet(&site, "gone", 30).await;
    for callout in site.site.callouts() {
        assert_eq!(callout.stop(PATIENCE).await.unwrap().code(), Some(0));
    }
    // More than a sweep would dare to end, if the registry could not account for them.
    let (revoked, left) = ids.split_at(25);
    site.revoke_many(revoked).await;
    let observer = Observer::connect(&site).await;
    assert_eq!(observer.sessions(None).await.len(), ids.len());
    site.site.restart_callout(0).await.unwrap();
    eventually("the end of the revoked sessions alone", async || {
        let mut users: Vec<String> = observer
            .sessions(None)
            .await
            .into_iter()
            .map(|session| session.user)
            .collect();
        users.sort();
        (users == left).then_some(())
    })
    .await;
    let (revoked, left) = devices.split_at_mut(revoked.len());
    all_end(revoked).await;
    for device in left {
        assert!(device.ended(Duration::ZERO).await.is_err());
    }
}

#[tokio::test]
async fn a_registry_that_can_not_say_why_ends_few_sessions_at_once() {
    let mut site = TestSite::start(&options()).await;
    let (_, devices) = fleet(&site, "kept", 25).await;
    site.site.callouts()[0].stop(PATIENCE).await.unwrap();
    put_an_empty_registry_in_place(&site.site.dir().registry()).await;
    let mark = site.mark();
    site.site.restart_callout(0).await.unwrap();
    site.logged(mark, "is it the right registry?").await;
    let observer = Observer::connect(&site).await;
    assert_eq!(observer.sessions(None).await.len(), devices.len());
}

async fn put_an_empty_registry_in_place(registry: &Path) {
    let empty = registry.with_file_name("empty.db");
    let _idle = open_local_store(&empty).await.unwrap();
    for part in ["db", "db-wal", "db-shm"] {
        fs::rename(empty.with_extension(part), registry.with_extension(part)).unwrap();
    }
}

#[tokio::test]
async fn a_replica_that_reaches_nats_late_still_ends_what_was_revoked() {
    let mut site = TestSite::start(&options()).await;
    site.register("late").await;
    let mut device = site.log_in("late").await.unwrap();
    site.site.callouts()[0].child_mut().kill9().await.unwrap();
    site.revoke("late").await;
    let leaf = site.site.leaves()[0].child();
    leaf.signal(Signal::SIGSTOP).unwrap();
    let leaf = Pid::from_raw(i32::try_from(leaf.pid()).unwrap());
    let log = site.site.callouts()[0].child_mut().log().clone();
    let before = log.mark().unwrap();
    let thawed = async {
        let failed = "live connections could not be compared with the registry";
        eventually("the failure of the first sweep", async || {
            log.find_since(before, failed).unwrap()
        })
        .await;
        kill(leaf, Signal::SIGCONT).unwrap();
    };
    let (started, ()) = tokio::join!(site.site.restart_callout(0), thawed);
    started.unwrap();
    device.ended(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn quarantine_ends_what_a_dead_replica_granted() {
    let mut site = TestSite::start(&two_replicas()).await;
    let (ids, mut devices) = fleet(&site, "quarantined", SHARED).await;
    lose_replica_0(&mut site).await;
    for id in &ids {
        let id = DeviceId::parse(id).unwrap();
        site.registrar.quarantine(&id, &act()).await.unwrap();
    }
    all_end(&mut devices).await;
}
