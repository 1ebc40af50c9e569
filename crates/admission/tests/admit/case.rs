use std::collections::BTreeMap;
use std::time::Duration;

use leafgate_admission::{Admission, Facts, Reason, admit};
use leafgate_identity::{
    Binding, DeviceId, DeviceIdentity, Fingerprint, SerialNumber, SpkiHash, TrustDomainName,
    UnixMs, Validity,
};
use leafgate_policy::{ConnectionFacts, ConnectionType, Constants, PolicySet, PolicySource};
use leafgate_registry::{
    Certificate, CertificateStatus, Device, DeviceRecord, DeviceState, Holder,
};

pub(crate) const NOW: UnixMs = UnixMs::from_secs(1_795_226_584);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

const POLICY: &str = r#"
[[policy]]
name = "pumps"
account = "DEVICES"
match = { device_type = "pump" }
publish.allow = ["device.{id}.floor.{attr.floor}"]
session = { lifetime = "12h", jitter = "20%", sources = ["10.0.0.0/8"] }

[policy.quarantine]
publish.allow = ["device.{id}.status"]

[[policy]]
name = "valves"
account = "DEVICES"
match = { device_type = "valve" }
publish.allow = ["device.{id}.status"]
session = { lifetime = "12h", jitter = "20%" }
"#;

/// A log-in, and all that its decision depends on.
pub(crate) struct Case {
    pub(crate) identity: DeviceIdentity,
    pub(crate) binding: Binding,
    pub(crate) record: Option<DeviceRecord>,
    pub(crate) site: &'static str,
    pub(crate) connection: ConnectionFacts,
    pub(crate) now: UnixMs,
}

impl Case {
    pub(crate) fn good() -> Self {
        let id = DeviceId::parse("0001").unwrap();
        let domain = TrustDomainName::parse("default").unwrap();
        let validity = Validity {
            not_before: NOW.saturating_sub(HOUR),
            not_after: NOW.saturating_add(HOUR),
        };
        let identity = DeviceIdentity {
            domain: domain.clone(),
            id: id.clone(),
            serial: SerialNumber::from_be_bytes(&[1]).unwrap(),
            fingerprint: Fingerprint::from_bytes([1; 32]),
            issuer: SpkiHash::from_bytes([2; 32]),
            validity,
        };
        let certificate = Certificate {
            serial: identity.serial,
            issuer: identity.issuer,
            holder: Holder::Device {
                id: id.clone(),
                generation: 2,
            },
            profile: "device".to_owned(),
            fingerprint: Some(identity.fingerprint),
            public_key: SpkiHash::from_bytes([3; 32]),
            status: CertificateStatus::Issued,
            not_before: validity.not_before,
            not_after: validity.not_after,
            prepared_at: NOW,
        };
        let device = Device {
            id,
            trust_domain: domain,
            generation: 2,
            version: 7,
            state: DeviceState::Active,
            device_type: "pump".to_owned(),
            site: None,
            attributes: BTreeMap::from([("floor".to_owned(), "2".to_owned())]),
            registered_at_ms: NOW,
            updated_at_ms: NOW,
        };
        Self {
            identity,
            binding: Binding::Issued,
            record: Some(DeviceRecord {
                device,
                certificates: vec![certificate],
            }),
            site: "cph1",
            connection: ConnectionFacts {
                connection_type: ConnectionType::Standard,
                source: Some("10.1.2.3".parse().unwrap()),
            },
            now: NOW,
        }
    }

    pub(crate) fn device(&mut self) -> &mut Device {
        &mut self.record.as_mut().unwrap().device
    }

    pub(crate) fn certificate(&mut self) -> &mut Certificate {
        &mut self.record.as_mut().unwrap().certificates[0]
    }

    pub(crate) fn decide(&self) -> Result<Admission, Reason> {
        let source = PolicySource {
            name: "pumps.toml".to_owned(),
            text: POLICY.to_owned(),
        };
        let policies = PolicySet::load(&[source], &Constants::default()).unwrap();
        admit(&Facts {
            identity: &self.identity,
            binding: self.binding,
            record: self.record.as_ref(),
            policies: &policies,
            site: self.site,
            connection: &self.connection,
            now: self.now,
        })
        .map_err(|denial| denial.reason)
    }
}
