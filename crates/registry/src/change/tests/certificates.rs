use super::*;

#[test]
fn a_log_in_supersedes_what_was_issued_before() {
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
    assert_eq!(record.device.version, 7);
}

#[test]
fn the_first_log_in_with_a_newer_certificate_begins_the_overlap() {
    let superseded = equipped();
    let third = new_certificate(3).id;
    let record =
        after(&Change::record_issued(&superseded, &third, fingerprint(3), &act(5)).unwrap());
    let begins = |record: &DeviceRecord| {
        [1, 2, 3, 9].map(|number| record.begins_overlap(&fingerprint(number)))
    };
    assert_eq!(begins(&superseded), [false, false, false, false]);
    assert_eq!(begins(&record), [false, false, true, false]);
    let begun = Change::supersede_older(&record, &third, UnixMs::new(900), &act(6)).unwrap();
    assert_eq!(begins(&after(&begun)), [false, false, false, false]);
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
