//! Whatever is done to a device in whatever order: only the listed transitions pass, and what holds for every record
//! holds after every step.

use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, UnixMs, Validity};
use leafgate_registry::{
    Act, Action, Actor, BuildChangeError, Certificate, CertificateId, CertificateStatus, Change,
    DeviceRecord, DeviceState, EventKind, NewCertificate, NewDevice, RevocationReason, Write,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Register { pending: bool },
    Transition(Action),
    Revoke(RevocationReason),
    Prepare,
    Issue { which: usize },
    Supersede { which: usize },
    RevokeCertificate { which: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => any::<bool>().prop_map(|pending| Step::Register { pending }),
        5 => proptest::sample::select(Action::ALL).prop_map(Step::Transition),
        1 => proptest::sample::select(RevocationReason::ALL).prop_map(Step::Revoke),
        4 => Just(Step::Prepare),
        4 => (0..4_usize).prop_map(|which| Step::Issue { which }),
        2 => (0..4_usize).prop_map(|which| Step::Supersede { which }),
        1 => (0..4_usize).prop_map(|which| Step::RevokeCertificate { which }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What may be, told once more and in another form than the crate's own table.
fn may_become(from: DeviceState, to: DeviceState) -> bool {
    use DeviceState::{Active, Deleted, Disabled, Pending, Quarantined, Revoked};
    match to {
        Pending => from == Deleted,
        Active => matches!(from, Pending | Quarantined | Disabled | Deleted),
        Quarantined => from == Active,
        Disabled => matches!(from, Active | Quarantined),
        Revoked => matches!(from, Pending | Active | Quarantined | Disabled),
        Deleted => from != Deleted,
    }
}

fn target(action: Action) -> DeviceState {
    match action {
        Action::Approve | Action::Enable => DeviceState::Active,
        Action::Disable => DeviceState::Disabled,
        Action::Quarantine => DeviceState::Quarantined,
        Action::Revoke => DeviceState::Revoked,
        Action::Delete => DeviceState::Deleted,
    }
}

struct World {
    record: DeviceRecord,
    time: i64,
    serials: u8,
}

impl World {
    fn act(&mut self) -> Act {
        self.time += 1;
        Act {
            actor: Actor::parse("test").expect("a name"),
            at: UnixMs::new(self.time),
        }
    }

    fn certificate(&self, which: usize) -> CertificateId {
        let known = self.record.certificates.get(which).map(Certificate::id);
        known.unwrap_or(CertificateId {
            issuer: SpkiHash::from_bytes([9; 32]),
            serial: serial(255),
        })
    }

    fn build(&mut self, step: &Step) -> Result<Change, BuildChangeError> {
        let act = self.act();
        let record = &self.record;
        match step {
            Step::Register { pending } => {
                Change::register(Some(record), new_device(*pending), &act)
            }
            Step::Transition(action) => Change::transition(record, *action, &act),
            Step::Revoke(reason) => Change::revoke(record, *reason, &act),
            Step::Prepare => {
                self.serials += 1;
                Change::prepare_certificate(record, new_certificate(self.serials), &act)
            }
            Step::Issue { which } => {
                let id = self.certificate(*which);
                let fingerprint = Fingerprint::from_bytes([self.serials; 32]);
                Change::record_issued(record, &id, fingerprint, &act)
            }
            Step::Supersede { which } => {
                let id = self.certificate(*which);
                Change::supersede_older(record, &id, UnixMs::new(self.time + 5), &act)
            }
            Step::RevokeCertificate { which } => {
                let id = self.certificate(*which);
                Change::revoke_certificate(record, &id, RevocationReason::KeyCompromise, &act)
            }
        }
    }
}

fn serial(number: u8) -> SerialNumber {
    SerialNumber::from_be_bytes(&[1, number]).expect("not zero")
}

fn new_device(pending: bool) -> NewDevice {
    NewDevice {
        id: DeviceId::parse("0001").expect("an id"),
        trust_domain: "factory".parse().expect("a name"),
        pending,
        device_type: "pump".to_owned(),
        site: None,
        attributes: BTreeMap::new(),
    }
}

fn new_certificate(number: u8) -> NewCertificate {
    NewCertificate {
        id: CertificateId {
            issuer: SpkiHash::from_bytes([1; 32]),
            serial: serial(number),
        },
        profile: "device".to_owned(),
        public_key: SpkiHash::from_bytes([2; 32]),
        validity: Validity {
            not_before: UnixMs::new(0),
            not_after: UnixMs::new(1_000_000),
        },
    }
}

/// Whether the step must pass, from what the states mean and not from how the crate decides it.
fn must_pass(record: &DeviceRecord, step: &Step, certificate: &CertificateId) -> bool {
    let state = record.device.state;
    let status = record
        .certificate(certificate)
        .map(|certificate| certificate.status);
    match step {
        Step::Register { .. } => state == DeviceState::Deleted,
        Step::Transition(Action::Approve) => state == DeviceState::Pending,
        Step::Transition(Action::Enable) => {
            matches!(state, DeviceState::Quarantined | DeviceState::Disabled)
        }
        Step::Transition(action) => may_become(state, target(*action)),
        Step::Revoke(_) => may_become(state, DeviceState::Revoked),
        Step::Prepare => matches!(
            state,
            DeviceState::Pending | DeviceState::Active | DeviceState::Quarantined
        ),
        Step::Issue { .. } => status == Some(CertificateStatus::Prepared),
        Step::Supersede { .. } => {
            let issued = |c: &&Certificate| c.status == CertificateStatus::Issued;
            let mut current = record.current_certificates().filter(issued);
            // Newest first: those that follow it are older.
            current.by_ref().any(|c| c.is(certificate)) && current.next().is_some()
        }
        Step::RevokeCertificate { .. } => {
            status.is_some_and(|status| !matches!(status, CertificateStatus::Revoked { .. }))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn only_legal_steps_pass_and_keep_the_record_whole(pending: bool, steps in steps()) {
        let act = Act { actor: Actor::parse("test").expect("a name"), at: UnixMs::new(0) };
        let first = Change::register(None, new_device(pending), &act).unwrap();
        let mut world = World { record: first.device_after().unwrap().clone(), time: 0, serials: 0 };
        for step in steps {
            let before = world.record.clone();
            let which = match step {
                Step::Issue { which }
                | Step::Supersede { which }
                | Step::RevokeCertificate { which } => which,
                _ => usize::MAX,
            };
            let expected = must_pass(&before, &step, &world.certificate(which));
            let built = world.build(&step);
            prop_assert_eq!(built.is_ok(), expected, "{:?} on {:?}: {:?}", step, before.device.state, built);
            let Ok(change) = built else { continue };

            let after = change.device_after().unwrap().clone();
            let Write::Device(write) = change.write() else { panic!("{change:?}") };
            prop_assert_eq!(write.expected_version, Some(before.device.version));
            prop_assert_eq!(after.device.version, before.device.version + 1);
            let again = matches!(step, Step::Register { .. });
            prop_assert_eq!(after.device.generation, before.device.generation + u32::from(again));
            let (from, to) = (before.device.state, after.device.state);
            prop_assert!(from == to || may_become(from, to), "{from} became {to}");
            prop_assert!(change.event().device.as_ref() == Some(&after.device.id));
            prop_assert!(!matches!(change.event().kind, EventKind::Other(_)));

            for old in &before.certificates {
                let kept = after.certificate(&old.id()).expect("a certificate is never forgotten");
                if matches!(old.status, CertificateStatus::Revoked { .. }) {
                    prop_assert_eq!(kept, old);
                }
            }
            if matches!(to, DeviceState::Revoked | DeviceState::Deleted) {
                let usable = |c: &Certificate| !matches!(c.status, CertificateStatus::Revoked { .. });
                prop_assert!(!after.certificates.iter().any(usable));
            }
            if matches!(step, Step::Supersede { .. }) {
                let id = world.certificate(which);
                let issued: Vec<_> = after
                    .current_certificates()
                    .filter(|c| c.status == CertificateStatus::Issued)
                    .collect();
                prop_assert!(issued.last().is_some_and(|oldest| oldest.is(&id)), "{issued:?}");
                let newer = before
                    .current_certificates()
                    .filter(|c| c.status == CertificateStatus::Issued)
                    .take_while(|c| !c.is(&id));
                prop_assert_eq!(issued.len(), newer.count() + 1, "newer ones stay");
            }
            world.record = after;
        }
    }
}
