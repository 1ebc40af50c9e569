//! What is told while the registry or an issuer is out of reach.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leafgate_runtime::Clock;

use super::super::StatusSettings;
use super::super::following::Knowledge;
use super::openssl::{refusal, state_in};
use super::world::{PATIENCE, World, eventually};

const MINUTE: Duration = Duration::from_secs(60);

/// Puts the registry out of reach, and waits until that was noticed.
async fn lose_registry(world: &World) {
    world.first.control.set_reachable(false);
    let waiting = async {
        loop {
            let now = world.clock.monotonic();
            let known = world.first.status.following.knowledge(now, 60 * MINUTE);
            if known != Knowledge::Fresh {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn without_the_registry_what_is_known_is_told_up_to_a_limit() {
    let world = World::start().await;
    let (kept, lost, strange) = (
        world.enrol("kept").await,
        world.enrol("lost").await,
        world.enrol("strange").await,
    );
    world.revoke_and_wait(&lost).await;
    let of_kept = world.request(&[&kept], &["-no_nonce"]);
    let of_lost = world.request(&[&lost], &[]);
    let of_strange = world.request(&[&strange], &[]);
    let answer = world.first.ask(of_kept.clone()).await;
    assert_eq!(state_in(&world, &answer.body, &kept), "good");
    lose_registry(&world).await;

    let ask = |request: &Vec<u8>| world.first.ask(request.clone());
    assert_eq!(state_in(&world, &ask(&of_kept).await.body, &kept), "good");
    assert_eq!(
        state_in(&world, &ask(&of_lost).await.body, &lost),
        "revoked"
    );
    // Not known here.
    let try_later = "trylater (3)";
    assert_eq!(refusal(&world, &ask(&of_strange).await.body), try_later);

    // Signed anew from memory. OpenSSL, by the machine's clock, would find it to be of the future.
    world.clock.advance(30 * MINUTE);
    let renewed = ask(&of_kept).await;
    assert_ne!(renewed.body, answer.body);
    assert!(renewed.body.len() > 100);
    world.clock.advance(31 * MINUTE);
    assert_eq!(refusal(&world, &ask(&of_kept).await.body), try_later);
    // A revocation is final, whatever else may be unknown.
    assert!(ask(&of_lost).await.body.len() > 100);

    world.first.control.set_reachable(true);
    let back = async {
        while ask(&of_kept).await.body.len() < 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.unwrap();
    assert!(ask(&of_strange).await.body.len() > 100);
}

#[tokio::test]
async fn the_last_list_is_served_until_its_end() {
    let world = World::start_with(StatusSettings {
        crl_lifetime: 60 * MINUTE,
        ..StatusSettings::default()
    })
    .await;
    lose_registry(&world).await;
    let list = || world.first.get_list();
    assert_eq!(list().await.status, 200);
    world.clock.advance(59 * MINUTE);
    let late = list().await;
    assert_eq!(late.status, 200);
    let max_age = late.header("cache-control").to_owned();
    let max_age = max_age.strip_prefix("max-age=").unwrap();
    let max_age: u64 = max_age.strip_suffix(", public").unwrap().parse().unwrap();
    assert!(max_age <= 60, "{max_age}");
    world.clock.advance(2 * MINUTE);
    let ended = list().await;
    assert_eq!((ended.status, ended.header("retry-after")), (503, "5"));
    assert_eq!(ended.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_list_that_could_not_be_signed_is_tried_again_and_waited_for() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    world.devices.fails.store(true, Ordering::SeqCst);
    let position = world.revoke(&leaf).await;
    eventually("a list failed", || {
        world.first.metrics().contains(r#"outcome="failed"} "#)
    })
    .await;
    let served = world.first.status.served_after(&position);
    let soon = tokio::time::timeout(Duration::from_millis(300), served);
    assert!(soon.await.is_err(), "no list holds the revocation");
    world.devices.fails.store(false, Ordering::SeqCst);
    world.first.served_after(&position).await;
    let list = world.devices.lists().pop().unwrap();
    assert!(list.revoked.contains(&leaf.serial));
}

#[tokio::test]
async fn a_revocation_during_an_outage_is_told_once_it_is_over() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    let request = world.request(&[&leaf], &["-no_nonce"]);
    world.first.ask(request.clone()).await;
    lose_registry(&world).await;
    let position = world.revoke(&leaf).await;
    let answer = world.first.ask(request.clone()).await;
    assert_eq!(state_in(&world, &answer.body, &leaf), "good");
    world.first.control.set_reachable(true);
    world.first.served_after(&position).await;
    let answer = world.first.ask(request).await;
    assert_eq!(state_in(&world, &answer.body, &leaf), "revoked");
}

#[tokio::test]
async fn nothing_has_begun_before_the_first_lists_and_answers_are_there() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    let signer = world.another_signer();
    let closed = signer.gate.write().await;
    let second = world.begin_replica(Arc::clone(&signer)).await;
    eventually("the first list is begun", || {
        signer.at_gate.load(Ordering::SeqCst) > 0
    })
    .await;
    assert!(!second.status.has_begun());
    drop(closed);
    eventually("it has begun", || second.status.has_begun()).await;
    assert_eq!(second.get_list().await.status, 200);
    let answer = second.ask(world.request(&[&leaf], &[])).await;
    assert_eq!(state_in(&world, &answer.body, &leaf), "good");
    assert_eq!(second.status.degraded(), [""; 0]);
}

#[tokio::test]
async fn a_list_that_can_not_be_signed_is_told_of_and_not_waited_for_at_the_start() {
    let world = World::start().await;
    let signer = world.another_signer();
    signer.fails.store(true, Ordering::SeqCst);
    let second = world.begin_replica(Arc::clone(&signer)).await;
    eventually("it has begun", || second.status.has_begun()).await;
    let degraded = second.status.degraded();
    assert!(
        degraded[0].contains(&world.devices_spki().to_string()[..8]),
        "{degraded:?}"
    );
    assert_eq!((degraded.len(), second.get_list().await.status), (1, 503));
    signer.fails.store(false, Ordering::SeqCst);
    eventually("the list is there", || second.status.degraded().is_empty()).await;
    assert_eq!(second.get_list().await.status, 200);
}
