use leafgate_identity::UnixMs;
use leafgate_nats_jwt::{ParseKeyError, ServerKey};
use leafgate_registry::{CertificateStatus, DeviceState};
use leafgate_sessions::Connection;

use crate::grants::Place;
use crate::records::Found;

/// Whether the device's record admits a live connection, of which only the device's name and the
/// certificate's fingerprint are known. What else a decision depends on can't be seen in CONNZ; the
/// replica that granted the session watches over that.
pub(crate) fn admits_live(found: &Found, connection: &Connection, now: UnixMs) -> bool {
    let Some(record) = &found.record else {
        return false;
    };
    match record.device.state {
        DeviceState::Active => {}
        // What it was granted can't be seen. A session that began before the record's last change
        // may have been granted more than quarantine by a replica that is no more.
        DeviceState::Quarantined if !began_after(connection, record.device.updated_at_ms) => {
            return false;
        }
        DeviceState::Quarantined => {}
        _ => return false,
    }
    let fingerprint = connection.certificate_sha256.as_deref();
    let certificate = record.certificates.iter().find(|certificate| {
        certificate
            .fingerprint
            .is_some_and(|recorded| Some(recorded.to_string().as_str()) == fingerprint)
    });
    match certificate.map(|certificate| &certificate.status) {
        Some(CertificateStatus::Revoked { .. }) => false,
        Some(CertificateStatus::Superseded { at }) => *at > now,
        // Where certificates bind by chain, the registry need not know them.
        Some(CertificateStatus::Issued | CertificateStatus::Prepared) | None => true,
    }
}

fn began_after(connection: &Connection, time: UnixMs) -> bool {
    let began: Result<UnixMs, _> = connection.started_at.parse();
    began.is_ok_and(|began| began > time)
}

impl Place {
    pub(crate) fn of(connection: &Connection) -> Result<Self, ParseKeyError> {
        Ok(Self {
            server_id: ServerKey::parse(&connection.server_id)?,
            client_id: connection.client_id,
        })
    }
}
