//! A replica that is told to end answers what it has in hand, takes nothing more, and ends.

use leafgate_testkit::delaying_store::{Moment, Step};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::in_process::InProcess;
use crate::support::{TestSite, options};

/// A site whose replicas are started by the test.
async fn bare_site() -> TestSite {
    let mut options = options();
    options.replicas = 0;
    TestSite::start(&options).await
}

#[tokio::test]
async fn what_is_in_hand_is_answered_before_the_end() {
    let site = bare_site().await;
    let callout = InProcess::start(&site, 0).await;
    site.register("0001").await;
    let mut hold = callout.store.hold(Step::Load, Moment::After);
    let door = site.door();
    let log_in = tokio::spawn(async move { door.log_in("0001").await });
    hold.reached().await;
    callout.terminate();
    callout.answers("/readyz", "HTTP/1.0 503").await;
    let alive = callout.get("/livez").await.unwrap();
    assert!(alive.starts_with("HTTP/1.0 200"), "{alive}");
    drop(hold);
    log_in.await.unwrap().unwrap();
    callout.ended().await.unwrap();
}

#[tokio::test]
async fn a_prober_that_says_nothing_does_not_keep_a_replica() {
    let site = bare_site().await;
    let callout = InProcess::start(&site, 0).await;
    let mut silent = TcpStream::connect(callout.health()).await.unwrap();
    // Answered, so the earlier connection has been accepted, too.
    callout.answers("/livez", "HTTP/1.0 200").await;
    callout.terminate();
    callout.ended().await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_replica_ends_while_nats_is_down() {
    let mut site = bare_site().await;
    let callout = InProcess::start(&site, 0).await;
    site.site.leaves()[0].kill9().await.unwrap();
    callout.answers("/readyz", "HTTP/1.0 503").await;
    callout.terminate();
    callout.ended().await.unwrap();
}

#[tokio::test]
async fn a_replica_ends_that_never_reached_nats() {
    let mut site = bare_site().await;
    site.site.leaves()[0].kill9().await.unwrap();
    let callout = InProcess::spawn(&site, 0, |_| {}).await;
    callout.answers("/readyz", "HTTP/1.0 503").await;
    callout.terminate();
    callout.ended().await.unwrap();
}
