//! Devices as commands show them.

use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{Certificate, DeviceRecord, DeviceState};
use serde::Serialize;

use crate::cli::certificate::{CertificateView, describe_status, expiry_cell, status_cell};
use crate::cli::console::Colour;
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
            certificate.map_or(NONE.into(), |certificate| {
                expiry_cell(certificate.not_after, now)
            }),
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
            cell_of_status(record, certificate, now),
            expiry_cell(certificate.not_after, now),
            fingerprint.unwrap_or_else(|| NONE.to_owned()).into(),
        ]);
    }
    table
}

fn cell_of_status(record: &DeviceRecord, certificate: &Certificate, now: UnixMs) -> Cell {
    let current = record
        .current_certificates()
        .any(|it| it.is(&certificate.id()));
    if current {
        return status_cell(certificate.status, now);
    }
    let status = describe_status(certificate.status, now);
    let text = format!("{status}, of an earlier registration");
    Cell::coloured(text, Some(Colour::Quiet))
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
    use leafgate_identity::{Fingerprint, SerialNumber, SpkiHash, TrustDomainName};
    use leafgate_registry::{CertificateStatus, Device, Holder, RevocationReason};

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
