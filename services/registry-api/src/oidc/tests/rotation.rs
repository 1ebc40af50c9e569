use std::time::Duration;

use crate::oidc::OidcError;
use futures::future::join_all;
use serde_json::json;

use super::support::{Answer, Bench, first_rsa, p256, second_rsa};

#[tokio::test]
async fn a_new_key_counts_at_once_and_a_withdrawn_one_no_longer_than_keys_are_kept() {
    let bench = Bench::start().await;
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    bench.clock.advance(30);
    bench.idp.set_keys([second_rsa().jwk("rsa-2")]);
    let new = bench.token_of(second_rsa(), "rsa-2");
    // The old key's withdrawal is not known as long as nothing asks for newer keys.
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    assert_eq!(bench.reason(&new).await, "admitted");
    assert_eq!(bench.idp.keys_requests(), 2);
    bench.clock.advance(30);
    assert_eq!(bench.reason(&bench.token()).await, "key-unknown");
    // That the old one is unknown asked for newer keys too, and what they are is known by then.
    assert_eq!(bench.idp.keys_requests(), 3);
}

#[tokio::test]
async fn keys_are_read_again_before_they_are_used_when_they_are_old() {
    let bench = Bench::start().await;
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    bench.idp.set_keys([p256().jwk("ec-1")]);
    bench.clock.advance(599);
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    assert_eq!(bench.idp.keys_requests(), 1);
    bench.clock.advance(1);
    assert_eq!(bench.reason(&bench.token()).await, "key-unknown");
    assert_eq!(bench.idp.keys_requests(), 2);
    let bench = Bench::with_config("jwks_refresh_secs = 40").await;
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    bench.clock.advance(40);
    assert_eq!(bench.reason(&bench.token()).await, "admitted");
    assert_eq!(bench.idp.keys_requests(), 2);
}

#[tokio::test]
async fn a_flood_of_made_up_keys_asks_the_provider_once_in_thirty_seconds() {
    let bench = Bench::start().await;
    let made_up = |number: usize| bench.token_of(second_rsa(), &format!("made-up-{number}"));
    for round in 1..=3 {
        let tokens: Vec<_> = (0..500)
            .map(|number| made_up(round * 1_000 + number))
            .collect();
        let verdicts = join_all(tokens.iter().map(|token| bench.reason(token))).await;
        let other = verdicts
            .iter()
            .find(|verdict| !["key-unknown", "keys-unavailable"].contains(verdict));
        assert_eq!(other, None);
        assert_eq!(bench.reason(&made_up(round)).await, "key-unknown");
        assert_eq!(bench.idp.keys_requests(), round);
        // Whoever has a good token is not disturbed.
        assert_eq!(bench.reason(&bench.token()).await, "admitted");
        bench.clock.advance(29);
        assert_eq!(bench.reason(&made_up(round)).await, "key-unknown");
        assert_eq!(bench.idp.keys_requests(), round);
        bench.clock.advance(1);
    }
}

/// Each waiting request is memory and a place among the requests that are worked on.
#[tokio::test]
async fn only_some_wait_for_the_keys_at_a_time() {
    let bench = Bench::start().await;
    let keys = json!({"keys": [first_rsa().jwk("rsa-1")]});
    bench.idp.answer_keys(Answer::Held(keys));
    let token = bench.token();
    let waiting = join_all((0..100).map(|_| async {
        let verdict = bench.verify(&token).await;
        if let Err(OidcError::KeysUnavailable { retry_after }) = verdict {
            // Told while the keys were being read.
            assert_eq!(retry_after, Duration::from_secs(1));
            return "turned away";
        }
        verdict.unwrap();
        "admitted"
    }));
    let releasing = async {
        while bench.idp.keys_requests() == 0 {
            tokio::task::yield_now().await;
        }
        bench.idp.release();
    };
    let (verdicts, ()) = tokio::join!(waiting, releasing);
    let admitted = verdicts
        .iter()
        .filter(|verdict| **verdict == "admitted")
        .count();
    assert_eq!(admitted, 64);
    assert_eq!(bench.idp.keys_requests(), 1);
}

/// Else anybody could use up the one attempt of every thirty seconds.
#[tokio::test]
async fn the_keys_are_read_to_the_end_though_whoever_asked_hangs_up() {
    let bench = Bench::start().await;
    let keys = json!({"keys": [first_rsa().jwk("rsa-1")]});
    bench.idp.answer_keys(Answer::Held(keys));
    let token = bench.token();
    let hang_up = async {
        while bench.idp.keys_requests() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        verdict = bench.verify(&token) => panic!("{verdict:?}"),
        () = hang_up => {}
    }
    bench.idp.release();
    assert_eq!(bench.reason(&token).await, "admitted");
    assert_eq!(bench.idp.keys_requests(), 1);
}

#[tokio::test]
async fn a_token_may_name_no_key_only_if_it_can_mean_but_one() {
    let bench = Bench::start().await;
    let unnamed = |algorithm: &str| {
        let key = if algorithm == "RS256" {
            first_rsa()
        } else {
            p256()
        };
        key.sign(&json!({"alg": algorithm}), &bench.claims())
    };
    // One key for each algorithm.
    assert_eq!(bench.reason(&unnamed("RS256")).await, "admitted");
    assert_eq!(bench.reason(&unnamed("ES256")).await, "admitted");
    bench.clock.advance(600);
    bench
        .idp
        .set_keys([first_rsa().jwk("rsa-1"), second_rsa().jwk("rsa-2")]);
    assert_eq!(bench.reason(&unnamed("RS256")).await, "key-unnamed");
    assert_eq!(bench.reason(&unnamed("ES256")).await, "key-unknown");
    assert_eq!(bench.idp.keys_requests(), 2);
}

#[tokio::test]
async fn a_key_without_a_name_is_for_tokens_that_name_none() {
    let bench = Bench::start().await;
    let mut jwk = first_rsa().jwk("");
    jwk.as_object_mut().unwrap().remove("kid");
    bench.idp.set_keys([jwk]);
    assert_eq!(
        bench
            .reason(&bench.token_with(&json!({"alg": "RS256"}), &json!({})))
            .await,
        "admitted"
    );
    assert_eq!(bench.reason(&bench.token()).await, "key-unknown");
    let empty = bench.token_with(&json!({"alg": "RS256", "kid": ""}), &json!({}));
    assert_eq!(bench.reason(&empty).await, "key-unknown");
}

#[tokio::test]
async fn two_keys_may_share_a_name() {
    let bench = Bench::start().await;
    let keys = [
        first_rsa().jwk("same"),
        p256().jwk("same"),
        second_rsa().jwk("same"),
    ];
    bench.idp.set_keys(keys);
    for key in [first_rsa(), second_rsa(), p256()] {
        assert_eq!(bench.reason(&bench.token_of(key, "same")).await, "admitted");
    }
}

#[tokio::test]
async fn keys_for_encryption_sign_nothing() {
    let bench = Bench::start().await;
    let mut jwk = first_rsa().jwk("rsa-1");
    jwk["use"] = "enc".into();
    bench.idp.set_keys([jwk]);
    assert_eq!(bench.reason(&bench.token()).await, "key-unknown");
}
