//! Devices as commands show them.

use leafgate_api::{Certificate, Device, Session};
use leafgate_identity::UnixMs;
use leafgate_registry::DeviceState;

use super::read::Listed;
use crate::cli::certificate::{admits, describe_status, expiry_cell, status_cell};
use crate::cli::console::Colour;
use crate::cli::table::{Cell, NONE, Table};

/// Devices in a table.
pub(super) fn table_of_devices(devices: &[Listed<'_>], now: UnixMs) -> Table {
    let mut heading = vec!["ID", "STATE", "TYPE", "SITE", "CERTIFICATE", "EXPIRES"];
    let with_sessions = devices.iter().any(|listed| listed.sessions.is_some());
    heading.extend(with_sessions.then_some("SESSIONS"));
    let mut table = Table::new(&heading);
    for Listed { device, sessions } in devices {
        let certificate = current_certificate(device, now);
        let mut row = vec![
            device.id.as_str().into(),
            state_cell(device.state),
            device.device_type.as_str().into(),
            device.site.as_deref().unwrap_or(NONE).into(),
            certificate.map_or("none".into(), |certificate| {
                let serial = shorten(&certificate.serial.to_string());
                format!("{serial} ({})", certificate.status).into()
            }),
            certificate.map_or(NONE.into(), |certificate| {
                expiry_cell(certificate.not_after, now)
            }),
        ];
        row.extend(sessions.as_deref().map(sessions_cell));
        table.push(row);
    }
    table.without_empty_column("SITE")
}

fn sessions_cell(sessions: &[Session]) -> Cell {
    let shown = sessions
        .iter()
        .map(|session| format!("{} (cid {})", session.server_name, session.cid));
    let shown: Vec<String> = shown.collect();
    match shown.is_empty() {
        true => NONE.into(),
        false => shown.join(", ").into(),
    }
}

/// The certificate that the device most likely uses: the newest that counts, or else the newest.
fn current_certificate(device: &Device, now: UnixMs) -> Option<&Certificate> {
    let newest = || device.current_certificates();
    newest()
        .find(|certificate| admits(certificate, now) && now < certificate.not_after)
        .or_else(|| newest().next())
}

/// A device's certificates in a table.
pub(super) fn table_of_certificates(device: &Device, now: UnixMs) -> Table {
    let mut table = Table::new(&["CERTIFICATE", "STATUS", "EXPIRES", "FINGERPRINT"]);
    for certificate in &device.certificates {
        let fingerprint = certificate.fingerprint.map(|it| shorten(&it.to_string()));
        table.push(vec![
            certificate.serial.to_string().into(),
            cell_of_status(device, certificate, now),
            expiry_cell(certificate.not_after, now),
            fingerprint.unwrap_or_else(|| NONE.to_owned()).into(),
        ]);
    }
    table
}

fn cell_of_status(device: &Device, certificate: &Certificate, now: UnixMs) -> Cell {
    if certificate.generation == Some(device.generation) {
        return status_cell(certificate, now);
    }
    let status = describe_status(certificate, now);
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
    use std::collections::BTreeMap;

    use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, TrustDomainName};
    use leafgate_registry::{
        self as registry, CertificateStatus, DeviceRecord, Holder, RevocationReason,
    };

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);

    fn certificate(
        serial: u8,
        generation: u32,
        status: CertificateStatus,
    ) -> registry::Certificate {
        let after = |secs: i64| UnixMs::from_secs(NOW.as_secs() + secs);
        registry::Certificate {
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

    fn device(certificates: Vec<registry::Certificate>) -> Device {
        let device = registry::Device {
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
        Device::from(&DeviceRecord::new(device, certificates))
    }

    fn superseded(secs: i64) -> CertificateStatus {
        CertificateStatus::Superseded {
            at: UnixMs::from_secs(NOW.as_secs() + secs),
        }
    }

    #[test]
    fn a_device_is_one_line() {
        let devices = [
            device(vec![
                certificate(0x3f, 2, CertificateStatus::Issued),
                certificate(0x4f, 2, CertificateStatus::Prepared),
            ]),
            device(vec![certificate(0x3f, 1, CertificateStatus::Issued)]),
        ];
        let expected = "\
ID     STATE    TYPE   CERTIFICATE        EXPIRES
0002   active   pump   3f3f…3f (issued)   in 6 days
0002   active   pump   none               –";
        let devices = devices.each_ref().map(|device| Listed {
            device,
            sessions: None,
        });
        assert_eq!(
            table_of_devices(&devices, NOW).render(Style::PLAIN),
            expected
        );
    }

    #[test]
    fn certificates_tell_what_became_of_them() {
        let revoked = CertificateStatus::Revoked {
            at: NOW,
            reason: RevocationReason::KeyCompromise,
        };
        let device = device(vec![
            certificate(5, 2, CertificateStatus::Issued),
            certificate(4, 2, superseded(7_200)),
            certificate(3, 2, superseded(-7_200)),
            certificate(2, 1, revoked),
        ]);
        let text = table_of_certificates(&device, NOW).render(Style::PLAIN);
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
    fn long_hex_is_shortened_and_short_hex_is_not() {
        assert_eq!(shorten("3fa1aabbccdd9c"), "3fa1…9c");
        assert_eq!(shorten("3fa1"), "3fa1");
        assert_eq!(shorten(""), "");
    }
}
