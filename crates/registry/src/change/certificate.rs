use leafgate_identity::{Fingerprint, UnixMs};
use serde_json::{Value, json};

use super::device::{touched, update};
use super::{Act, BuildChangeError, CertificateWrite, Change};
use crate::certificate::{
    Certificate, CertificateId, CertificateStatus, CertificateStatusKind, Holder, NewCertificate,
};
use crate::device::{Device, DeviceRecord};
use crate::event::EventKind;
use crate::reason::RevocationReason;

impl Change {
    /// Records that a certificate is asked of an issuer that draws its serial number only when it signs: what is asked
    /// is in a document that goes with it. To be committed before the issuer is asked.
    ///
    /// # Errors
    /// If the device's state allows no certificate.
    pub fn request_certificate(
        record: &DeviceRecord,
        detail: Value,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        check_issuable(&record.device)?;
        let after = touched(record, act);
        let event = act.device_event(EventKind::CertificateRequested, &after.device, detail);
        Ok(update(record, after, Vec::new(), event))
    }

    /// Records the intent to sign a certificate for the device's present generation. To be committed before the
    /// signature is made.
    ///
    /// # Errors
    /// If the device's state allows no certificate, or the device has one of this serial number, or a value is malformed.
    pub fn prepare_certificate(
        record: &DeviceRecord,
        new: NewCertificate,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        check_issuable(&record.device)?;
        if record.certificate(&new.id).is_some() {
            return Err(BuildChangeError::CertificateExists { id: new.id });
        }
        let certificate = prepared(new, record.device.holder(), act)?;
        let DeviceRecord {
            device,
            mut certificates,
        } = touched(record, act);
        certificates.push(certificate.clone());
        let after = DeviceRecord::new(device, certificates);
        let event = act.device_event(
            EventKind::CertificatePrepared,
            &after.device,
            intent(&certificate),
        );
        Ok(update(
            record,
            after,
            vec![CertificateWrite::Insert(certificate)],
            event,
        ))
    }

    /// Records that a prepared certificate was signed. Older ones stay as they are.
    ///
    /// # Errors
    /// If the device has no such certificate, or it isn't `prepared` (revoked meanwhile, say).
    pub fn record_issued(
        record: &DeviceRecord,
        id: &CertificateId,
        fingerprint: Fingerprint,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        let mut after = touched(record, act);
        let certificate = find(&mut after.certificates, id)?;
        set_issued(certificate, fingerprint)?;
        let detail = issue(certificate);
        let write = CertificateWrite::Update(certificate.clone());
        let event = act.device_event(EventKind::CertificateIssued, &after.device, detail);
        Ok(update(record, after, vec![write], event))
    }

    /// Supersedes the device's issued certificates that were prepared before this one: they are accepted until
    /// `overlap_ends`. To be called when the device has shown that it holds the newer one.
    ///
    /// # Errors
    /// If the device's present generation has no such certificate, it isn't `issued`, or there is no older one.
    pub fn supersede_older(
        record: &DeviceRecord,
        id: &CertificateId,
        overlap_ends: UnixMs,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        let newer = record
            .current_certificates()
            .find(|certificate| certificate.is(id))
            .ok_or(BuildChangeError::CertificateUnknown { id: *id })?;
        if newer.status != CertificateStatus::Issued {
            return Err(BuildChangeError::CertificateIllegal {
                id: *id,
                status: newer.status.kind(),
                next: CertificateStatusKind::Issued,
            });
        }
        let older: Vec<_> = record.older_in_use(newer).map(Certificate::id).collect();
        let mut after = touched(record, act);
        let writes = supersede(&mut after, &older, overlap_ends);
        if writes.is_empty() {
            return Err(BuildChangeError::Unchanged {
                id: record.device.id.clone(),
            });
        }
        let detail = json!({
            "successor": { "issuer": id.issuer, "serial": id.serial },
            "superseded": names(&writes),
            "overlap_ends": overlap_ends,
        });
        let event = act.device_event(EventKind::CertificateSuperseded, &after.device, detail);
        Ok(update(record, after, writes, event))
    }

