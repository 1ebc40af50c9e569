mod certificates;

use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, UnixMs, Validity};
use serde_json::json;

use super::*;
use crate::certificate::{CertificateStatus, Holder, NewCertificate};
use crate::reason::RevocationReason;

pub(crate) fn act(at: i64) -> Act {
    Act {
        actor: Actor::parse("test").unwrap(),
        at: UnixMs::new(at),
    }
}

pub(crate) fn new_device(id: &str) -> NewDevice {
    NewDevice {
        id: DeviceId::parse(id).unwrap(),
        trust_domain: "factory".parse().unwrap(),
        pending: false,
        device_type: "pump".to_owned(),
        site: None,
        attributes: BTreeMap::from([("line".to_owned(), "3".to_owned())]),
    }
}

pub(crate) fn new_certificate(serial: u8) -> NewCertificate {
    NewCertificate {
        id: CertificateId {
            issuer: SpkiHash::from_bytes([1; 32]),
            serial: SerialNumber::from_be_bytes(&[serial]).unwrap(),
        },
        profile: "device".to_owned(),
        public_key: SpkiHash::from_bytes([2; 32]),
        validity: Validity {
            not_before: UnixMs::new(0),
            not_after: UnixMs::new(1_000_000),
        },
    }
}

pub(crate) fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint::from_bytes([number; 32])
}

pub(crate) fn after(change: &Change) -> DeviceRecord {
    change.device_after().unwrap().clone()
}

fn registered() -> DeviceRecord {
    after(&Change::register(None, new_device("0001"), &act(1)).unwrap())
}

/// A device with certificates 1 (superseded by 2 until 500), 2 (issued) and 3 (prepared).
fn equipped() -> DeviceRecord {
    let mut record = registered();
    for serial in 1..=2 {
        let certificate = new_certificate(serial);
        record =
            after(&Change::prepare_certificate(&record, certificate.clone(), &act(2)).unwrap());
        let issued = Change::record_issued(&record, &certificate.id, fingerprint(serial), &act(3));
        record = after(&issued.unwrap());
    }
    let second = new_certificate(2).id;
    let superseded = Change::supersede_older(&record, &second, UnixMs::new(500), &act(3));
    record = after(&superseded.unwrap());
    after(&Change::prepare_certificate(&record, new_certificate(3), &act(4)).unwrap())
}

fn statuses(record: &DeviceRecord) -> Vec<(u8, CertificateStatus)> {
    let mut statuses: Vec<_> = record
        .certificates
        .iter()
        .map(|c| (c.serial.as_be_bytes()[0], c.status))
        .collect();
    statuses.sort_by_key(|(serial, _)| *serial);
    statuses
}

#[test]
fn registering_writes_the_first_version_and_says_what() {
    let change = Change::register(None, new_device("0001"), &act(7)).unwrap();
    let Write::Device(write) = change.write() else {
        panic!("{change:?}")
    };
    assert_eq!(
        (write.expected_version, write.record.device.version),
        (None, 1)
    );
    assert_eq!(write.record.device.state, DeviceState::Active);
    assert_eq!(change.event().kind, EventKind::DeviceRegistered);
    assert_eq!(
        change.event().detail,
        json!({
            "to": "active", "trust_domain": "factory", "device_type": "pump", "site": null,
            "attributes": {"line": "3"}, "generation": 1, "version": 1,
        })
    );
}

#[test]
fn an_id_is_free_again_after_deletion_only_and_in_its_spelling() {
    let live = registered();
    let again = Change::register(Some(&live), new_device("0001"), &act(2)).unwrap_err();
    assert!(
        matches!(
            again,
            BuildChangeError::IdTaken {
                state: DeviceState::Active,
                ..
            }
        ),
        "{again}"
    );

    let new = after(&Change::register(None, new_device("Pump"), &act(1)).unwrap());
    let tombstone = after(&Change::delete(&new, &act(2)).unwrap());
    assert!(Change::register(Some(&tombstone), new_device("pump"), &act(3)).is_err());
    let next = after(&Change::register(Some(&tombstone), new_device("Pump"), &act(3)).unwrap());
    assert_eq!((next.device.generation, next.device.version), (2, 3));
    assert_eq!(next.device.registered_at_ms, UnixMs::new(3));
}

