use leafgate_identity::{Fingerprint, UnixMs};
use serde_json::{Value, json};

use super::certificate::{intent, issue, prepared, revocation, set_issued, set_status};
use super::{Act, BuildChangeError, Change, ServiceCertificateWrite, Write};
use crate::certificate::{Certificate, CertificateStatus, Holder, NewCertificate};
use crate::event::EventKind;
use crate::reason::RevocationReason;

impl Change {
    /// Records the intent to sign a certificate for a server or client of the installation itself. To be committed
    /// before the signature is made.
    ///
    /// # Errors
    /// If a value is malformed.
    pub fn prepare_service_certificate(
        name: &str,
        new: NewCertificate,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        if !(1..=255).contains(&name.len()) || name.chars().any(char::is_control) {
            let problem = "must have 1 to 255 bytes and no control character";
            return Err(BuildChangeError::Malformed {
                field: "service name".to_owned(),
                problem,
            });
        }
        let certificate = prepared(
            new,
            Holder::Service {
                name: name.to_owned(),
            },
            act,
        )?;
        let detail = intent(&certificate);
        Ok(service_change(
            None,
            certificate,
            EventKind::CertificatePrepared,
            detail,
            act,
        ))
    }

    /// Records that a prepared service certificate was signed.
    ///
    /// # Errors
    /// If it isn't `prepared`, or is a device's.
    pub fn record_service_issued(
        certificate: &Certificate,
        fingerprint: Fingerprint,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        let mut after = of_service(certificate)?;
        set_issued(&mut after, fingerprint)?;
        let detail = issue(&after);
        Ok(service_change(
            Some(certificate),
            after,
            EventKind::CertificateIssued,
            detail,
            act,
        ))
    }

    /// Records that an issued service certificate was replaced; it counts until `overlap_ends`.
    ///
    /// # Errors
    /// If it isn't `issued`, or is a device's.
    pub fn supersede_service_certificate(
        certificate: &Certificate,
        overlap_ends: UnixMs,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        let mut after = of_service(certificate)?;
        set_status(
            &mut after,
            CertificateStatus::Superseded { at: overlap_ends },
        )?;
        let detail =
            json!({ "issuer": after.issuer, "serial": after.serial, "overlap_ends": overlap_ends });
        Ok(service_change(
            Some(certificate),
            after,
            EventKind::CertificateSuperseded,
            detail,
            act,
        ))
    }

    /// Revokes a service certificate.
    ///
    /// # Errors
    /// If it is revoked already, or is a device's.
    pub fn revoke_service_certificate(
        certificate: &Certificate,
        reason: RevocationReason,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        let mut after = of_service(certificate)?;
        set_status(
            &mut after,
            CertificateStatus::Revoked { at: act.at, reason },
        )?;
        let detail = revocation(&after, certificate.status.kind(), reason);
        Ok(service_change(
            Some(certificate),
            after,
            EventKind::CertificateRevoked,
            detail,
            act,
        ))
    }
}

/// The certificate, if a service holds it. A device's changes with its device only, whose version guards it.
fn of_service(certificate: &Certificate) -> Result<Certificate, BuildChangeError> {
    match certificate.holder {
        Holder::Service { .. } => Ok(certificate.clone()),
        Holder::Device { .. } => Err(BuildChangeError::CertificateUnknown {
            id: certificate.id(),
        }),
    }
}

fn service_change(
    before: Option<&Certificate>,
    after: Certificate,
    kind: EventKind,
    mut detail: Value,
    act: &Act,
) -> Change {
    if let Holder::Service { name } = &after.holder {
        detail["service"] = json!(name);
    }
    let event = act.event(kind, None, detail);
    let write = ServiceCertificateWrite {
        before: before.cloned(),
        after,
    };
    Change::new(Write::ServiceCertificate(Box::new(write)), event)
}
