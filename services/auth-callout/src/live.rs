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
    if !matches!(
        record.device.state,
        DeviceState::Active | DeviceState::Quarantined
    ) {
        return false;
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

impl Place {
    pub(crate) fn of(connection: &Connection) -> Result<Self, ParseKeyError> {
        Ok(Self {
            server_id: ServerKey::parse(&connection.server_id)?,
            client_id: connection.client_id,
        })
    }
}
