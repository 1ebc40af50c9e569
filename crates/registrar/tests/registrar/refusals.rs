//! Refused requests in the audit trail.

use std::collections::BTreeMap;

use leafgate_registry::EventKind;
use serde_json::json;

use crate::support::{Bench, act};

over_every_store!(
    refusals_are_summed_in_one_event,
    a_sum_has_a_hundred_lines_at_most
);

async fn refusals_are_summed_in_one_event(bench: Bench) {
    let none = BTreeMap::new();
    bench
        .registrar
        .record_refusals(&none, &act())
        .await
        .unwrap();
    assert_eq!(bench.events().await, []);
    let line = |actor: &str, reason: &str, count| ((actor.to_owned(), reason.to_owned()), count);
    let counts = BTreeMap::from([
        line("api-key:a", "scope-exceeded", 2),
        line("api-key:b", "role-insufficient", 5),
        line("api-key:c", "role-insufficient", 0),
    ]);
    bench
        .registrar
        .record_refusals(&counts, &act())
        .await
        .unwrap();
    let events = bench.events().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind, EventKind::RequestsRefused);
    assert_eq!(
        events[0].detail,
        json!({
            "refused": [
                { "actor": "api-key:b", "reason": "role-insufficient", "count": 5 },
                { "actor": "api-key:a", "reason": "scope-exceeded", "count": 2 },
            ],
            "total": 7,
        })
    );
}

async fn a_sum_has_a_hundred_lines_at_most(bench: Bench) {
    let counts: BTreeMap<_, _> = (1..=150_u64)
        .map(|number| {
            (
                (format!("guess-{number}"), "key-unknown".to_owned()),
                number,
            )
        })
        .collect();
    bench
        .registrar
        .record_refusals(&counts, &act())
        .await
        .unwrap();
    let events = bench.events().await;
    let detail = &events[0].detail;
    let lines = detail["refused"].as_array().unwrap();
    assert_eq!(lines.len(), 100);
    assert_eq!(lines[0]["count"], 150);
    assert_eq!(detail["others"], (1..=50).sum::<u64>());
    assert_eq!(detail["total"], (1..=150).sum::<u64>());
}
