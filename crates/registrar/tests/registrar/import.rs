//! The registration of many devices.

use futures::{StreamExt, stream};
use leafgate_registrar::{ErrorKind, Imported, RegistrarError};
use leafgate_registry::{DeviceState, NewDevice};

use crate::faulty_store::Fault;
use crate::support::{Bench, act, id, new_device};

over_every_store!(
    each_line_has_its_result_in_order,
    one_bad_line_fails_alone,
    an_import_made_again_changes_nothing,
    an_import_broken_off_is_completed,
    a_deleted_device_is_registered_again,
    lines_of_a_group_that_was_lost_say_so,
    two_imports_of_the_same_devices_at_a_time_register_each_once,
    nothing_is_imported_out_of_scope,
);

/// What whoever reads the lines makes of them.
#[derive(Debug)]
enum LineError {
    Json(String),
    Registrar(RegistrarError),
}

impl From<RegistrarError> for LineError {
    fn from(error: RegistrarError) -> Self {
        Self::Registrar(error)
    }
}

type Line = Result<NewDevice, LineError>;
type Outcome = (u64, Result<Imported, LineError>);

async fn import(bench: &Bench, lines: Vec<Line>) -> Vec<Outcome> {
    let numbered: Vec<(u64, Line)> = (1..).zip(lines).collect();
    let results = bench.registrar.import(stream::iter(numbered), act);
    results.collect().await
}

fn devices(numbers: std::ops::Range<usize>) -> Vec<Line> {
    numbers
        .map(|number| Ok(new_device(&format!("d{number}"))))
        .collect()
}

/// r: registered, u: unchanged, j: no device, c: conflict, i: input, x: unavailable, f: forbidden.
fn letters(outcomes: &[Outcome]) -> String {
    let letter = |(_, outcome): &Outcome| match outcome {
        Ok(Imported::Registered(_)) => 'r',
        Ok(Imported::Unchanged(_)) => 'u',
        Err(LineError::Json(_)) => 'j',
        Err(LineError::Registrar(error)) => match error.kind() {
            ErrorKind::Conflict => 'c',
            ErrorKind::Input => 'i',
            ErrorKind::Unavailable => 'x',
            ErrorKind::Forbidden => 'f',
            other => panic!("{other:?}: {error}"),
        },
    };
    outcomes.iter().map(letter).collect()
}

async fn each_line_has_its_result_in_order(bench: Bench) {
    const LINES: usize = 2000;
    let outcomes = import(&bench, devices(0..LINES)).await;
    assert_eq!(outcomes.len(), LINES);
    for (place, (number, outcome)) in (0_u64..).zip(&outcomes) {
        assert_eq!(*number, place + 1);
        let Ok(Imported::Registered(record)) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(record.device.id, id(&format!("d{place}")));
    }
    let last = bench.record(&id("d1999")).await;
    assert!(matches!(&outcomes[1999].1, Ok(Imported::Registered(record)) if *record == last));
    let events = bench.event_kinds().await;
    assert_eq!(events, vec!["device-registered"; LINES]);
}

async fn one_bad_line_fails_alone(bench: Bench) {
    bench.registered("taken").await;
    bench.registered("Other").await;
    let valve = |name: &str| NewDevice {
        device_type: "valve".into(),
        ..new_device(name)
    };
    let lines = vec![
        Ok(new_device("a")),
        Err(LineError::Json("line 2 is no JSON".into())),
        Ok(valve("taken")),
        Ok(new_device("taken")),
        Ok(new_device("other")),
        Ok(new_device(&"x".repeat(37))),
        Ok(NewDevice {
            site: Some("a b".into()),
            ..new_device("b")
        }),
        Ok(new_device("c")),
        Ok(new_device("c")),
        Ok(valve("c")),
        Ok(new_device("d")),
    ];
    let outcomes = import(&bench, lines).await;
    assert_eq!(letters(&outcomes), "rjcuciirucr");
    let numbers: Vec<u64> = outcomes.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=11).collect::<Vec<_>>());
    let Err(LineError::Json(passed)) = &outcomes[1].1 else {
        panic!("{:?}", outcomes[1]);
    };
    assert_eq!(passed, "line 2 is no JSON");
    for name in ["a", "c", "d"] {
        assert_eq!(bench.record(&id(name)).await.device.version, 1);
    }
    assert_eq!(bench.record(&id("taken")).await.device.device_type, "pump");
}

