use std::time::Duration;

use crate::oidc::OidcError;
use hyper::StatusCode;
use serde_json::json;

use super::support::{Answer, Bench, first_rsa, second_rsa};

const DAY_SECS: u64 = 24 * 3_600;

/// A token that outlives every outage here.
fn lasting(bench: &Bench) -> String {
    bench.token_but(&json!({"exp": 4_000_000_000_u64}))
}

#[tokio::test]
async fn keys_count_for_a_day_while_the_provider_is_away() {
    let bench = Bench::start().await;
    let token = lasting(&bench);
    assert_eq!(bench.reason(&token).await, "admitted");
    bench.idp.stop().await;
    for _ in 0..23 {
        bench.clock.advance(3_600);
        assert_eq!(bench.reason(&token).await, "admitted");
    }
    bench.clock.advance(3_599);
    assert_eq!(bench.reason(&token).await, "admitted");
    bench.clock.advance(1);
    assert_eq!(bench.reason(&token).await, "keys-unavailable");
    bench.idp.restart().await;
    bench.clock.advance(30);
    assert_eq!(bench.reason(&token).await, "admitted");
    assert_eq!(bench.idp.keys_requests(), 2);
}

#[tokio::test]
async fn how_long_they_count_is_configured() {
    let bench = Bench::with_config("jwks_refresh_secs = 60\njwks_stale_secs = 100").await;
    let token = lasting(&bench);
    assert_eq!(bench.reason(&token).await, "admitted");
    bench.idp.stop().await;
    bench.clock.advance(99);
    assert_eq!(bench.reason(&token).await, "admitted");
    bench.clock.advance(1);
    assert_eq!(bench.reason(&token).await, "keys-unavailable");
}

#[tokio::test]
async fn without_keys_it_is_said_when_to_come_again() {
    let bench = Bench::start().await;
    bench.idp.stop().await;
    let token = bench.token();
    let retry_after = async || match bench.verify(&token).await {
        Err(OidcError::KeysUnavailable { retry_after }) => retry_after.as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!(retry_after().await, 30);
    bench.clock.advance(10);
    assert_eq!(retry_after().await, 20);
    bench.idp.restart().await;
    // The provider is not asked more often for it.
    assert_eq!(retry_after().await, 20);
    bench.clock.advance(20);
    assert_eq!(bench.reason(&token).await, "admitted");
}

/// With the provider away nobody knows whether the key is a new one.
#[tokio::test]
async fn an_unknown_key_is_no_verdict_while_the_provider_is_away() {
    let bench = Bench::start().await;
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    let new = bench.token_of(second_rsa(), "rsa-2");
    assert_eq!(bench.reason(&new).await, "key-unknown");
    bench.clock.advance(30);
    bench
        .idp
        .answer_keys(Answer::Status(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(bench.reason(&new).await, "keys-unavailable");
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    bench
        .idp
        .set_keys([first_rsa().jwk("rsa-1"), second_rsa().jwk("rsa-2")]);
    assert_eq!(bench.reason(&new).await, "keys-unavailable");
    bench.clock.advance(30);
    assert_eq!(bench.reason(&new).await, "admitted");
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_given_up() {
    let bench = Bench::with_config("timeout_ms = 100").await;
    bench.idp.answer_keys(Answer::Held(json!({"keys": []})));
    assert_eq!(bench.reason(&bench.token()).await, "keys-unavailable");
}

/// The first who meets an outage waits; whoever has a key that counts does not wait for the provider to come back.
#[tokio::test]
async fn nobody_waits_for_a_provider_that_is_known_to_be_away() {
    let bench = Bench::with_config("timeout_ms = 10000").await;
    let token = lasting(&bench);
    assert_eq!(bench.reason(&token).await, "admitted");
    bench.clock.advance(600);
    bench
        .idp
        .answer_keys(Answer::Status(StatusCode::BAD_GATEWAY));
    assert_eq!(bench.reason(&token).await, "admitted");
    assert_eq!(bench.idp.keys_requests(), 2);
    bench.clock.advance(30);
    bench
        .idp
        .answer_keys(Answer::Held(json!({"keys": [second_rsa().jwk("rsa-2")]})));
    // The provider holds its answer, and this comes all the same.
    assert_eq!(bench.reason(&token).await, "admitted");
    poll(|| bench.idp.keys_requests() == 3).await;
    assert_eq!(bench.reason(&token).await, "admitted");
    bench.idp.release();
    // Once it has answered, its answer counts.
    let new = bench.token_of(second_rsa(), "rsa-2");
    assert_eq!(bench.reason(&new).await, "admitted");
    assert_eq!(bench.reason(&token).await, "key-unknown");
}

#[tokio::test]
async fn keys_that_were_never_read_again_do_not_come_back() {
    let bench = Bench::start().await;
    let token = lasting(&bench);
    assert_eq!(bench.reason(&token).await, "admitted");
    bench.idp.stop().await;
    bench.clock.advance(10 * DAY_SECS);
    assert_eq!(bench.reason(&token).await, "keys-unavailable");
    bench.clock.advance(30);
    assert_eq!(bench.reason(&token).await, "keys-unavailable");
}

async fn poll(done: impl Fn() -> bool) {
    let polling = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), polling)
        .await
        .unwrap();
}
