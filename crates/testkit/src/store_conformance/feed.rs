//! The chain of events and its followers.

use std::sync::Arc;
use std::time::Duration;

use leafgate_registry::{
    Action, Change, DeviceStore, Epoch, Event, EventHash, EventKind, FeedPosition, Head,
    verify_chain,
};

use super::StoreFixture;
use super::records::{
    act, all_events, apply, certificate_id, knows, load, new_certificate, new_device, number_crl,
    register, register_with_certificate, within,
};

/// Long enough for the slowest machine; a store that does its duty needs a fraction of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Position zero, and no events.
pub async fn a_new_registry_has_an_empty_feed(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let position = store.position().await.expect("a position");
    assert_eq!(position.head(), Head::GENESIS);
    assert_eq!(all_events(&*store).await, []);
    assert!(knows(&*store, &position).await.expect("an answer"));
}

/// All handles of a registry tell the same position, which another registry does not know.
pub async fn two_registries_have_two_epochs(one: &dyn StoreFixture, other: &dyn StoreFixture) {
    let (first, second) = (one.open().await, one.open().await);
    let position = first.position().await.expect("a position");
    assert_eq!(second.position().await.expect("a position"), position);
    let elsewhere = other.open().await;
    assert!(!knows(&*elsewhere, &position).await.expect("an answer"));
}

/// One event for each change, with all that the change says of it, and a chain that holds.
pub async fn every_change_appends_its_event(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    let register = Change::register(None, new_device("0001"), &act(1_000)).expect("a good device");
    let record = register.device_after().expect("a device").clone();
    let disable = Change::transition(&record, Action::Disable, &act(999)).expect("legal");
    let service = Change::prepare_service_certificate(
        "leaf-1",
        new_certificate(certificate_id(1)),
        &act(2_000),
    )
    .expect("a good certificate");
    let changes = [register, disable, service, number_crl(None, 1)];
    for (place, change) in changes.iter().enumerate() {
        let position = store
            .commit(std::slice::from_ref(change))
            .await
            .expect("the change fits");
        let events = all_events(&*store).await;
        assert_eq!(events.len(), place + 1);
        let event = &events[place];
        let body = change.event();
        assert_eq!(
            (event.at, &event.actor, &event.kind),
            (body.at, &body.actor, &body.kind)
        );
        assert_eq!((&event.device, &event.detail), (&body.device, &body.detail));
        assert_eq!(verify_chain(&events), Ok(position.head()));
        assert_eq!(store.position().await.expect("a position"), position);
    }
}

/// Pages of any size give the same feed, and there is nothing after its end.
pub async fn events_come_in_pages_without_gaps(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    for number in 0..7 {
        register(&*store, &format!("d{number}")).await;
    }
    let all = all_events(&*store).await;
    assert_eq!(all.len(), 7);
    for limit in [1, 2, 3, 7, 8] {
        let mut paged: Vec<Event> = Vec::new();
        loop {
            let after = paged.last().map_or(0, |event| event.seq);
            let page = store
                .events_after(after, limit)
                .await
                .expect("a readable feed");
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= limit);
            paged.extend(page);
            assert!(paged.len() <= all.len(), "the feed has no end");
        }
        assert_eq!(paged, all);
    }
    assert_eq!(store.events_after(7, 10).await.expect("an answer"), []);
    assert_eq!(
        store.events_after(u64::MAX, 10).await.expect("an answer"),
        []
    );
}

/// What wasn't done isn't told.
pub async fn a_refused_commit_leaves_no_event(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    register(&*store, "0001").await;
    let fits = Change::register(None, new_device("0002"), &act(2)).expect("a good device");
    let taken = Change::register(None, new_device("0001"), &act(2)).expect("a good device");
    store
        .commit(&[fits, taken])
        .await
        .expect_err("the id is taken");
    register(&*store, "0003").await;
    let events = all_events(&*store).await;
    let devices: Vec<_> = events
        .iter()
        .filter_map(|event| event.device.as_ref())
        .map(|id| id.as_str())
        .collect();
    assert_eq!(devices, ["0001", "0003"]);
    assert_eq!(
        verify_chain(&events),
        Ok(store.position().await.expect("a position").head())
    );
}

