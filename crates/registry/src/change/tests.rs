use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, UnixMs, Validity};
use serde_json::json;

use super::*;
use crate::certificate::{CertificateStatus, Holder, NewCertificate};
use crate::reason::RevocationReason;

fn act(at: i64) -> Act {
    Act {
        actor: Actor::parse("test").unwrap(),
        at: UnixMs::new(at),
    }
}

fn new_device(id: &str) -> NewDevice {
    NewDevice {
        id: DeviceId::parse(id).unwrap(),
        trust_domain: "factory".parse().unwrap(),
        pending: false,
        device_type: "pump".to_owned(),
        site: None,
        attributes: BTreeMap::from([("line".to_owned(), "3".to_owned())]),
    }
}

fn new_certificate(serial: u8) -> NewCertificate {
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

fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint::from_bytes([number; 32])
}

fn after(change: &Change) -> DeviceRecord {
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
        let at = UnixMs::new(500);
        let issued =
            Change::record_renewed(&record, &certificate.id, fingerprint(serial), at, &act(3));
        record = after(&issued.unwrap());
    }
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
    assert!(attribute("a b", String::new()).starts_with("attribute name must be"));
    assert!(attribute("a", "x".repeat(257)).starts_with("attribute value has"));
    assert!(attribute("a", "x\n".to_owned()).starts_with("attribute value has"));
    let many: BTreeMap<_, _> = (0..65).map(|n| (format!("a{n}"), String::new())).collect();
    assert_eq!(
        refused(&|new| new.attributes = many.clone()),
        "attributes are more than 64"
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
fn a_renewal_supersedes_what_was_issued_before() {
    let record = equipped();
    assert_eq!(
        statuses(&record),
        [
            (
                1,
                CertificateStatus::Superseded {
                    at: UnixMs::new(500)
                }
            ),
            (2, CertificateStatus::Issued),
            (3, CertificateStatus::Prepared),
        ]
    );
    assert_eq!(
        record
            .certificate_by_fingerprint(&fingerprint(2))
            .unwrap()
            .id(),
        new_certificate(2).id
    );
    assert_eq!(
        record.certificates[0].id(),
        new_certificate(3).id,
        "newest first"
    );
    assert_eq!(record.device.version, 6);
}

#[test]
fn a_plain_issue_leaves_the_others_alone() {
    let record = equipped();
    let issued =
        Change::record_issued(&record, &new_certificate(3).id, fingerprint(3), &act(5)).unwrap();
    let Write::Device(write) = issued.write() else {
        panic!("{issued:?}")
    };
    assert_eq!(write.certificates.len(), 1);
    assert_eq!(
        statuses(&after(&issued))[1..],
        [
            (2, CertificateStatus::Issued),
            (3, CertificateStatus::Issued)
        ]
    );
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
        assert_eq!(
            change.event().detail["certificates"]
                .as_array()
                .unwrap()
                .len(),
            3
        );
        let Write::Device(write) = change.write() else {
            panic!("{change:?}")
        };
        assert_eq!(write.certificates.len(), 3);
    }
}

#[test]
fn a_revocation_keeps_its_first_time_and_reason() {
    let id = new_certificate(2).id;
    let revoke = |record: &DeviceRecord, reason, at| {
        Change::revoke_certificate(record, &id, reason, &act(at))
    };
    let record = after(&revoke(&equipped(), RevocationReason::KeyCompromise, 8).unwrap());
    let twice = revoke(&record, RevocationReason::Superseded, 9).unwrap_err();
    assert!(
        matches!(twice, BuildChangeError::CertificateIllegal { .. }),
        "{twice}"
    );
    let deleted = after(&Change::delete(&record, &act(10)).unwrap());
    let first = CertificateStatus::Revoked {
        at: UnixMs::new(8),
        reason: RevocationReason::KeyCompromise,
    };
    assert_eq!(statuses(&deleted)[1], (2, first));
}

#[test]
fn a_certificate_revoked_before_its_signature_is_never_issued() {
    let deleted = after(&Change::delete(&equipped(), &act(9)).unwrap());
    let late = Change::record_issued(&deleted, &new_certificate(3).id, fingerprint(3), &act(10))
        .unwrap_err();
    assert!(
        matches!(late, BuildChangeError::CertificateIllegal { .. }),
        "{late}"
    );
}

