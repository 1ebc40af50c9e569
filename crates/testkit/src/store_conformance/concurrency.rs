//! Several writers at once, on several handles.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leafgate_registry::{
    Action, Change, CommitError, DeviceEdit, DeviceState, DeviceStore, Event, FeedPosition, Query,
    verify_chain,
};
use tokio::task::JoinSet;

use super::StoreFixture;
use super::records::{act, all_events, apply, id, load, new_device, register, within};

const PATIENCE: Duration = Duration::from_secs(60);

/// The sequence is dense and the chain holds, every acknowledged change is there, and each caller was told the position
/// of its own event.
pub async fn two_writers_make_one_chain(fixture: &dyn StoreFixture) {
    const TASKS: usize = 8;
    const DEVICES: usize = 25;
    let handles = [fixture.open().await, fixture.open().await];
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&handles[task % 2]);
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..DEVICES {
                let text = format!("w{task}-{number}");
                let change =
                    Change::register(None, new_device(&text), &act(1)).expect("a good device");
                let position = store.commit(&[change]).await.expect("a free id");
                acknowledged.push((text, position));
            }
            acknowledged
        });
    }
    let acknowledged = within(PATIENCE, "the writers end", tasks.join_all())
        .await
        .concat();
    for store in handles {
        let events = all_events(&*store).await;
        assert_eq!(events.len(), TASKS * DEVICES);
        assert_eq!(
            verify_chain(&events),
            Ok(store.position().await.expect("a position").head())
        );
        for (text, position) in &acknowledged {
            assert_tells_of(&events[position.seq as usize - 1], text, position);
            assert_eq!(load(&*store, text).await.device.version, 1);
        }
    }
}

/// Of all who change one device at once each has to see the others' changes first: none is lost.
pub async fn two_writers_of_one_device_never_lose_a_change(fixture: &dyn StoreFixture) {
    const TASKS: u64 = 4;
    const EDITS: u64 = 10;
    let handles = [fixture.open().await, fixture.open().await];
    register(&*handles[0], "0001").await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&handles[task as usize % 2]);
        tasks.spawn(async move {
            for number in 0..EDITS {
                add_attribute(&*store, &format!("t{task}-{number}")).await;
            }
        });
    }
    within(PATIENCE, "the writers end", tasks.join_all()).await;
    let record = load(&*handles[0], "0001").await;
    assert_eq!(record.device.version, 1 + TASKS * EDITS);
    assert_eq!(record.device.attributes.len() as u64, 2 + TASKS * EDITS);
    assert_eq!(
        handles[1].position().await.expect("a position").seq,
        1 + TASKS * EDITS
    );
}

/// However many register one id at once, in whatever case, one gets it and the others hear who.
pub async fn one_id_is_given_once(fixture: &dyn StoreFixture) {
    let handles = [fixture.open().await, fixture.open().await];
    let spellings = ["pump-a", "Pump-A", "PUMP-A", "pump-A"];
    let mut tasks = JoinSet::new();
    for attempt in 0..12 {
        let store = Arc::clone(&handles[attempt % 2]);
        tasks.spawn(async move {
            let text = spellings[attempt % spellings.len()];
            let change = Change::register(None, new_device(text), &act(1)).expect("a good device");
            match store.commit(&[change]).await {
                Ok(_) => (text.to_owned(), true),
                Err(CommitError::IdTaken { existing, .. }) => (existing.to_string(), false),
                Err(other) => panic!("{other:?}"),
            }
        });
    }
    let answers = within(PATIENCE, "the attempts end", tasks.join_all()).await;
    let winners: Vec<_> = answers.iter().filter(|(_, won)| *won).collect();
    assert_eq!(winners.len(), 1);
    assert!(
        answers.iter().all(|(holder, _)| *holder == winners[0].0),
        "{answers:?}"
    );
    assert_eq!(
        handles[0]
            .find(&Query::default())
            .await
            .expect("readable devices")
            .items
            .len(),
        1
    );
}

