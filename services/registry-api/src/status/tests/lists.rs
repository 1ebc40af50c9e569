//! Which lists are made, and what is on them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leafgate_identity::SerialNumber;
use leafgate_pki::Issuer;
use leafgate_registry::{Change, DeviceStore, Epoch, EventKind};
use serde_json::json;

use super::super::StatusSettings;
use super::signer::{List, Signer};
use super::world::{World, eventually};

fn newest(signer: &Signer) -> List {
    signer.lists().pop().unwrap()
}

#[tokio::test]
async fn revocations_that_come_together_share_a_list() {
    let world = World::start().await;
    let mut leaves = Vec::new();
    for number in 0..20 {
        leaves.push(world.enrol(&format!("d{number}")).await);
    }
    let signer = &world.devices;
    let before = signer.lists().len();
    let reached = signer.at_gate.load(Ordering::SeqCst);
    let closed = signer.gate.write().await;
    let first = world.revoke(&leaves[0]).await;
    eventually("the first list", || {
        signer.at_gate.load(Ordering::SeqCst) > reached
    })
    .await;
    let mut last = first;
    for leaf in &leaves[1..] {
        last = world.revoke(leaf).await;
    }
    let status = Arc::clone(&world.first.status);
    let served = tokio::spawn(async move { status.served_after(&first).await });
    // While one list is made, no other is.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(signer.at_gate.load(Ordering::SeqCst), reached + 1);
    assert!(!served.is_finished());
    drop(closed);
    world.first.served_after(&last).await;
    served.await.unwrap();
    let made = signer.lists().split_off(before);
    let lengths: Vec<_> = made.iter().map(|list| list.revoked.len()).collect();
    assert_eq!(lengths, [1, 20]);
}

#[tokio::test]
async fn what_revokes_nothing_is_served_at_once() {
    let world = World::start().await;
    let before = world.devices.lists().len();
    world.enrol("0001").await;
    let position = world.store.position().await.unwrap();
    world.first.served_after(&position).await;
    assert_eq!(world.devices.lists().len(), before);
}

/// Whoever makes it, a list never lacks what one with a lower number has, and no number comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_registries_number_their_lists_in_one_order() {
    let world = Arc::new(World::start().await);
    let second = world.another_replica().await;
    for replica in [&world.first, &second] {
        let longest = Duration::from_millis(4);
        replica.control.delay_at_random(11, longest);
    }
    let mut leaves = Vec::new();
    for number in 0..40 {
        leaves.push(world.enrol(&format!("d{number}")).await);
    }
    for leaf in &leaves {
        let position = world.revoke(leaf).await;
        if leaf.serial.as_be_bytes()[0].is_multiple_of(4) {
            world.first.served_after(&position).await;
            assert!(newest(&world.devices).revoked.contains(&leaf.serial));
        }
    }
    let end = world.store.position().await.unwrap();
    world.first.served_after(&end).await;
    second.served_after(&end).await;

    let all: BTreeSet<SerialNumber> = leaves.iter().map(|leaf| leaf.serial).collect();
    for signer in [&world.devices, &second.devices] {
        assert!(signer.lists().len() > 1);
        assert_eq!(newest(signer).revoked, all);
    }
    let mut lists = world.devices.lists();
    lists.extend(second.devices.lists());
    lists.sort_by_key(|list| list.number);
    for pair in lists.windows(2) {
        assert_ne!(pair[0].number, pair[1].number);
        assert!(pair[0].revoked.is_subset(&pair[1].revoked));
    }
}

#[tokio::test]
async fn a_list_is_renewed_before_it_ends() {
    let world = World::start_with(StatusSettings {
        crl_lifetime: Duration::from_secs(2),
        ..StatusSettings::default()
    })
    .await;
    let leaf = world.enrol("0001").await;
    world.revoke_and_wait(&leaf).await;
    let number = newest(&world.devices).number;
    eventually("two more lists", || {
        newest(&world.devices).number >= number + 2
    })
    .await;
    let list = newest(&world.devices);
    assert_eq!(list.revoked, BTreeSet::from([leaf.serial]));
    assert_eq!(world.first.get(&world.first.list_url()).await.status, 200);
}

