//! What a replica still does while the registry or NATS is away, and that it comes back by itself.

use std::fs;
use std::time::Duration;

use leafgate::local::LogInError;

use crate::support::devices::{confirm, connects};
use crate::support::in_process::{InProcess, free_address};
use crate::support::{PATIENCE, TestSite, eventually, options, without_replicas};

/// How long known devices are let in from memory, here.
const SERVE_STALE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn without_the_registry_known_devices_get_in_for_a_limited_time_and_others_do_not() {
    let site = TestSite::start(&without_replicas()).await;
    let callout = InProcess::start_with(&site, 0, |config| {
        config.limits.serve_stale_secs = SERVE_STALE.as_secs();
    })
    .await;
    for id in ["known", "unseen", "revoked", "unseen-revoked"] {
        site.register(id).await;
    }
    // What it has not heard of yet would make it forget the devices again.
    callout.applied().await;
    let mut before = site.log_in("known").await.unwrap();
    let mut revoked = site.log_in("revoked").await.unwrap();
    let mut unseen_revoked = site.log_in("unseen-revoked").await.unwrap();
    site.revoke("revoked").await;
    site.revoke("unseen-revoked").await;
    revoked.ended(PATIENCE).await.unwrap();
    unseen_revoked.ended(PATIENCE).await.unwrap();
    drop(unseen_revoked);
    assert!(matches!(
        site.log_in("revoked").await,
        Err(LogInError::Refused)
    ));
    callout.applied().await;

    callout.store.set_reachable(false);
    let report = callout.answers("/readyz", "registry").await;
    assert!(report.starts_with("HTTP/1.0 200"), "{report}");
    let mut stale = site.log_in("known").await.unwrap();
    callout.decided("source=stale").await;
    for (id, reason) in [
        ("unseen", "registry-unavailable"),
        ("revoked", "device-revoked"),
    ] {
        assert!(
            matches!(site.log_in(id).await, Err(LogInError::Refused)),
            "{id}"
        );
        callout
            .decided(&format!("decision denied reason={reason} device={id}"))
            .await;
    }
    assert!(matches!(
        site.log_in("unseen-revoked").await,
        Err(LogInError::Refused)
    ));

    // The session from memory ends by itself: nothing is heard of the device.
    stale.ended(SERVE_STALE + PATIENCE).await.unwrap();
    confirm(&mut before).await;
    assert_eq!(connects(&before), 1);
    callout.answers("/readyz", "HTTP/1.0 503").await;

    callout.store.set_reachable(true);
    callout.answers("/readyz", "HTTP/1.0 200").await;
    site.log_in("known").await.unwrap();
    site.log_in("unseen").await.unwrap();
    for id in ["revoked", "unseen-revoked"] {
        assert!(
            matches!(site.log_in(id).await, Err(LogInError::Refused)),
            "{id}"
        );
    }
    let report = callout.answers("/readyz", "HTTP/1.0 200").await;
    assert!(!report.contains("registry"), "{report}");
}

#[tokio::test]
async fn a_revocation_during_the_outage_counts_from_its_end() {
    let site = TestSite::start(&without_replicas()).await;
    let callout = InProcess::start(&site, 0).await;
    site.register("0001").await;
    let mut device = site.log_in("0001").await.unwrap();
    callout.store.set_reachable(false);
    callout.answers("/readyz", "registry").await;
    site.revoke("0001").await;
    confirm(&mut device).await;
    callout.store.set_reachable(true);
    device.ended(PATIENCE).await.unwrap();
    assert!(matches!(
        site.log_in("0001").await,
        Err(LogInError::Refused)
    ));
}

#[tokio::test]
async fn liveness_depends_on_neither_nats_nor_the_registry() {
    let mut site = TestSite::start(&without_replicas()).await;
    let callout = InProcess::start(&site, 0).await;
    site.register("0001").await;
    callout.applied().await;
    site.log_in("0001").await.unwrap();
    let registry = site.site.dir().registry();
    fs::rename(&registry, registry.with_extension("away")).unwrap();
    let report = callout.answers("/readyz", "registry").await;
    assert!(report.starts_with("HTTP/1.0 200"), "{report}");
    is_alive(&callout).await;
    site.log_in("0001").await.unwrap();

    site.site.leaves()[0].kill9().await.unwrap();
    callout.answers("/readyz", "HTTP/1.0 503").await;
    is_alive(&callout).await;
}

async fn is_alive(callout: &InProcess) {
    for path in ["/health", "/livez"] {
        let answer = callout.get(path).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_leaf_server_that_restarts_is_a_new_one_to_verify() {
    let mut options = options();
    options.device_port = free_address().port();
    let mut site = TestSite::start(&options).await;
    site.register("0001").await;
    let mark = site.mark();
    let mut before = site.log_in("0001").await.unwrap();
    let verified = "server verified server=leaf-1 server_id=";
    let first = site.logged(mark, verified).await;

    site.site.leaves()[0].kill9().await.unwrap();
    before.ended(PATIENCE).await.unwrap();
    drop(before);
    ready(&mut site, "HTTP/1.0 503").await;
    let mark = site.mark();
    site.site.restart_leaf(0).await.unwrap();
    let mut device = eventually("the first log-in after the restart", async || {
        site.log_in("0001").await.ok()
    })
    .await;
    confirm(&mut device).await;
    let second = site.logged(mark, verified).await;
    let id = |line: &str| line.split_once("server_id=").unwrap().1.to_owned();
    assert_ne!(id(&first), id(&second));
    ready(&mut site, "HTTP/1.0 200").await;
    site.revoke("0001").await;
    device.ended(PATIENCE).await.unwrap();
    assert!(matches!(
        site.log_in("0001").await,
        Err(LogInError::Refused)
    ));
}

#[tokio::test]
async fn with_one_of_two_leaf_servers_gone_devices_log_in_at_the_other() {
    let mut options = options();
    options.leaf_nodes = 2;
    let mut site = TestSite::start(&options).await;
    site.register("0001").await;
    let door = site.door_of(1);
    drop(door.log_in("0001").await.unwrap());
    site.site.leaves()[0].kill9().await.unwrap();
    let mut device = eventually("a log-in at the server that is left", async || {
        door.log_in("0001").await.ok()
    })
    .await;
    confirm(&mut device).await;
    site.revoke("0001").await;
    device.ended(PATIENCE).await.unwrap();
    ready(&mut site, "\"degraded\":[]").await;
}

/// Waits until the replica says this of its readiness.
async fn ready(site: &mut TestSite, words: &str) {
    eventually(&format!("{words:?} from /readyz"), async || {
        let report = site.site.callouts()[0].get("/readyz").await.unwrap();
        report.contains(words).then_some(())
    })
    .await;
}
