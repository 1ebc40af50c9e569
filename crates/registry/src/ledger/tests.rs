use leafgate_identity::UnixMs;

use super::*;
use crate::chain::verify_chain;
use crate::change::NewCrl;
use crate::change::tests::{act, after, fingerprint, new_certificate, new_device};
use crate::feed::Epoch;
use crate::head::EventHash;
use crate::reason::RevocationReason;
use crate::state::Action;

fn position() -> FeedPosition {
    FeedPosition {
        epoch: Epoch::generate(),
        seq: 0,
        hash: EventHash::ZERO,
    }
}

fn register(text: &str) -> Change {
    Change::register(None, new_device(text), &act(1)).unwrap()
}

fn prepare(registration: &Change, serial: u8) -> Change {
    Change::prepare_certificate(&after(registration), new_certificate(serial), &act(2)).unwrap()
}

fn prepare_service(serial: u8) -> Change {
    Change::prepare_service_certificate("leaf-1", new_certificate(serial), &act(3)).unwrap()
}

fn number_first_crl(issuer: u8) -> Change {
    let new = NewCrl {
        issuer: SpkiHash::from_bytes([issuer; 32]),
        this_update: UnixMs::new(10),
        next_update: UnixMs::new(20),
    };
    Change::record_crl(None, new, &act(10)).unwrap()
}

#[test]
fn commits_that_share_a_transaction_see_each_other() {
    let first = [register("Pump")];
    let again = [register("pump")];
    let disable = [Change::transition(&after(&first[0]), Action::Disable, &act(2)).unwrap()];
    let revoke = [Change::transition(&after(&first[0]), Action::Revoke, &act(2)).unwrap()];
    let mut ledger = Ledger::at(position());
    ledger.commit(&first).unwrap();
    let taken = ledger.commit(&again).unwrap_err();
    assert!(matches!(taken, CommitError::IdTaken { .. }), "{taken:?}");

    ledger.commit(&disable).unwrap();
    let stale = ledger.commit(&revoke).unwrap_err();
    assert!(matches!(stale, CommitError::Conflict { .. }), "{stale:?}");
    let records: Vec<_> = ledger.devices().collect();
    assert_eq!(records, [&after(&disable[0])]);
}

#[test]
fn what_the_store_holds_is_compared() {
    let mut ledger = Ledger::at(position());
    let device = register("Pump");
    let stored = after(&device);
    ledger.knows_device(stored.device.id.clone(), 2);
    ledger.knows_certificate(new_certificate(1).id);
    ledger.knows_crl(SpkiHash::from_bytes([1; 32]), 1);

    let register = [device];
    let stale = [Change::transition(&stored, Action::Disable, &act(2)).unwrap()];
    let (serial, crl) = ([prepare_service(1)], [number_first_crl(1)]);
    let refusals = [&register, &stale, &serial, &crl].map(|changes| ledger.commit(changes));
    assert!(
        matches!(
            refusals,
            [
                Err(CommitError::IdTaken { .. }),
                Err(CommitError::Conflict { .. }),
                Err(CommitError::SerialTaken { .. }),
                Err(CommitError::Conflict { .. }),
            ]
        ),
        "{refusals:?}"
    );
    assert_eq!(ledger.events(), []);
}

#[test]
fn a_service_certificate_is_compared_as_a_whole() {
    let prepared = prepare_service(1);
    let prepared = prepared.service_certificate_after().unwrap();
    let issue = [Change::record_service_issued(prepared, fingerprint(1), &act(4)).unwrap()];
    let other = Certificate {
        prepared_at: UnixMs::new(99),
        ..prepared.clone()
    };
    for (stored, fits) in [
        (None, false),
        (Some(other), false),
        (Some(prepared.clone()), true),
    ] {
        let mut ledger = Ledger::at(position());
        if let Some(stored) = stored {
            ledger.knows_service_certificate(stored);
        }
        assert_eq!(ledger.commit(&issue).is_ok(), fits);
        assert_eq!(ledger.certificates().count(), usize::from(fits));
    }
}

#[test]
fn a_refused_commit_leaves_nothing_to_those_after_it() {
    let first = register("a");
    let good = [first.clone(), prepare(&first, 1), number_first_crl(1)];
    let mut bad = good.to_vec();
    bad.push(first);
    let mut ledger = Ledger::at(position());
    ledger.commit(&bad).unwrap_err();
    let written = |ledger: &Ledger<'_>| {
        let certificates = ledger.certificates().count();
        (
            ledger.devices().count(),
            certificates,
            ledger.crls().count(),
        )
    };
    assert_eq!(written(&ledger), (0, 0, 0));
    assert_eq!(ledger.events(), []);

    let position = ledger.commit(&good).unwrap();
    assert_eq!(written(&ledger), (1, 1, 1));
    assert_eq!(
        verify_chain(ledger.events().iter().map(Link::event)),
        Ok(position.head())
    );
}

#[test]
fn needs_name_what_is_compared() {
    let first = register("Pump");
    let service = prepare_service(2);
    let certificate = service.service_certificate_after().unwrap();
    let reason = RevocationReason::default();
    let revoke = Change::revoke_service_certificate(certificate, reason, &act(4)).unwrap();
    let prepare = prepare(&first, 1);
    let needs = Needs::of(&[first, prepare, service, revoke, number_first_crl(7)]);
    let ids = |serials: &[u8]| {
        serials
            .iter()
            .map(|serial| new_certificate(*serial).id)
            .collect()
    };
    assert_eq!(needs.folded_ids, BTreeSet::from(["pump".to_owned()]));
    assert_eq!(needs.new_certificates, ids(&[1, 2]));
    assert_eq!(needs.service_certificates, ids(&[2]));
    assert_eq!(
        needs.issuers,
        BTreeSet::from([SpkiHash::from_bytes([7; 32])])
    );
}
