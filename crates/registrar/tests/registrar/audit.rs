//! The chain of events.

use leafgate_identity::SpkiHash;
use leafgate_registrar::{VerifyAuditError, verify_audit};
use leafgate_registry::{ChainError, Change, Event, NewCrl};
use serde_json::json;

use crate::support::{Bench, NOW, act};

over_every_store!(
    what_the_registrar_does_holds_together,
    long_chains_are_read_page_by_page,
    tampering_shows,
    truncation_shows,
);

async fn what_the_registrar_does_holds_together(bench: Bench) {
    let empty = verify_audit(&*bench.store).await.unwrap();
    assert_eq!(empty.head.seq, 0);
    let id = bench.registered("0001").await;
    bench.issued(&id).await;
    bench.registrar.delete(&id, &act()).await.unwrap();
    bench.registrar.build_crls(&act()).await.unwrap();
    let report = verify_audit(&*bench.store).await.unwrap();
    let position = bench.store.inner().position().await.unwrap();
    assert_eq!(report.head, position.head());
    assert_eq!(report.head.seq, 6);
    assert_eq!(report.epoch, position.epoch);
}

/// Commits this many events at once.
async fn append(bench: &Bench, count: u8) {
    let store = bench.store.inner();
    for issuer in 0..count {
        let changes: Vec<Change> = (0..100u8)
            .map(|n| {
                let mut bytes = [issuer; 32];
                bytes[0] = n;
                let next = NewCrl {
                    issuer: SpkiHash::from_bytes(bytes),
                    this_update: NOW,
                    next_update: NOW.saturating_add(std::time::Duration::from_secs(1)),
                };
                Change::record_crl(None, next, &act()).unwrap()
            })
            .collect();
        store.commit(&changes).await.unwrap();
    }
}

async fn long_chains_are_read_page_by_page(bench: Bench) {
    append(&bench, 21).await;
    let report = verify_audit(&*bench.store).await.unwrap();
    assert_eq!(report.head.seq, 2100);
}

fn alter(mut events: Vec<Event>) -> Vec<Event> {
    for event in events.iter_mut().filter(|event| event.seq == 150) {
        event.detail = json!({"number": 2});
    }
    events
}

fn rewrite(mut events: Vec<Event>) -> Vec<Event> {
    for event in events.iter_mut().filter(|event| event.seq == 200) {
        event.actor = "nobody".into();
        event.hash = event.computed_hash();
    }
    events
}

fn remove(mut events: Vec<Event>) -> Vec<Event> {
    events.retain(|event| event.seq != 150);
    events
}

fn truncate(mut events: Vec<Event>) -> Vec<Event> {
    events.retain(|event| event.seq <= 150);
    events
}

async fn tampering_shows(bench: Bench) {
    append(&bench, 2).await;
    bench.store.tamper(alter);
    let error = verify_audit(&*bench.store).await.unwrap_err();
    assert!(
        matches!(
            error,
            VerifyAuditError::Chain(ChainError::Altered { seq: 150 })
        ),
        "{error}"
    );
    assert_eq!(error.to_string(), "the audit trail is broken at event 150");
    bench.store.tamper(remove);
    let error = verify_audit(&*bench.store).await.unwrap_err();
    assert!(
        matches!(
            error,
            VerifyAuditError::Chain(ChainError::Gap { seq: 150, .. })
        ),
        "{error}"
    );
    bench.store.tamper(rewrite);
    let error = verify_audit(&*bench.store).await.unwrap_err();
    assert!(
        matches!(error, VerifyAuditError::HeadDiffers { seq: 200 }),
        "{error}"
    );
}

async fn truncation_shows(bench: Bench) {
    append(&bench, 2).await;
    bench.store.tamper(truncate);
    let error = verify_audit(&*bench.store).await.unwrap_err();
    assert!(
        matches!(
            error,
            VerifyAuditError::Truncated {
                newest: 150,
                expected: 200
            }
        ),
        "{error}"
    );
}