#[test]
fn malformed_values_are_refused_with_their_name() {
    let refused = |spoil: &dyn Fn(&mut NewDevice)| {
        let mut new = new_device("0001");
        spoil(&mut new);
        Change::register(None, new, &act(1))
            .unwrap_err()
            .to_string()
    };
    let attribute = |name: &str, value: String| {
        let attributes = BTreeMap::from([(name.to_owned(), value)]);
        refused(&move |new| new.attributes = attributes.clone())
    };
    assert!(refused(&|new| new.device_type = "a.b".to_owned()).starts_with("device_type must be"));
    assert!(refused(&|new| new.device_type = String::new()).starts_with("device_type must be"));
    assert!(refused(&|new| new.site = Some(">".to_owned())).starts_with("site must be"));
    assert!(attribute("a b", String::new()).starts_with("attribute name \"a b\" must be"));
    assert!(attribute("a", "x".repeat(257)).starts_with("value of attribute \"a\" must have"));
    assert!(attribute("a", "x\n".to_owned()).starts_with("value of attribute \"a\" must have"));
    let many: BTreeMap<_, _> = (0..65).map(|n| (format!("a{n}"), String::new())).collect();
    assert_eq!(
        refused(&|new| new.attributes = many.clone()),
        "attributes must be 64 at most"
    );
}

#[test]
fn an_edit_tells_what_changed_and_refuses_to_change_nothing() {
    let record = registered();
    let edit = DeviceEdit {
        device_type: Some("pump".to_owned()),
        site: Some(Some("north".to_owned())),
        attributes: Some(BTreeMap::from([("rack".to_owned(), "9".to_owned())])),
    };
    let change = Change::edit(&record, edit.clone(), &act(2)).unwrap();
    assert_eq!(
        change.event().detail,
        json!({
            "site": {"from": null, "to": "north"},
            "attributes": {"set": {"rack": "9"}, "removed": ["line"]},
            "generation": 1, "version": 2,
        })
    );
    let edited = after(&change);
    let unchanged = Change::edit(&edited, edit, &act(3)).unwrap_err();
    assert!(matches!(unchanged, BuildChangeError::Unchanged { .. }));
    let revoked = after(&Change::transition(&edited, Action::Revoke, &act(3)).unwrap());
    let late = Change::edit(
        &revoked,
        DeviceEdit {
            site: Some(None),
            ..DeviceEdit::default()
        },
        &act(4),
    );
    assert!(matches!(
        late.unwrap_err(),
        BuildChangeError::EditIllegal { .. }
    ));
}

#[test]
fn revoking_and_deleting_a_device_revoke_every_certificate() {
    for (change, reason) in [
        (
            Change::transition(&equipped(), Action::Revoke, &act(9)),
            RevocationReason::Unspecified,
        ),
        (
            Change::revoke(&equipped(), RevocationReason::KeyCompromise, &act(9)),
            RevocationReason::KeyCompromise,
        ),
        (
            Change::transition(&equipped(), Action::Delete, &act(9)),
            RevocationReason::CessationOfOperation,
        ),
    ] {
        let change = change.unwrap();
        let revoked = CertificateStatus::Revoked {
            at: UnixMs::new(9),
            reason,
        };
        assert_eq!(
            statuses(&after(&change)),
            [(1, revoked), (2, revoked), (3, revoked)]
        );
        assert_eq!(change.event().detail["reason"], json!(reason));
        let told = [3, 1, 2].map(|number| {
            let new = new_certificate(number);
            json!({
                "issuer": new.id.issuer,
                "serial": new.id.serial,
                "not_after": new.validity.not_after,
            })
        });
        assert_eq!(change.event().detail["certificates"], json!(told));
        let Write::Device(write) = change.write() else {
            panic!("{change:?}")
        };
        assert_eq!(write.certificates.len(), 3);
    }
}

#[test]
fn errors_say_what_to_do() {
    let record = registered();
    let revoked = after(&Change::transition(&record, Action::Revoke, &act(2)).unwrap());
    let error = |record, action| {
        Change::transition(record, action, &act(3))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(&revoked, Action::Enable),
        "0001 is revoked: enable does not apply; a revocation is final: delete the device and register it again"
    );
    assert_eq!(
        error(&record, Action::Approve),
        "0001 is active: approve does not apply"
    );
}

#[test]
fn an_actor_has_a_printable_name() {
    assert_eq!(Actor::parse("cli:root").unwrap().to_string(), "cli:root");
    for wrong in ["", "a\nb", &"x".repeat(201)] {
        assert_eq!(Actor::parse(wrong), Err(ParseActorError), "{wrong:?}");
    }
}
