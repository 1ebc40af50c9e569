//! Certificates as commands show them.

use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, UnixMs};
use leafgate_registry::{
    Certificate, CertificateStatus, CertificateStatusKind, Holder, RevocationReason,
};
use serde::Serialize;

use crate::cli::console::Colour;
use crate::cli::moment::relative;
use crate::cli::table::Cell;

/// A certificate in JSON, where its holder is known.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct CertificateView<'a> {
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

/// A certificate in JSON, with its holder.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct HeldCertificateView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a DeviceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(flatten)]
    certificate: CertificateView<'a>,
}

impl<'a> CertificateView<'a> {
    pub(in crate::cli) fn of(certificate: &'a Certificate) -> Self {
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

impl<'a> HeldCertificateView<'a> {
    pub(in crate::cli) fn of(certificate: &'a Certificate) -> Self {
        let (device, service) = match &certificate.holder {
            Holder::Device { id, .. } => (Some(id), None),
            Holder::Service { name } => (None, Some(name.as_str())),
        };
        Self {
            device,
            service,
            certificate: CertificateView::of(certificate),
        }
    }
}

/// Whose it is: a device's id or a service's name.
pub(in crate::cli) fn holder_of(certificate: &Certificate) -> &str {
    match &certificate.holder {
        Holder::Device { id, .. } => id.as_str(),
        Holder::Service { name } => name,
    }
}

/// What became of it.
pub(in crate::cli) fn describe_status(status: CertificateStatus, now: UnixMs) -> String {
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

pub(in crate::cli) fn status_cell(status: CertificateStatus, now: UnixMs) -> Cell {
    let colour = match status {
        CertificateStatus::Issued => Colour::Good,
        CertificateStatus::Superseded { .. } if status.admits(now) => Colour::Careful,
        CertificateStatus::Prepared | CertificateStatus::Superseded { .. } => Colour::Quiet,
        CertificateStatus::Revoked { .. } => Colour::Bad,
    };
    Cell::coloured(describe_status(status, now), Some(colour))
}

pub(in crate::cli) fn expiry_cell(not_after: UnixMs, now: UnixMs) -> Cell {
    let expired = not_after <= now;
    Cell::coloured(relative(not_after, now), expired.then_some(Colour::Bad))
}