#[tokio::test]
async fn an_entry_leaves_one_list_after_the_end_of_its_certificate() {
    let world = World::start().await;
    let mut leaves = Vec::new();
    for id in ["a", "b", "c", "d"] {
        leaves.push(world.enrol(id).await);
    }
    world.revoke_and_wait(&leaves[0]).await;
    let on_list = || newest(&world.devices).revoked.contains(&leaves[0].serial);
    assert!(on_list());
    // Certificates of devices live for 168 h.
    world.clock.advance(Duration::from_secs(170 * 3600));
    world.revoke_and_wait(&leaves[1]).await;
    assert!(on_list(), "the first list after its end");
    world.revoke_and_wait(&leaves[2]).await;
    assert!(!on_list(), "the second list after its end");
    // What had ended before it was revoked is on no list, and wants none for long.
    assert_eq!(newest(&world.devices).revoked, BTreeSet::new());
    world.revoke_and_wait(&leaves[3]).await;
    assert_eq!(newest(&world.devices).revoked, BTreeSet::new());
}

#[tokio::test]
async fn what_was_revoked_before_the_start_is_on_the_first_list() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    world.revoke_and_wait(&leaf).await;
    let second = world.another_replica().await;
    let first_list = second.devices.lists().remove(0);
    assert_eq!(first_list.revoked, BTreeSet::from([leaf.serial]));
}

#[tokio::test]
async fn a_new_epoch_brings_a_new_reading_and_list() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    world.revoke_and_wait(&leaf).await;
    let before = world.devices.lists().len();
    let epoch = Change::start_epoch(Epoch::generate(), &world.act());
    let position = world.store.commit(&[epoch]).await.unwrap();
    world.first.served_after(&position).await;
    assert!(world.devices.lists().len() > before);
    assert_eq!(
        newest(&world.devices).revoked,
        BTreeSet::from([leaf.serial])
    );
}

#[tokio::test]
async fn an_event_of_a_newer_version_brings_a_new_reading_and_list() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    let request = world.request(&[&leaf], &["-no_nonce"]);
    let kept = world.first.ask(request.clone()).await.body;
    assert_eq!(world.first.ask(request.clone()).await.body, kept);
    let before = world.devices.lists().len();
    let kind = EventKind::Other("certificates-swept".to_owned());
    let note = Change::note(kind, json!({ "certificates": [] }), &world.act());
    let position = world.store.commit(&[note]).await.unwrap();
    world.first.served_after(&position).await;
    assert_eq!(world.devices.lists().len(), before + 1);
    assert_ne!(world.first.ask(request).await.body, kept);
}

#[tokio::test]
async fn a_device_that_is_deleted_takes_its_certificates_with_it() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    let act = world.act();
    world.registrar.delete(&leaf.device, &act).await.unwrap();
    let position = world.store.position().await.unwrap();
    world.first.served_after(&position).await;
    assert_eq!(
        newest(&world.devices).revoked,
        BTreeSet::from([leaf.serial])
    );
}

#[tokio::test]
async fn an_issuer_that_is_added_later_has_its_list_and_each_only_one_keeper() {
    let world = World::start().await;
    let other = World::start().await;
    let added = Arc::clone(&other.devices);
    let made = added.lists().len();
    for _ in 0..2 {
        let issuer = Arc::clone(&added) as Arc<dyn Issuer>;
        world.first.status.add_issuer(issuer).unwrap();
    }
    let position = world.store.position().await.unwrap();
    world.first.served_after(&position).await;
    assert_eq!(added.lists().len(), made + 1);
    let url = format!("{}/crl/{}.crl", world.first.base, other.devices_spki());
    assert_eq!(world.first.get(&url).await.status, 200);
}
