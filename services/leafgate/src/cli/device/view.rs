//! Devices as commands show them.

use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, UnixMs};
use leafgate_registry::{
    Certificate, CertificateStatus, CertificateStatusKind, DeviceRecord, DeviceState, Holder,
    RevocationReason,
};
use serde::Serialize;

use crate::cli::console::Colour;
use crate::cli::moment::relative;
use crate::cli::table::{Cell, NONE, Table};

/// A device in JSON.
#[derive(Debug, Serialize)]
pub(super) struct DeviceView<'a> {
    id: &'a DeviceId,
    state: DeviceState,
    device_type: &'a str,
    site: Option<&'a str>,
    attributes: &'a BTreeMap<String, String>,
    trust_domain: &'a str,
    generation: u32,
    version: u64,
    registered_at: UnixMs,
    updated_at: UnixMs,
    certificates: Vec<CertificateView<'a>>,
}

/// A certificate in JSON.
#[derive(Debug, Serialize)]
struct CertificateView<'a> {
    serial: SerialNumber,
    issuer: SpkiHash,
    status: CertificateStatusKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_at: Option<UnixMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<UnixMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_reason: Option<RevocationReason>,
    generation: Option<u32>,
    profile: &'a str,
    not_before: UnixMs,
    not_after: UnixMs,
    fingerprint: Option<Fingerprint>,
}

impl<'a> DeviceView<'a> {
    pub(super) fn of(record: &'a DeviceRecord) -> Self {
        let device = &record.device;
        Self {
            id: &device.id,
            state: device.state,
            device_type: &device.device_type,
            site: device.site.as_deref(),
            attributes: &device.attributes,
            trust_domain: device.trust_domain.as_str(),
            generation: device.generation,
            version: device.version,
            registered_at: device.registered_at_ms,
            updated_at: device.updated_at_ms,
            certificates: record
                .certificates
                .iter()
                .map(CertificateView::of)
                .collect(),
        }
    }
}

impl<'a> CertificateView<'a> {
    fn of(certificate: &'a Certificate) -> Self {
        let (superseded_at, revoked_at, revocation_reason) = match certificate.status {
            CertificateStatus::Prepared | CertificateStatus::Issued => (None, None, None),
            CertificateStatus::Superseded { at } => (Some(at), None, None),
            CertificateStatus::Revoked { at, reason } => (None, Some(at), Some(reason)),
        };
        Self {
            serial: certificate.serial,
            issuer: certificate.issuer,
            status: certificate.status.kind(),
            superseded_at,
            revoked_at,
            revocation_reason,
            generation: match certificate.holder {
                Holder::Device { generation, .. } => Some(generation),
                Holder::Service { .. } => None,
            },
            profile: &certificate.profile,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            fingerprint: certificate.fingerprint,
        }
    }
}

/// Devices in a table.
pub(super) fn table_of_devices(records: &[DeviceRecord], now: UnixMs) -> Table {
    let mut table = Table::new(&["ID", "STATE", "TYPE", "SITE", "CERTIFICATE", "EXPIRES"]);
    for record in records {
        let device = &record.device;
        let certificate = current_certificate(record, now);
        table.push(vec![
            device.id.as_str().into(),
            state_cell(device.state),
            device.device_type.as_str().into(),
            device.site.as_deref().unwrap_or(NONE).into(),
            certificate.map_or("none".into(), |certificate| {
                let serial = shorten(&certificate.serial.to_string());
                format!("{serial} ({})", certificate.status.kind()).into()
            }),
            certificate.map_or(NONE.into(), |certificate| expiry_cell(certificate, now)),
        ]);
    }
    table.without_empty_column("SITE")
}

/// The certificate that the device most likely uses: the newest that counts, or else the newest.
fn current_certificate(record: &DeviceRecord, now: UnixMs) -> Option<&Certificate> {
    let newest = || record.current_certificates();
    newest()
        .find(|certificate| certificate.status.admits(now) && now < certificate.not_after)
        .or_else(|| newest().next())
}

/// A device's certificates in a table.
pub(super) fn table_of_certificates(record: &DeviceRecord, now: UnixMs) -> Table {
    let mut table = Table::new(&["CERTIFICATE", "STATUS", "EXPIRES", "FINGERPRINT"]);
    for certificate in &record.certificates {
        let fingerprint = certificate.fingerprint.map(|it| shorten(&it.to_string()));
        table.push(vec![
            certificate.serial.to_string().into(),
            status_cell(record, certificate, now),
            expiry_cell(certificate, now),
            fingerprint.unwrap_or_else(|| NONE.to_owned()).into(),
        ]);
    }
    table
}

