//! One change of many devices.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use futures::{Stream, StreamExt};
use leafgate_access::Scope;
use leafgate_identity::SpkiHash;
use leafgate_pki::Issuer;
use leafgate_registrar::{BulkResult, DeviceAction, DeviceFilter, ErrorKind, RegistrarError};
use leafgate_registry::{CertificateStatus, DeviceState, NewDevice, Query, RevocationReason};

use crate::support::{Bench, NOW, act, id, new_device};

over_every_store!(
    the_selected_devices_are_changed_and_no_others,
    a_number_that_was_not_confirmed_stops_everything,
    a_device_that_changes_before_its_turn_is_left_alone,
    devices_of_one_issuer_are_revoked_with_its_reason,
    a_scope_bounds_the_selection,
    a_broken_off_change_is_resumed,
    many_devices_are_changed,
    who_reads_results_slowly_holds_nobody_up,
);

async fn fleet(bench: &Bench) {
    for (name, device_type, site) in [
        ("a1", "pump", "north"),
        ("a2", "valve", "north"),
        ("a3", "pump", "south"),
        ("b1", "pump", "north"),
    ] {
        let new = NewDevice {
            device_type: device_type.into(),
            site: Some(site.into()),
            attributes: BTreeMap::new(),
            ..new_device(name)
        };
        bench.registrar.register(new, &act()).await.unwrap();
    }
}

fn pumps() -> DeviceFilter {
    DeviceFilter {
        query: Query {
            device_type: Some("pump".into()),
            ..Query::default()
        },
        ..DeviceFilter::default()
    }
}

async fn outcomes(results: impl Stream<Item = BulkResult>) -> Vec<(String, bool)> {
    results
        .map(|result| (result.id.to_string(), result.outcome.is_ok()))
        .collect()
        .await
}

async fn states(bench: &Bench) -> Vec<DeviceState> {
    let mut states = Vec::new();
    for name in ["a1", "a2", "a3", "b1"] {
        states.push(bench.record(&id(name)).await.device.state);
    }
    states
}

async fn the_selected_devices_are_changed_and_no_others(bench: Bench) {
    use DeviceState::{Active, Quarantined};
    fleet(&bench).await;
    let registrar = &bench.registrar;
    let action = DeviceAction::Quarantine;
    assert_eq!(registrar.plan(&pumps(), action).await.unwrap(), 3);
    assert_eq!(states(&bench).await, [Active; 4], "a plan changes nothing");
    let results = registrar
        .apply(pumps(), action, 3, None, act)
        .await
        .unwrap();
    let expected = ["a1", "a3", "b1"].map(|name| (name.to_owned(), true));
    assert_eq!(outcomes(results).await, expected);
    assert_eq!(
        states(&bench).await,
        [Quarantined, Active, Quarantined, Quarantined]
    );
    // Those that it doesn't apply to are not selected.
    assert_eq!(registrar.plan(&pumps(), action).await.unwrap(), 0);
    let all = DeviceFilter::default();
    assert_eq!(registrar.plan(&all, DeviceAction::Enable).await.unwrap(), 3);
    assert_eq!(registrar.plan(&all, action).await.unwrap(), 1);
}

async fn a_number_that_was_not_confirmed_stops_everything(bench: Bench) {
    fleet(&bench).await;
    let before = bench.store.inner().position().await.unwrap();
    for expected in [0, 2, 4] {
        let refused = bench
            .registrar
            .apply(pumps(), DeviceAction::Disable, expected, None, act)
            .await;
        let refused = refused.map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        let differs = matches!(refused, RegistrarError::CountDiffers { found: 3, .. });
        assert!(differs, "{refused}");
    }
    assert_eq!(bench.store.inner().position().await.unwrap(), before);
}

async fn a_device_that_changes_before_its_turn_is_left_alone(bench: Bench) {
    fleet(&bench).await;
    let registrar = &bench.registrar;
    let results = registrar
        .apply(pumps(), DeviceAction::Disable, 3, None, act)
        .await
        .unwrap();
    let valve = leafgate_registry::DeviceEdit {
        device_type: Some("valve".into()),
        ..leafgate_registry::DeviceEdit::default()
    };
    registrar.edit(&id("a3"), valve, &act()).await.unwrap();
    let results: Vec<BulkResult> = results.collect().await;
    let refused = results[1].outcome.as_ref().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a3 was changed meanwhile and is no longer among the selected devices"
    );
    assert!(results[0].outcome.is_ok() && results[2].outcome.is_ok());
    assert_eq!(
        bench.record(&id("a3")).await.device.state,
        DeviceState::Active
    );
}

async fn devices_of_one_issuer_are_revoked_with_its_reason(bench: Bench) {
    fleet(&bench).await;
    for name in ["a1", "b1"] {
        bench.issued(&id(name)).await;
    }
    let of = |issuer| DeviceFilter {
        issuer: Some(issuer),
        ..DeviceFilter::default()
    };
    let reason = RevocationReason::CaCompromise;
    let action = DeviceAction::Revoke(reason);
    let registrar = &bench.registrar;
    let other = SpkiHash::from_bytes([7; 32]);
    assert_eq!(registrar.plan(&of(other), action).await.unwrap(), 0);
    let filter = of(bench.devices.spki());
    assert_eq!(registrar.plan(&filter, action).await.unwrap(), 2);
    let results = registrar
        .apply(filter.clone(), action, 2, None, act)
        .await
        .unwrap();
    assert!(outcomes(results).await.iter().all(|(_, done)| *done));
    let record = bench.record(&id("a1")).await;
    assert_eq!(record.device.state, DeviceState::Revoked);
    let revoked = CertificateStatus::Revoked { at: NOW, reason };
    assert_eq!(record.certificates[0].status, revoked);
    assert_eq!(
        bench.record(&id("a2")).await.device.state,
        DeviceState::Active
    );
    // Of revoked certificates there is nothing more to fear.
    let delete = DeviceAction::Delete;
    assert_eq!(registrar.plan(&filter, delete).await.unwrap(), 0);
}

