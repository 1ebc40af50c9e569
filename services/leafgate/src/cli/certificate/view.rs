//! Certificates as commands show them.

use leafgate_api::{Certificate, HeldCertificate};
use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{CertificateStatus, CertificateStatusKind, RevocationReason};

use crate::cli::console::Colour;
use crate::cli::moment::relative;
use crate::cli::table::{Cell, NONE};

/// Whose it is: a device's id or a service's name.
pub(in crate::cli) fn holder_of(certificate: &HeldCertificate) -> &str {
    let device = certificate.device.as_ref().map(DeviceId::as_str);
    device.or(certificate.service.as_deref()).unwrap_or(NONE)
}

/// What became of it.
pub(in crate::cli) fn describe_status(certificate: &Certificate, now: UnixMs) -> String {
    let Some(status) = certificate.full_status() else {
        return certificate.status.to_string();
    };
    match status {
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
    }
}

pub(in crate::cli) fn status_cell(certificate: &Certificate, now: UnixMs) -> Cell {
    let colour = match certificate.status {
        CertificateStatusKind::Issued => Colour::Good,
        CertificateStatusKind::Superseded if admits(certificate, now) => Colour::Careful,
        CertificateStatusKind::Prepared | CertificateStatusKind::Superseded => Colour::Quiet,
        CertificateStatusKind::Revoked => Colour::Bad,
    };
    Cell::coloured(describe_status(certificate, now), Some(colour))
}

/// Whether its status lets its holder in.
pub(in crate::cli) fn admits(certificate: &Certificate, now: UnixMs) -> bool {
    let status = certificate.full_status();
    status.is_some_and(|status| status.admits(now))
}

pub(in crate::cli) fn expiry_cell(not_after: UnixMs, now: UnixMs) -> Cell {
    let expired = not_after <= now;
    Cell::coloured(relative(not_after, now), expired.then_some(Colour::Bad))
}
