use leafgate_identity::{SerialNumber, SpkiHash};
use leafgate_registry::{
    Act, Certificate, CertificateId, CertificateQuery, CertificateStatus, Change, DeviceRecord,
    Holder, RevocationReason,
};

use crate::error::RegistrarError;
use crate::registrar::{Registrar, device_after};

impl Registrar {
    /// Revokes one certificate, of a device or a service, and with [`RevocationReason::KeyCompromise`] all others that
    /// the device has for the same key. `issuer` is needed only where two issuers gave out the same serial number.
    ///
    /// # Errors
    /// There is no such certificate, there are two, or it is revoked already.
    pub async fn revoke_certificate(
        &self,
        serial: SerialNumber,
        issuer: Option<SpkiHash>,
        reason: RevocationReason,
        act: &Act,
    ) -> Result<Certificate, RegistrarError> {
        let mut tries = self.tries();
        loop {
            let certificate = self.find_certificate(serial, issuer).await?;
            let id = certificate.id();
            let changes = match &certificate.holder {
                Holder::Device { id: device, .. } => {
                    let record = self.load(device).await?;
                    self.guard.before(&record.device)?;
                    revoke_of_device(&record, &id, reason, act)?
                }
                Holder::Service { .. } => {
                    self.guard.everywhere()?;
                    vec![Change::revoke_service_certificate(
                        &certificate,
                        reason,
                        act,
                    )?]
                }
            };
            if self.commit(&changes).await? {
                let after = changes.iter().find_map(|change| after(change, &id));
                return Ok(after.cloned().unwrap_or(certificate));
            }
            tries.again(format!("certificate {serial}")).await?;
        }
    }

    async fn find_certificate(
        &self,
        serial: SerialNumber,
        issuer: Option<SpkiHash>,
    ) -> Result<Certificate, RegistrarError> {
        let query = CertificateQuery {
            serial: Some(serial),
            issuer,
            limit: 2,
            ..CertificateQuery::default()
        };
        let mut found = self.store.find_certificates(&query).await?.items;
        match (found.pop(), found.pop()) {
            (None, _) => Err(RegistrarError::CertificateUnknown { serial }),
            (Some(certificate), None) => Ok(certificate),
            (Some(one), Some(other)) => Err(RegistrarError::CertificateAmbiguous {
                serial,
                issuers: [one.issuer, other.issuer],
            }),
        }
    }
}

/// The revocation of one certificate, and of those that are as compromised as it is.
fn revoke_of_device(
    record: &DeviceRecord,
    id: &CertificateId,
    reason: RevocationReason,
    act: &Act,
) -> Result<Vec<Change>, RegistrarError> {
    let mut changes = vec![Change::revoke_certificate(record, id, reason, act)?];
    if reason == RevocationReason::KeyCompromise {
        let key = record
            .certificate(id)
            .map(|certificate| certificate.public_key);
        let others = record.certificates.iter().filter(|other| {
            Some(other.public_key) == key
                && !other.is(id)
                && !matches!(other.status, CertificateStatus::Revoked { .. })
        });
        for other in others {
            let before = changes.last().map_or(record, device_after);
            changes.push(Change::revoke_certificate(
                before,
                &other.id(),
                reason,
                act,
            )?);
        }
    }
    Ok(changes)
}

/// A certificate as it is after a change of it.
fn after<'a>(change: &'a Change, id: &CertificateId) -> Option<&'a Certificate> {
    let of_device = change
        .device_after()
        .and_then(|record| record.certificate(id));
    of_device.or_else(|| change.service_certificate_after())
}