async fn an_import_made_again_changes_nothing(bench: Bench) {
    assert_eq!(
        letters(&import(&bench, devices(0..700)).await),
        "r".repeat(700)
    );
    bench.registrar.disable(&id("d5"), &act()).await.unwrap();
    let before = bench.store.inner().position().await.unwrap();
    assert_eq!(
        letters(&import(&bench, devices(0..700)).await),
        "u".repeat(700)
    );
    assert_eq!(bench.store.inner().position().await.unwrap(), before);
    let disabled = bench.record(&id("d5")).await;
    assert_eq!(
        disabled.device.state,
        DeviceState::Disabled,
        "what was done since stays"
    );
}

async fn an_import_broken_off_is_completed(bench: Bench) {
    import(&bench, devices(0..100)).await;
    let outcomes = import(&bench, devices(50..200)).await;
    assert_eq!(letters(&outcomes), "u".repeat(50) + &"r".repeat(100));
}

async fn a_deleted_device_is_registered_again(bench: Bench) {
    let deleted = bench.registered("d1").await;
    bench.registrar.delete(&deleted, &act()).await.unwrap();
    assert_eq!(letters(&import(&bench, devices(0..3)).await), "rrr");
    assert_eq!(bench.record(&deleted).await.device.generation, 2);
}

async fn lines_of_a_group_that_was_lost_say_so(bench: Bench) {
    bench.store.plan([Fault::Lost]);
    assert_eq!(letters(&import(&bench, devices(0..4)).await), "xxxx");
    // Made again, what became of them shows.
    bench.store.plan([Fault::AnswerLost]);
    assert_eq!(letters(&import(&bench, devices(0..4)).await), "xxxx");
    assert_eq!(letters(&import(&bench, devices(0..6)).await), "uuuurr");
}

async fn two_imports_of_the_same_devices_at_a_time_register_each_once(bench: Bench) {
    const LINES: usize = 300;
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let numbered: Vec<(u64, Line)> = (1..).zip(devices(0..LINES)).collect();
            let registrar = bench.restarted();
            tokio::spawn(async move {
                let results = registrar.import(stream::iter(numbered), act);
                results.collect::<Vec<Outcome>>().await
            })
        })
        .collect();
    let mut registered = 0;
    for task in tasks {
        let letters = letters(&task.await.unwrap());
        registered += letters.matches('r').count();
        assert_eq!(letters.replace('u', "r"), "r".repeat(LINES));
    }
    assert_eq!(registered, LINES);
    assert_eq!(bench.events().await.len(), LINES);
}

async fn nothing_is_imported_out_of_scope(bench: Bench) {
    use leafgate_access::{Authority, Permission, Principal, Role, Scope};
    let principal = Principal {
        name: "api-key:north".into(),
        authority: Authority {
            roles: [Role::Provisioner].into_iter().collect(),
            scope: Scope {
                sites: ["north"].into_iter().collect(),
                ..Scope::everything()
            },
        },
    };
    let at = |name: &str, site: &str| NewDevice {
        site: Some(site.into()),
        ..new_device(name)
    };
    bench
        .registrar
        .register(at("theirs", "south"), &act())
        .await
        .unwrap();
    let lines = ["north", "south", "north"]
        .into_iter()
        .enumerate()
        .map(|(number, site)| Ok(at(&format!("d{number}"), site)))
        .chain([Ok(at("theirs", "south")), Ok(at("theirs", "north"))]);
    let numbered: Vec<(u64, Line)> = (1..).zip(lines).collect();
    let outcomes: Vec<Outcome> = bench
        .registrar
        .on_behalf_of(&principal, Permission::ProvisionDevices)
        .import(stream::iter(numbered), act)
        .collect()
        .await;
    assert_eq!(letters(&outcomes), "rfrfc");
}
