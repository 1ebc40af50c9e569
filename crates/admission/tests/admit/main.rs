//! Every way in which a decision can go, from one good log-in changed in one place each.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

mod case;

use std::time::Duration;

use leafgate_admission::Reason;
use leafgate_identity::{Binding, DeviceId, Fingerprint, SpkiHash, TrustDomainName, UnixMs};
use leafgate_policy::ConnectionType;
use leafgate_registry::{CertificateStatus, DeviceState, RevocationReason};
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};

use case::{Case, HOUR, NOW};

fn revoked() -> CertificateStatus {
    CertificateStatus::Revoked {
        at: NOW,
        reason: RevocationReason::KeyCompromise,
    }
}

#[test]
fn a_good_log_in_gets_its_policy_until_its_certificate_ends() {
    let admission = Case::good().decide().unwrap();
    assert_eq!(admission.grant.publish.allow(), ["device.0001.floor.2"]);
    assert_eq!(admission.until, NOW.saturating_add(HOUR));
}

#[test]
fn each_flaw_has_its_reason() {
    type Flaw = (&'static str, fn(&mut Case), Reason);
    let table: &[Flaw] = &[
        ("no record", |c| c.record = None, Reason::DeviceUnknown),
        (
            "record of another id",
            |c| c.device().id = DeviceId::parse("0002").unwrap(),
            Reason::DeviceUnknown,
        ),
        (
            "pending",
            |c| c.device().state = DeviceState::Pending,
            Reason::DevicePending,
        ),
        (
            "disabled",
            |c| c.device().state = DeviceState::Disabled,
            Reason::DeviceDisabled,
        ),
        (
            "revoked",
            |c| c.device().state = DeviceState::Revoked,
            Reason::DeviceRevoked,
        ),
        (
            "deleted",
            |c| c.device().state = DeviceState::Deleted,
            Reason::DeviceDeleted,
        ),
        (
            "another trust domain",
            |c| c.device().trust_domain = TrustDomainName::parse("b").unwrap(),
            Reason::DomainMismatch,
        ),
        (
            "revoked device with a revoked certificate",
            |c| {
                c.device().state = DeviceState::Revoked;
                c.certificate().status = revoked();
            },
            Reason::DeviceRevoked,
        ),
        (
            "no certificate recorded",
            |c| c.record.as_mut().unwrap().certificates.clear(),
            Reason::CertificateUnknown,
        ),
        (
            "another fingerprint",
            |c| c.certificate().fingerprint = Some(Fingerprint::from_bytes([9; 32])),
            Reason::CertificateUnknown,
        ),
        (
            "prepared and never signed",
            |c| {
                c.certificate().status = CertificateStatus::Prepared;
                c.certificate().fingerprint = None;
            },
            Reason::CertificateUnknown,
        ),
        (
            "same serial from a second issuer",
            |c| c.identity.issuer = SpkiHash::from_bytes([8; 32]),
            Reason::CertificateUnknown,
        ),
        (
            "an earlier generation",
            |c| c.device().generation = 3,
            Reason::CertificateUnknown,
        ),
        (
            "certificate revoked",
            |c| c.certificate().status = revoked(),
            Reason::CertificateRevoked,
        ),
        (
            "superseded past its overlap",
            |c| c.certificate().status = CertificateStatus::Superseded { at: NOW },
            Reason::CertificateSuperseded,
        ),
        (
            "expired this very moment",
            |c| c.now = NOW.saturating_add(HOUR),
            Reason::CertificateExpired,
        ),
        (
            "not valid for another two minutes",
            |c| c.now = NOW.saturating_sub(HOUR + Duration::from_secs(120)),
            Reason::CertificateNotYetValid,
        ),
        (
            "another site",
            |c| c.device().site = Some("cph2".to_owned()),
            Reason::SiteMismatch,
        ),
        (
            "no policy",
            |c| c.device().device_type = "fan".to_owned(),
            Reason::PolicyNone,
        ),
        (
            "attribute missing",
            |c| c.device().attributes.clear(),
            Reason::PolicyVariableMissing,
        ),
        (
            "attribute with a wildcard",
            |c| {
                drop(
                    c.device()
                        .attributes
                        .insert("floor".to_owned(), ">".to_owned()),
                );
            },
            Reason::PolicyVariableMalformed,
        ),
        (
            "quarantined without a quarantine grant",
            |c| {
                c.device().device_type = "valve".to_owned();
                c.device().state = DeviceState::Quarantined;
            },
            Reason::PolicyQuarantineNone,
        ),
        (
            "websocket",
            |c| c.connection.connection_type = ConnectionType::Websocket,
            Reason::ConnectionTypeNotAllowed,
        ),
        (
            "leaf node",
            |c| c.connection.connection_type = ConnectionType::Leafnode,
            Reason::ConnectionTypeNotAllowed,
        ),
        (
            "foreign network",
            |c| c.connection.source = Some("192.0.2.1".parse().unwrap()),
            Reason::SourceNotAllowed,
        ),
        (
            "address unknown",
            |c| c.connection.source = None,
            Reason::SourceNotAllowed,
        ),
    ];
    for (name, flaw, expected) in table {
        let mut case = Case::good();
        flaw(&mut case);
        assert_eq!(case.decide().map(drop), Err(*expected), "{name}");
    }
}

#[test]
fn what_is_no_flaw_admits() {
    type Variation = (&'static str, fn(&mut Case));
    let table: &[Variation] = &[
        ("its own site", |c| {
            c.device().site = Some("cph1".to_owned());
        }),
        ("not valid for another half minute", |c| {
            c.now = NOW.saturating_sub(HOUR + Duration::from_secs(30));
        }),
        ("known by its chain alone", |c| {
            c.binding = Binding::Chain;
            c.record.as_mut().unwrap().certificates.clear();
        }),
    ];
    for (name, vary) in table {
        let mut case = Case::good();
        vary(&mut case);
        assert!(case.decide().is_ok(), "{name}: {:?}", case.decide());
    }
}

#[test]
fn by_chain_a_revoked_serial_of_the_same_issuer_is_refused() {
    let mut case = Case::good();
    case.binding = Binding::Chain;
    case.certificate().status = revoked();
    case.certificate().fingerprint = None;
    assert_eq!(case.decide().map(drop), Err(Reason::CertificateRevoked));
    case.identity.issuer = SpkiHash::from_bytes([8; 32]);
    assert!(case.decide().is_ok());
}

#[test]
fn by_chain_a_later_generation_accepts_no_certificate_from_before_it() {
    let mut case = Case::good();
    case.binding = Binding::Chain;
    case.record.as_mut().unwrap().certificates.clear();
    case.device().registered_at_ms = NOW.saturating_sub(Duration::from_secs(60));
    let two_hours = HOUR + HOUR;
    case.identity.validity.not_before = NOW.saturating_sub(two_hours);
    assert_eq!(case.decide().map(drop), Err(Reason::CertificateUnknown));

    case.device().generation = 1;
    assert!(case.decide().is_ok(), "first registered with what it had");

    case.device().generation = 2;
    case.identity.validity.not_before = NOW.saturating_sub(HOUR);
    assert!(case.decide().is_ok(), "issued since and dated back");
}

#[test]
fn within_the_overlap_a_superseded_certificate_admits_until_its_end() {
    let mut case = Case::good();
    let at = NOW.saturating_add(Duration::from_secs(60));
    case.certificate().status = CertificateStatus::Superseded { at };
    assert_eq!(case.decide().unwrap().until, at);
}

#[test]
fn a_quarantined_device_gets_the_quarantine_grant() {
    let mut case = Case::good();
    case.device().state = DeviceState::Quarantined;
    let grant = case.decide().unwrap().grant;
    assert!(grant.quarantined);
    assert_eq!(grant.publish.allow(), ["device.0001.status"]);
}

fn any_state() -> impl Strategy<Value = DeviceState> {
    prop_oneof![
        Just(DeviceState::Pending),
        Just(DeviceState::Active),
        Just(DeviceState::Quarantined),
        Just(DeviceState::Disabled),
        Just(DeviceState::Revoked),
        Just(DeviceState::Deleted),
    ]
}

fn any_status() -> impl Strategy<Value = CertificateStatus> {
    prop_oneof![
        Just(CertificateStatus::Prepared),
        Just(CertificateStatus::Issued),
        Just(revoked()),
        (-10_000_i64..10_000).prop_map(|ms| CertificateStatus::Superseded {
            at: UnixMs::new(NOW.as_i64() + ms),
        }),
    ]
}

proptest! {
    /// Whatever else is combined, nobody gets in but an active or quarantined device with a
    /// recorded certificate of its own generation that is issued, or superseded within its overlap,
    /// and valid.
    #[test]
    fn only_the_entitled_get_in(
        state in any_state(),
        status in any_status(),
        generation in 1_u32..4,
        offset_ms in -8_000_000_i64..8_000_000,
        by_chain: bool,
    ) {
        let mut case = Case::good();
        case.binding = if by_chain { Binding::Chain } else { Binding::Issued };
        case.device().state = state;
        case.device().generation = generation;
        case.certificate().status = status;
        case.now = UnixMs::new(NOW.as_i64() + offset_ms);
        let valid = case.now < case.identity.validity.not_after
            && case.now.saturating_add(Duration::from_secs(60)) >= case.identity.validity.not_before;
        let entitled = matches!(state, DeviceState::Active | DeviceState::Quarantined)
            && generation == 2
            && status.admits(case.now)
            && valid;
        assert_eq!(case.decide().is_ok(), entitled);
        if let Ok(admission) = case.decide() {
            assert!(admission.until > case.now);
            assert!(admission.until <= case.identity.validity.not_after);
        }
    }
}
