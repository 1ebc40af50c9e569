use std::slice;

use leafgate_identity::{SerialNumber, SpkiHash};
use leafgate_registry::{
    Act, Certificate, CertificateId, CertificateQuery, CertificateStatus, Change, DeviceRecord,
    Holder, RevocationReason,
};

use crate::error::RegistrarError;
use crate::registrar::{Registrar, device_after};

impl Registrar {
    /// Revokes one certificate, of a device or a service, and with [`RevocationReason::KeyCompromise`] all others for the
    /// same key: those of the device, or of all services. `issuer` is needed only where two issuers gave out the same
    /// serial number.
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
                    self.revoke_of_service(&certificate, reason, act).await?
                }
            };
            if self.commit(&changes).await? {
                if reason == RevocationReason::KeyCompromise {
                    self.revoke_late_services(&certificate, act).await?;
                }
                let after = changes.iter().find_map(|change| after(change, &id));
                return Ok(after.cloned().unwrap_or(certificate));
            }
            tries.again(format!("certificate {serial}")).await?;
        }
    }

    /// The revocation of a service's certificate, and of those that are as compromised as it is.
    async fn revoke_of_service(
        &self,
        certificate: &Certificate,
        reason: RevocationReason,
        act: &Act,
    ) -> Result<Vec<Change>, RegistrarError> {
        let mut changes = vec![Change::revoke_service_certificate(
            certificate,
            reason,
            act,
        )?];
        if reason == RevocationReason::KeyCompromise {
            let others = self.services_of_key(&certificate.public_key).await?;
            for other in others.iter().filter(|it| !it.is(&certificate.id())) {
                changes.push(Change::revoke_service_certificate(other, reason, act)?);
            }
        }
        Ok(changes)
    }

    /// Revokes what services had certified for a compromised key while that became known. Whoever announces one later
    /// finds the key compromised before it is signed.
    async fn revoke_late_services(
        &self,
        compromised: &Certificate,
        act: &Act,
    ) -> Result<(), RegistrarError> {
        let reason = RevocationReason::KeyCompromise;
        let mut tries = self.tries();
        loop {
            let late = self.services_of_key(&compromised.public_key).await?;
            let changes = late
                .iter()
                .map(|it| Change::revoke_service_certificate(it, reason, act))
                .collect::<Result<Vec<_>, _>>()?;
            if changes.is_empty() || self.commit(&changes).await? {
                return Ok(());
            }
            tries.again("certificates of a compromised key").await?;
        }
    }

    /// The certificates of services for a key that are not revoked.
    async fn services_of_key(&self, key: &SpkiHash) -> Result<Vec<Certificate>, RegistrarError> {
        let mut found = self.certificates_of_key(key).await?;
        found.retain(|it| matches!(it.holder, Holder::Service { .. }) && !is_revoked(it));
        Ok(found)
    }

    /// Takes a service's certificate back that is not handed out, so that its key is free again.
    pub(crate) async fn withdraw_service(&self, id: &CertificateId, act: &Act) {
        let withdrawn = async {
            let mut tries = self.tries();
            loop {
                let found = self.find_by_id(id).await?;
                if is_revoked(&found) {
                    return Ok(());
                }
                let reason = RevocationReason::Unspecified;
                let change = Change::revoke_service_certificate(&found, reason, act)?;
                if self.commit(slice::from_ref(&change)).await? {
                    return Ok(());
                }
                tries.again(format!("certificate {}", id.serial)).await?;
            }
        };
        let withdrawn: Result<(), RegistrarError> = withdrawn.await;
        if let Err(error) = withdrawn {
            tracing::warn!(
                certificate = %id,
                error = &error as &dyn std::error::Error,
                "a service's certificate that is not handed out could not be withdrawn"
            );
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
        let others = record
            .certificates
            .iter()
            .filter(|other| Some(other.public_key) == key && !other.is(id) && !is_revoked(other));
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

fn is_revoked(certificate: &Certificate) -> bool {
    matches!(certificate.status, CertificateStatus::Revoked { .. })
}

/// A certificate as it is after a change of it.
fn after<'a>(change: &'a Change, id: &CertificateId) -> Option<&'a Certificate> {
    let of_device = change
        .device_after()
        .and_then(|record| record.certificate(id));
    of_device.or_else(|| change.service_certificate_after())
}
