use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, TrustDomainName, UnixMs};
use leafgate_registry::{DeviceRecord, DeviceState};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::certificate::Certificate;
use crate::schema;

/// A device with all that was ever issued to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Its name, unique ignoring case.
    #[schema(value_type = schema::DeviceId)]
    pub id: DeviceId,
    /// Where it stands.
    #[schema(value_type = schema::DeviceState)]
    pub state: DeviceState,
    /// What policies match on.
    pub device_type: String,
    /// The only site at which it may log in; null for any.
    #[schema(required)]
    pub site: Option<String>,
    /// Free properties.
    pub attributes: BTreeMap<String, String>,
    /// The trust domain whose certificates may name it.
    #[schema(value_type = schema::Token)]
    pub trust_domain: TrustDomainName,
    /// How often this id has been registered.
    pub generation: u32,
    /// Grows with every change of the device or its certificates; the number in its `ETag`.
    pub version: u64,
    /// When this generation was registered.
    #[schema(value_type = schema::Time)]
    pub registered_at: UnixMs,
    /// When the device or its certificates last changed.
    #[schema(value_type = schema::Time)]
    pub updated_at: UnixMs,
    /// Its certificates of every generation, newest first.
    pub certificates: Vec<Certificate>,
}

impl Device {
    /// The certificates of the present generation, newest first.
    pub fn current_certificates(&self) -> impl Iterator<Item = &Certificate> {
        let present = Some(self.generation);
        self.certificates
            .iter()
            .filter(move |certificate| certificate.generation == present)
    }
}

impl From<&DeviceRecord> for Device {
    fn from(record: &DeviceRecord) -> Self {
        let device = &record.device;
        Self {
            id: device.id.clone(),
            state: device.state,
            device_type: device.device_type.clone(),
            site: device.site.clone(),
            attributes: device.attributes.clone(),
            trust_domain: device.trust_domain.clone(),
            generation: device.generation,
            version: device.version,
            registered_at: device.registered_at_ms,
            updated_at: device.updated_at_ms,
            certificates: record.certificates.iter().map(Certificate::from).collect(),
        }
    }
}

/// Devices in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceList {
    /// The devices of this page.
    pub devices: Vec<Device>,
    /// What asks for the next page; null on the last one.
    #[schema(required)]
    pub next_page_token: Option<String>,
}

/// A device that is to be registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterDevice {
    /// Its name: one subject token, unique ignoring case.
    #[schema(value_type = schema::DeviceId)]
    pub id: DeviceId,
    /// What policies match on; one token.
    #[schema(value_type = schema::Token)]
    pub device_type: String,
    /// The only site at which it may log in; left out or null for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Token>)]
    pub site: Option<String>,
    /// Free properties: at most 64, each value at most 256 bytes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Its trust domain; may be left out where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Token>)]
    pub trust_domain: Option<TrustDomainName>,
    /// Whether it waits for approval.
    #[serde(default)]
    pub pending: bool,
}

/// Everything about a device that can be edited, in place of what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceDevice {
    /// What policies match on.
    #[schema(value_type = schema::Token)]
    pub device_type: String,
    /// The only site at which it may log in; left out or null for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Token>)]
    pub site: Option<String>,
    /// All of its free properties.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// What to change about a device, as a JSON merge patch (RFC 7396): what is left out stays, null takes away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchDevice {
    /// Another type; it can't be taken away.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    #[schema(value_type = schema::Token, required = false)]
    pub device_type: Option<String>,
    /// Another site; null to let the device log in at any.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    #[schema(value_type = Option<schema::Token>)]
    pub site: Option<Option<String>>,
    /// Properties to set; null takes the property away, and all of them in place of the object.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub attributes: Option<Option<BTreeMap<String, Option<String>>>>,
}

/// Tells a field that is null from one that is left out.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use leafgate_identity::{Fingerprint, SerialNumber, SpkiHash};
    use leafgate_registry::{self as registry, CertificateStatus, Holder};
    use serde_json::json;

    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);

    fn record() -> DeviceRecord {
        let id = DeviceId::parse("0002").unwrap();
        let after = |secs: i64| UnixMs::from_secs(NOW.as_secs() + secs);
        let certificate = registry::Certificate {
            serial: SerialNumber::from_be_bytes(&[5; 16]).unwrap(),
            issuer: SpkiHash::from_bytes([7; 32]),
            holder: Holder::Device {
                id: id.clone(),
                generation: 2,
            },
            profile: "device".to_owned(),
            fingerprint: Some(Fingerprint::from_bytes([5; 32])),
            public_key: SpkiHash::from_bytes([8; 32]),
            status: CertificateStatus::Superseded { at: after(60) },
            not_before: after(-300),
            not_after: after(604_799),
            prepared_at: NOW,
        };
        let device = registry::Device {
            id,
            trust_domain: TrustDomainName::parse("default").unwrap(),
            generation: 2,
            version: 5,
            state: DeviceState::Active,
            device_type: "pump".to_owned(),
            site: None,
            attributes: BTreeMap::new(),
            registered_at_ms: NOW,
            updated_at_ms: NOW,
        };
        DeviceRecord::new(device, vec![certificate])
    }

    #[test]
    fn a_device_reads_as_it_was_written() {
        let device = Device::from(&record());
        let json = serde_json::to_value(&device).unwrap();
        assert_eq!(
            json,
            json!({
                "id": "0002",
                "state": "active",
                "device_type": "pump",
                "site": null,
                "attributes": {},
                "trust_domain": "default",
                "generation": 2,
                "version": 5,
                "registered_at": "2027-01-15T08:00:00.000Z",
                "updated_at": "2027-01-15T08:00:00.000Z",
                "certificates": [{
                    "serial": "05".repeat(16),
                    "issuer": "07".repeat(32),
                    "status": "superseded",
                    "superseded_at": "2027-01-15T08:01:00.000Z",
                    "generation": 2,
                    "profile": "device",
                    "not_before": "2027-01-15T07:55:00.000Z",
                    "not_after": "2027-01-22T07:59:59.000Z",
                    "fingerprint": "05".repeat(32),
                }],
            })
        );
        assert_eq!(serde_json::from_value::<Device>(json).unwrap(), device);
    }

    #[test]
    fn a_patch_tells_null_from_left_out() {
        let patch = |json| serde_json::from_value::<PatchDevice>(json);
        assert_eq!(patch(json!({})).unwrap(), PatchDevice::default());
        let null = patch(json!({"site": null, "attributes": {"line": null}})).unwrap();
        assert_eq!(null.site, Some(None));
        let line = [("line".to_owned(), None)].into_iter().collect();
        assert_eq!(null.attributes, Some(Some(line)));
        assert_eq!(
            patch(json!({"attributes": null})).unwrap().attributes,
            Some(None)
        );
        assert!(patch(json!({"device_type": null})).is_err());
        for patch in [null, PatchDevice::default()] {
            let json = serde_json::to_value(&patch).unwrap();
            assert_eq!(serde_json::from_value::<PatchDevice>(json).unwrap(), patch);
        }
    }
}