fn status_cell(record: &DeviceRecord, certificate: &Certificate, now: UnixMs) -> Cell {
    let status = certificate.status;
    let earlier = !record
        .current_certificates()
        .any(|it| it.is(&certificate.id()));
    let mut text = match status {
        CertificateStatus::Prepared => "prepared, never signed".to_owned(),
        CertificateStatus::Issued => "issued".to_owned(),
        CertificateStatus::Superseded { at } if status.admits(now) => {
            format!("superseded, ends {}", relative(at, now))
        }
        CertificateStatus::Superseded { at } => format!("superseded, ended {}", relative(at, now)),
        CertificateStatus::Revoked {
            at,
            reason: RevocationReason::Unspecified,
        } => {
            format!("revoked {}", relative(at, now))
        }
        CertificateStatus::Revoked { at, reason } => {
            format!("revoked {} ({reason})", relative(at, now))
        }
    };
    if earlier {
        text.push_str(", of an earlier registration");
    }
    let colour = match status {
        _ if earlier => Colour::Quiet,
        CertificateStatus::Issued => Colour::Good,
        CertificateStatus::Superseded { .. } if status.admits(now) => Colour::Careful,
        CertificateStatus::Prepared | CertificateStatus::Superseded { .. } => Colour::Quiet,
        CertificateStatus::Revoked { .. } => Colour::Bad,
    };
    Cell::coloured(text, Some(colour))
}

fn expiry_cell(certificate: &Certificate, now: UnixMs) -> Cell {
    let expired = certificate.not_after <= now;
    let text = relative(certificate.not_after, now);
    Cell::coloured(text, expired.then_some(Colour::Bad))
}

pub(super) fn state_cell(state: DeviceState) -> Cell {
    Cell::coloured(state.as_str(), Some(colour_of(state)))
}

pub(super) fn colour_of(state: DeviceState) -> Colour {
    match state {
        DeviceState::Active => Colour::Good,
        DeviceState::Pending | DeviceState::Quarantined => Colour::Careful,
        DeviceState::Disabled | DeviceState::Revoked => Colour::Bad,
        DeviceState::Deleted => Colour::Quiet,
    }
}

/// The ends of a long hex text, enough to tell a few apart.
fn shorten(hex: &str) -> String {
    match (hex.get(..4), hex.len().checked_sub(2)) {
        (Some(start), Some(end)) if hex.len() > 8 => format!("{start}…{}", &hex[end..]),
        _ => hex.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::Style;
    use leafgate_identity::TrustDomainName;
    use leafgate_registry::Device;

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);

    fn certificate(serial: u8, generation: u32, status: CertificateStatus) -> Certificate {
        let after = |secs: i64| UnixMs::from_secs(NOW.as_secs() + secs);
        Certificate {
            serial: SerialNumber::from_be_bytes(&[serial; 16]).unwrap(),
            issuer: SpkiHash::from_bytes([7; 32]),
            holder: Holder::Device {
                id: DeviceId::parse("0002").unwrap(),
                generation,
            },
            profile: "device".to_owned(),
            fingerprint: Some(Fingerprint::from_bytes([serial; 32])),
            public_key: SpkiHash::from_bytes([8; 32]),
            status,
            not_before: after(-300),
            not_after: after(604_799),
            prepared_at: after(i64::from(serial)),
        }
    }

    fn record(certificates: Vec<Certificate>) -> DeviceRecord {
        let device = Device {
            id: DeviceId::parse("0002").unwrap(),
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
        DeviceRecord::new(device, certificates)
    }

    fn superseded(secs: i64) -> CertificateStatus {
        CertificateStatus::Superseded {
            at: UnixMs::from_secs(NOW.as_secs() + secs),
        }
    }

    #[test]
    fn a_device_is_one_line() {
        let records = [
            record(vec![
                certificate(0x3f, 2, CertificateStatus::Issued),
                certificate(0x4f, 2, CertificateStatus::Prepared),
            ]),
            record(vec![certificate(0x3f, 1, CertificateStatus::Issued)]),
        ];
        let expected = "\
ID     STATE    TYPE   CERTIFICATE        EXPIRES
0002   active   pump   3f3f…3f (issued)   in 6 days
0002   active   pump   none               –";
        assert_eq!(
            table_of_devices(&records, NOW).render(Style::PLAIN),
            expected
        );
    }

    #[test]
    fn certificates_tell_what_became_of_them() {
        let revoked = CertificateStatus::Revoked {
            at: NOW,
            reason: RevocationReason::KeyCompromise,
        };
        let record = record(vec![
            certificate(5, 2, CertificateStatus::Issued),
            certificate(4, 2, superseded(7_200)),
            certificate(3, 2, superseded(-7_200)),
            certificate(2, 1, revoked),
        ]);
        let text = table_of_certificates(&record, NOW).render(Style::PLAIN);
        let statuses: Vec<&str> = text
            .lines()
            .skip(1)
            .map(|line| line[32..].trim_start().split("   ").next().unwrap())
            .collect();
        assert_eq!(
            statuses,
            [
                "issued",
                "superseded, ends in 2 h",
                "superseded, ended 2 h ago",
                "revoked now (key-compromise), of an earlier registration",
            ]
        );
    }

    #[test]
    fn json_has_the_fields_of_the_api() {
        let record = record(vec![certificate(5, 2, superseded(60))]);
        let json = serde_json::to_value(DeviceView::of(&record)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
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
    }

    #[test]
    fn long_hex_is_shortened_and_short_hex_is_not() {
        assert_eq!(shorten("3fa1aabbccdd9c"), "3fa1…9c");
        assert_eq!(shorten("3fa1"), "3fa1");
        assert_eq!(shorten(""), "");
    }
}
