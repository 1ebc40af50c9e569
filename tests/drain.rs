//! A replica that is told to end answers what it has in hand, takes nothing more, and ends.

use std::time::{Duration, Instant};

use leafgate_nats_config::subjects::AUTH_REQUEST;
use leafgate_processes::Signal;
use leafgate_testkit::delaying_store::{Moment, Step};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::bench::{Bench, BenchOptions};
use crate::support::in_process::InProcess;
use crate::support::{PATIENCE, TestSite, machine, without_replicas};

/// What reaches a worker within this time of the signal has reached it before it reads on: less
/// than `LEAVE_PAUSE` in the callout's `worker.rs`.
const HEARD_IN_TIME: Duration = Duration::from_millis(45);

/// How often a machine that is too busy for that may try.
const ATTEMPTS: usize = 20;

#[tokio::test]
async fn what_is_in_hand_is_answered_before_the_end() {
    let site = TestSite::start(&without_replicas()).await;
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

/// The client library gives a subscription up after its next read, so the requests come one by one.
#[tokio::test]
async fn what_the_server_sends_before_it_hears_of_the_end_is_answered() {
    let _machine = machine().await;
    for _ in 0..ATTEMPTS {
        let options = BenchOptions {
            wire: true,
            ..BenchOptions::default()
        };
        let mut bench = Bench::start(options).await;
        if end_unheard(&mut bench).await {
            return;
        }
    }
    panic!("the requests never reached the worker within {HEARD_IN_TIME:?} of the signal");
}

/// Tells the callout to end, and sends requests before the server hears of it; whether all of them
/// came in time, and so were answered.
async fn end_unheard(bench: &mut Bench) -> bool {
    // Device and server are known from here on, so that no look-up delays an answer.
    bench.assert_goes_on("at first").await;
    let wire = bench.wire.as_ref().unwrap();
    let mut worker = wire.connection_that_sent(&format!("SUB {AUTH_REQUEST} "));
    let messages: Vec<_> = (0..10)
        .map(|_| bench.message(&bench.good_claims()))
        .collect();

    worker.hold();
    let told = Instant::now();
    bench.callout.child_mut().signal(Signal::SIGTERM).unwrap();
    assert!(worker.sends("UNSUB ").await);
    let mut inboxes = Vec::new();
    for message in &messages {
        let inbox = bench.send(message).await;
        let is_there = worker.delivers(&inbox).await;
        if told.elapsed() >= HEARD_IN_TIME {
            return false;
        }
        assert!(is_there, "gone after {} requests", inboxes.len());
        inboxes.push(inbox);
    }
    worker.release();
    for (message, inbox) in messages.iter().zip(&inboxes) {
        let answer = bench.answer(message, inbox, "an unheard end").await;
        assert!(answer.outcome.is_ok(), "{:?}", answer.outcome);
    }
    let status = bench.callout.stop(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(0));
    true
}

#[tokio::test]
async fn a_prober_that_says_nothing_does_not_keep_a_replica() {
    let site = TestSite::start(&without_replicas()).await;
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
    let mut site = TestSite::start(&without_replicas()).await;
    let callout = InProcess::start(&site, 0).await;
    site.site.leaves()[0].kill9().await.unwrap();
    callout.answers("/readyz", "HTTP/1.0 503").await;
    callout.terminate();
    callout.ended().await.unwrap();
}

#[tokio::test]
async fn a_replica_ends_that_never_reached_nats() {
    let mut site = TestSite::start(&without_replicas()).await;
    site.site.leaves()[0].kill9().await.unwrap();
    let callout = InProcess::spawn(&site, 0, |_| {}).await;
    callout.answers("/readyz", "HTTP/1.0 503").await;
    callout.terminate();
    callout.ended().await.unwrap();
}