#[test]
fn a_generation_accepts_no_certificate_of_an_earlier_one() {
    let deleted = after(&Change::delete(&equipped(), &act(9)).unwrap());
    let next = after(&Change::register(Some(&deleted), new_device("0001"), &act(10)).unwrap());
    assert_eq!(next.certificates.len(), 3, "the revocations stay known");
    assert_eq!(next.current_certificates().count(), 0);
    assert_eq!(next.certificate_by_fingerprint(&fingerprint(2)), None);
}

#[test]
fn certificates_are_prepared_only_where_they_may_be_used_and_once() {
    let record = equipped();
    let taken = Change::prepare_certificate(&record, new_certificate(3), &act(9)).unwrap_err();
    assert!(
        matches!(taken, BuildChangeError::CertificateExists { .. }),
        "{taken}"
    );
    let disabled = after(&Change::transition(&record, Action::Disable, &act(9)).unwrap());
    let refused = Change::prepare_certificate(&disabled, new_certificate(4), &act(10)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "0001 is disabled: no certificate is issued to it"
    );
    let mut backwards = new_certificate(4);
    backwards.validity.not_after = UnixMs::new(-1);
    assert!(Change::prepare_certificate(&record, backwards, &act(9)).is_err());
}

#[test]
fn a_service_certificate_goes_the_same_way() {
    let mut new = new_certificate(1);
    new.profile = "nats-server".to_owned();
    let prepared = Change::prepare_service_certificate("leaf-1", new, &act(1)).unwrap();
    assert_eq!(prepared.event().detail["service"], json!("leaf-1"));
    assert_eq!(prepared.event().device, None);
    let prepared = prepared.service_certificate_after().unwrap().clone();
    assert_eq!(
        prepared.holder,
        Holder::Service {
            name: "leaf-1".to_owned()
        }
    );

    let issued = Change::record_service_issued(&prepared, fingerprint(1), &act(2)).unwrap();
    let Write::ServiceCertificate(write) = issued.write() else {
        panic!("{issued:?}")
    };
    assert_eq!(write.before.as_ref(), Some(&prepared));
    let issued = write.after.clone();
    assert_eq!(
        (issued.status, issued.fingerprint),
        (CertificateStatus::Issued, Some(fingerprint(1)))
    );

    let superseded =
        Change::supersede_service_certificate(&issued, UnixMs::new(9), &act(3)).unwrap();
    let superseded = superseded.service_certificate_after().unwrap();
    let revoke = |certificate| {
        Change::revoke_service_certificate(certificate, RevocationReason::Superseded, &act(4))
    };
    let revoked = revoke(superseded).unwrap();
    assert!(revoke(revoked.service_certificate_after().unwrap()).is_err());
    assert!(Change::record_service_issued(&issued, fingerprint(2), &act(5)).is_err());
}

#[test]
fn a_device_certificate_changes_with_its_device_only() {
    let record = equipped();
    let refused = Change::revoke_service_certificate(
        &record.certificates[0],
        RevocationReason::default(),
        &act(9),
    );
    assert!(matches!(
        refused.unwrap_err(),
        BuildChangeError::CertificateUnknown { .. }
    ));
}

#[test]
fn crl_numbers_count_from_one() {
    let issuer = SpkiHash::from_bytes([1; 32]);
    let new = NewCrl {
        issuer,
        this_update: UnixMs::new(10),
        next_update: UnixMs::new(20),
    };
    let mut previous = None;
    for number in 1..=3 {
        let change = Change::record_crl(previous.as_ref(), new, &act(10)).unwrap();
        let Write::Crl(write) = change.write() else {
            panic!("{change:?}")
        };
        assert_eq!(
            (write.expected_number, write.crl.number),
            (previous.map(|crl| crl.number), number)
        );
        previous = Some(write.crl);
    }
    let backwards = NewCrl {
        next_update: UnixMs::new(10),
        ..new
    };
    assert!(Change::record_crl(None, backwards, &act(10)).is_err());
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