    /// Revokes one certificate of a device, of whichever generation.
    ///
    /// # Errors
    /// If the device has no such certificate, or it is revoked already.
    pub fn revoke_certificate(
        record: &DeviceRecord,
        id: &CertificateId,
        reason: RevocationReason,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        let mut after = touched(record, act);
        let certificate = find(&mut after.certificates, id)?;
        let from = certificate.status.kind();
        set_status(
            certificate,
            CertificateStatus::Revoked { at: act.at, reason },
        )?;
        let detail = revocation(certificate, from, reason);
        let write = CertificateWrite::Update(certificate.clone());
        let event = act.device_event(EventKind::CertificateRevoked, &after.device, detail);
        Ok(update(record, after, vec![write], event))
    }
}

fn check_issuable(device: &Device) -> Result<(), BuildChangeError> {
    if device.state.may_be_issued() {
        return Ok(());
    }
    Err(BuildChangeError::IssueIllegal {
        id: device.id.clone(),
        state: device.state,
    })
}

fn supersede(
    record: &mut DeviceRecord,
    which: &[CertificateId],
    at: UnixMs,
) -> Vec<CertificateWrite> {
    let others = record
        .certificates
        .iter_mut()
        .filter(|other| which.contains(&other.id()));
    others
        .map(|other| {
            other.status = CertificateStatus::Superseded { at };
            CertificateWrite::Update(other.clone())
        })
        .collect()
}

fn names(writes: &[CertificateWrite]) -> Value {
    writes
        .iter()
        .map(|(CertificateWrite::Insert(c) | CertificateWrite::Update(c))| {
            json!({ "issuer": c.issuer, "serial": c.serial })
        })
        .collect()
}

fn find<'a>(
    certificates: &'a mut [Certificate],
    id: &CertificateId,
) -> Result<&'a mut Certificate, BuildChangeError> {
    let found = certificates
        .iter_mut()
        .find(|certificate| certificate.is(id));
    found.ok_or(BuildChangeError::CertificateUnknown { id: *id })
}

/// A certificate before its signature.
pub(super) fn prepared(
    new: NewCertificate,
    holder: Holder,
    act: &Act,
) -> Result<Certificate, BuildChangeError> {
    let NewCertificate {
        id,
        profile,
        public_key,
        validity,
    } = new;
    if !leafgate_identity::is_token(&profile) {
        let problem = "must be one token, such as device, nats-server or nats-client";
        return Err(BuildChangeError::Malformed {
            field: "profile".to_owned(),
            problem,
        });
    }
    if validity.not_after < validity.not_before {
        return Err(BuildChangeError::Malformed {
            field: "validity".to_owned(),
            problem: "ends before it begins",
        });
    }
    Ok(Certificate {
        serial: id.serial,
        issuer: id.issuer,
        holder,
        profile,
        fingerprint: None,
        public_key,
        status: CertificateStatus::Prepared,
        not_before: validity.not_before,
        not_after: validity.not_after,
        prepared_at: act.at,
    })
}

/// Takes a certificate to another status, where that may follow.
pub(super) fn set_status(
    certificate: &mut Certificate,
    next: CertificateStatus,
) -> Result<(), BuildChangeError> {
    if !certificate.status.may_become(next.kind()) {
        return Err(BuildChangeError::CertificateIllegal {
            id: certificate.id(),
            status: certificate.status.kind(),
            next: next.kind(),
        });
    }
    certificate.status = next;
    Ok(())
}

/// Takes a prepared certificate to `issued`.
pub(super) fn set_issued(
    certificate: &mut Certificate,
    fingerprint: Fingerprint,
) -> Result<(), BuildChangeError> {
    set_status(certificate, CertificateStatus::Issued)?;
    certificate.fingerprint = Some(fingerprint);
    Ok(())
}

/// The event detail of a certificate that is about to be signed.
pub(super) fn intent(certificate: &Certificate) -> Value {
    json!({
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "profile": certificate.profile,
        "public_key": certificate.public_key,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
    })
}

/// The event detail of a certificate that was signed.
pub(super) fn issue(certificate: &Certificate) -> Value {
    json!({
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint,
    })
}

/// The event detail of a certificate that is revoked. With the end of its validity, after which no
/// CRL needs it, a follower can keep lists without reading the certificate.
pub(super) fn revocation(
    certificate: &Certificate,
    from: CertificateStatusKind,
    reason: RevocationReason,
) -> Value {
    json!({
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "not_after": certificate.not_after,
        "from": from,
        "reason": reason,
    })
}