/// Woken by commits through another handle, a follower gets every event once and in order, soon.
pub async fn a_follower_on_another_handle_sees_every_commit(fixture: &dyn StoreFixture) {
    const DEVICES: usize = 40;
    let (writer, follower) = (fixture.open().await, fixture.open().await);
    let following = tokio::spawn(async move {
        let mut head = Head::GENESIS;
        while head.seq < DEVICES as u64 {
            follower.wake().await;
            for event in follower
                .events_after(head.seq, 16)
                .await
                .expect("a readable feed")
            {
                head = head.follow(&event).expect("a chain");
            }
        }
        head
    });
    for number in 0..DEVICES {
        register(&*writer, &format!("d{number}")).await;
    }
    let head = within(PATIENCE, "the follower is there", following)
        .await
        .expect("the follower ended well");
    assert_eq!(head, writer.position().await.expect("a position").head());
}

/// Between two calls of `wake` nothing is missed.
pub async fn wake_tells_of_a_commit_from_before_it_was_called(fixture: &dyn StoreFixture) {
    let (writer, follower) = (fixture.open().await, fixture.open().await);
    assert_woken_early(&writer, &follower).await;
}

/// A commit wakes those who wait on the very handle that made it.
pub async fn wake_tells_of_a_commit_of_its_own_handle(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    assert_woken_early(&store, &store).await;
}

/// Without any commit `wake` returns all the same, so that whoever follows can look after itself.
pub async fn wake_ends_without_a_commit(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    within(PATIENCE, "wake", store.wake()).await;
    within(PATIENCE, "wake", store.wake()).await;
}

/// A new epoch is an event like any other; what was written stays, and positions of the old epoch are unknown.
pub async fn a_new_epoch_keeps_the_chain(fixture: &dyn StoreFixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let record = register(&*store, "0001").await;
    let before = store.position().await.expect("a position");
    let epoch = Epoch::generate();
    let started = store
        .commit(&[Change::start_epoch(epoch, &act(5))])
        .await
        .expect("always possible");
    assert_eq!((started.epoch, started.seq), (epoch, 2));
    assert_eq!(other.position().await.expect("a position"), started);
    assert!(!knows(&*other, &before).await.expect("an answer"));
    assert!(knows(&*other, &started).await.expect("an answer"));

    let after = apply(
        &*other,
        Change::transition(&record, Action::Disable, &act(6)).expect("legal"),
    )
    .await;
    assert_eq!(load(&*store, "0001").await, after);
    let events = all_events(&*store).await;
    assert_eq!(events[1].kind, EventKind::EpochStarted);
    let position = store.position().await.expect("a position");
    assert_eq!(
        (position.epoch, Ok(position.head())),
        (epoch, verify_chain(&events))
    );
}

/// Every position that the feed passed through is known; another hash, number or epoch is not.
pub async fn unknown_positions_are_told_from_known_ones(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    register_with_certificate(&*store, "0001", certificate_id(1)).await;
    let newest = store.position().await.expect("a position");
    let at = |head: Head| FeedPosition {
        seq: head.seq,
        hash: head.hash,
        ..newest
    };
    let events = all_events(&*store).await;
    let passed = std::iter::once(Head::GENESIS).chain(events.iter().map(Event::head));
    for head in passed {
        assert!(
            knows(&*store, &at(head)).await.expect("an answer"),
            "{head:?}"
        );
        let other_hash = Head {
            hash: EventHash::from([0xaa; 32]),
            ..head
        };
        assert!(!knows(&*store, &at(other_hash)).await.expect("an answer"));
        let other_epoch = FeedPosition {
            epoch: Epoch::generate(),
            ..at(head)
        };
        assert!(!knows(&*store, &other_epoch).await.expect("an answer"));
    }
    let future = Head {
        seq: newest.seq + 1,
        hash: newest.hash,
    };
    assert!(!knows(&*store, &at(future)).await.expect("an answer"));
}

/// That `wake` returns because of a commit, sooner than it would have without one: three times, for
/// which a busy machine may need more attempts.
async fn assert_woken_early(writer: &Arc<dyn DeviceStore>, follower: &Arc<dyn DeviceStore>) {
    const ATTEMPTS: u32 = 30;
    let mut early = 0;
    for number in 0..ATTEMPTS {
        register(&**writer, &format!("d{number}")).await;
        let woken = tokio::time::timeout(Duration::from_millis(400), follower.wake()).await;
        early += u32::from(woken.is_ok());
        if early == 3 {
            return;
        }
    }
    panic!("only {early} of {ATTEMPTS} commits from before wake was called woke at once");
}
