//! Requests that the callout can't answer in time.

use std::time::Duration;

use leafgate_nats_jwt::UserKey;
use tokio::sync::oneshot;

use crate::support::PATIENCE;
use crate::support::bench::{Bench, BenchOptions, MadeUpServer, Message};
use crate::support::decisions::Witness;

/// Half of the time for which the callout waits for the system account, at most.
const DEADLINE: Duration = Duration::from_millis(400);
const LIMITS: &str = "deadline_ms = 400\nconcurrent_lookups = 1\nwaiting_requests = 2";

/// While one unknown server is being asked for, the next two wait, and the oldest of them gives
/// way to a third. When the first has been asked for at last, it is too late for all.
#[tokio::test]
async fn surplus_and_late_requests_get_no_answer() {
    let options = BenchOptions {
        limits: LIMITS,
        ..BenchOptions::default()
    };
    let mut bench = Bench::start(options).await;
    bench.assert_goes_on("at first").await;
    let slow = MadeUpServer::new();
    let (asked, was_asked) = oneshot::channel();
    let (release, released) = oneshot::channel();
    let when = async {
        asked.send(()).unwrap();
        released.await.unwrap();
    };
    bench.vouch_when(slow.id(), slow.id(), when).await;

    let witness = Witness::begin(&mut bench.callout).await;
    bench.send(&bench.good_message_of(&slow)).await;
    tokio::time::timeout(PATIENCE, was_asked)
        .await
        .unwrap()
        .unwrap();
    for _ in 0..2 {
        bench
            .send(&bench.good_message_of(&MadeUpServer::new()))
            .await;
        pass(&mut bench).await;
    }
    bench
        .send(&bench.good_message_of(&MadeUpServer::new()))
        .await;
    tokio::time::sleep(DEADLINE + DEADLINE / 10).await;
    release.send(()).unwrap();
    let decisions = [
        "request-malformed",
        "request-malformed",
        "overloaded",
        "deadline-passed",
        "deadline-passed",
        "deadline-passed",
    ];
    witness
        .saw(&mut bench.callout, "surplus and late requests", &decisions)
        .await;
    bench.assert_goes_on("after them").await;
}

/// Waits until the callout has read all that was sent so far.
async fn pass(bench: &mut Bench) {
    let witness = Witness::begin(&mut bench.callout).await;
    let user: UserKey = bench.good_claims().user_nkey;
    bench.send(&Message::plain("garbage", user)).await;
    witness
        .saw(&mut bench.callout, "garbage", &["request-malformed"])
        .await;
}