async fn a_scope_bounds_the_selection(bench: Bench) {
    fleet(&bench).await;
    let filter = DeviceFilter {
        scope: Scope {
            sites: ["north"].into_iter().collect(),
            ..Scope::everything()
        },
        ..pumps()
    };
    let action = DeviceAction::Delete;
    let planned = bench.registrar.plan(&filter, action).await.unwrap();
    let results = bench
        .registrar
        .apply(filter, action, planned, None, act)
        .await
        .unwrap();
    let expected = ["a1", "b1"].map(|name| (name.to_owned(), true));
    assert_eq!(outcomes(results).await, expected);
}

async fn a_broken_off_change_is_resumed(bench: Bench) {
    fleet(&bench).await;
    let registrar = &bench.registrar;
    let action = DeviceAction::Disable;
    let rate = NonZeroU32::new(1000);
    let all = DeviceFilter::default();
    let results = registrar
        .apply(all.clone(), action, 4, rate, act)
        .await
        .unwrap();
    let some: Vec<_> = results.take(1).collect().await;
    assert_eq!(some.len(), 1);
    resume(&bench, &all, action).await;
    assert_eq!(states(&bench).await, [DeviceState::Disabled; 4]);
}

/// Plans and applies what is left. What was begun when the change broke off may be committed in between, which shows as
/// another number, or as a device that is not selected.
async fn resume(bench: &Bench, filter: &DeviceFilter, action: DeviceAction) {
    const BEGUN_AT_MOST: usize = 3;
    for _ in 0..=BEGUN_AT_MOST {
        let left = bench.registrar.plan(filter, action).await.unwrap();
        assert!(left <= BEGUN_AT_MOST, "{left}");
        let applied = bench
            .registrar
            .apply(filter.clone(), action, left, None, act);
        match applied.await {
            Ok(results) => {
                assert_eq!(outcomes(results).await.len(), left);
                return;
            }
            Err(RegistrarError::CountDiffers { found, .. }) => assert!(found < left),
            Err(other) => panic!("{other}"),
        }
    }
    panic!("more was begun than there are devices");
}

async fn many_devices_are_changed(bench: Bench) {
    const FLEET: usize = 1500;
    let lines = (0..FLEET).map(|number| {
        let new = new_device(&format!("d{number}"));
        (0, Ok::<_, RegistrarError>(new))
    });
    let lines = futures::stream::iter(lines.collect::<Vec<_>>());
    assert_eq!(bench.registrar.import(lines, act).count().await, FLEET);
    let all = DeviceFilter::default();
    let action = DeviceAction::Disable;
    let planned = bench.registrar.plan(&all, action).await.unwrap();
    assert_eq!(planned, FLEET, "over more than one page");
    let results = bench
        .registrar
        .apply(all, action, FLEET, None, act)
        .await
        .unwrap();
    let done = outcomes(results).await;
    assert!(done.len() == FLEET && done.iter().all(|(_, done)| *done));
}

/// What has begun goes on while nobody reads, and gives back the connections that it has to the store.
async fn who_reads_results_slowly_holds_nobody_up(bench: Bench) {
    let ids: Vec<_> = (0..300).map(|number| format!("d{number}")).collect();
    let lines = ids
        .iter()
        .map(|name| (0, Ok::<_, RegistrarError>(new_device(name))));
    let lines = futures::stream::iter(lines.collect::<Vec<_>>());
    let mut imported = bench.registrar.import(lines, act);
    while imported.next().await.is_some() {
        bench.record(&id(&ids[0])).await;
    }
    let action = DeviceAction::Disable;
    let all = DeviceFilter::default();
    let registrar = &bench.registrar;
    let mut results = registrar.apply(all, action, 300, None, act).await.unwrap();
    while let Some(result) = results.next().await {
        assert!(result.outcome.is_ok());
        for other in &ids[..8] {
            bench.record(&id(other)).await;
        }
    }
}

/// The pace is the timer's, which a test can hold and turn.
#[tokio::test(start_paused = true)]
async fn a_rate_bounds_how_many_are_changed_in_a_second() {
    let bench = Bench::in_memory();
    fleet(&bench).await;
    let rate = NonZeroU32::new(2);
    let all = DeviceFilter::default();
    let registrar = &bench.registrar;
    let mut results = registrar
        .apply(all, DeviceAction::Disable, 4, rate, act)
        .await
        .unwrap();
    assert!(results.next().await.is_some(), "the first at once");
    for _ in 0..3 {
        let early = tokio::time::timeout(Duration::from_millis(499), results.next()).await;
        assert!(early.is_err(), "half a second has not passed");
        let due = tokio::time::timeout(Duration::from_millis(2), results.next()).await;
        assert!(due.unwrap().is_some());
    }
    assert!(results.next().await.is_none());
}