/// Good and bad commits at once: each caller gets its own answer, whatever a store writes together.
pub async fn a_conflict_of_one_caller_is_not_that_of_others(fixture: &dyn StoreFixture) {
    const COMMITS: usize = 60;
    let store = fixture.open().await;
    let record = register(&*store, "0001").await;
    let stale = Change::transition(&record, Action::Disable, &act(2)).expect("legal");
    apply(
        &*store,
        Change::transition(&record, Action::Quarantine, &act(2)).expect("legal"),
    )
    .await;
    let mut tasks = JoinSet::new();
    for number in 0..COMMITS {
        let store = Arc::clone(&store);
        let good = Change::register(None, new_device(&format!("d{number}")), &act(3))
            .expect("a good device");
        // Every third commit begins well and fails at its second change.
        let changes = if number % 3 == 0 {
            vec![good, stale.clone()]
        } else {
            vec![good]
        };
        tasks.spawn(async move { (number, store.commit(&changes).await) });
    }
    let mut positions = BTreeSet::new();
    for (number, result) in within(PATIENCE, "the commits end", tasks.join_all()).await {
        let found = store
            .load(&id(&format!("d{number}")))
            .await
            .expect("an answer");
        match result {
            Ok(position) => {
                assert!(number % 3 != 0 && found.is_some(), "{number}");
                positions.insert(position.seq);
            }
            Err(CommitError::Conflict { .. }) => {
                assert!(number % 3 == 0 && found.is_none(), "{number}");
            }
            Err(other) => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!(positions, (3..3 + COMMITS as u64 * 2 / 3).collect());
    let events = all_events(&*store).await;
    assert_eq!(
        verify_chain(&events),
        Ok(store.position().await.expect("a position").head())
    );
}

/// Two devices that only ever change together are never seen apart, nor the feed behind what was read.
pub async fn readers_see_whole_commits_only(fixture: &dyn StoreFixture) {
    const ROUNDS: u64 = 40;
    let (writer, reader) = (fixture.open().await, fixture.open().await);
    let (mut left, mut right) = (
        register(&*writer, "left").await,
        register(&*writer, "right").await,
    );
    let writing = tokio::spawn(async move {
        for _ in 0..ROUNDS {
            let action = match left.device.state {
                DeviceState::Active => Action::Disable,
                _ => Action::Enable,
            };
            let changes = [&left, &right]
                .map(|record| Change::transition(record, action, &act(2)).expect("legal"));
            writer.commit(&changes).await.expect("the only writer");
            [left, right] = changes.map(|change| change.device_after().expect("a device").clone());
        }
    });
    loop {
        let page = reader
            .find(&Query::default())
            .await
            .expect("readable devices");
        let [left, right] = page.items.as_slice() else {
            panic!("{page:?}")
        };
        assert_eq!(
            (left.device.version, left.device.state),
            (right.device.version, right.device.state)
        );
        let told = reader.position().await.expect("a position").seq;
        assert!(
            told >= 2 * left.device.version,
            "{told} is behind version {}",
            left.device.version
        );
        if left.device.version == 1 + ROUNDS {
            break;
        }
        tokio::task::yield_now().await;
    }
    within(PATIENCE, "the writer ends", writing)
        .await
        .expect("the writer ended well");
}

async fn add_attribute(store: &dyn DeviceStore, name: &str) {
    loop {
        let record = load(store, "0001").await;
        let mut attributes = record.device.attributes.clone();
        attributes.insert(name.to_owned(), String::new());
        let edit = DeviceEdit {
            attributes: Some(attributes),
            ..DeviceEdit::default()
        };
        match store
            .commit(&[Change::edit(&record, edit, &act(2)).expect("a new attribute")])
            .await
        {
            Ok(_) => return,
            Err(CommitError::Conflict { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn assert_tells_of(event: &Event, text: &str, position: &FeedPosition) {
    assert_eq!(event.head(), position.head());
    assert_eq!(event.device.as_ref().map(|id| id.as_str()), Some(text));
}
