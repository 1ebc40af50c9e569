use leafgate_identity::{DeviceId, Fingerprint, SpkiHash, UnixMs};
use leafgate_pki::PublicKeyInfo;
use leafgate_registry::{Act, CertificateStatus, DeviceRecord};

use crate::certificates::DeviceCredentials;
use crate::error::{RegistrarError, RenewalRefusal};
use crate::occasion::Occasion;
use crate::registrar::Registrar;

impl Registrar {
    /// Issues a certificate to a device that asks for it with the one that it has: `presented` is the SHA-256 of a
    /// certificate of which the device has just shown that it holds the key. That certificate must be one of the
    /// device's present registration and be accepted, but that it may have ended not too long ago
    /// ([`with_renew_grace`](Self::with_renew_grace)). The key in the request may be the same or another one.
    ///
    /// # Errors
    /// [`RegistrarError::RenewalRefused`]; else as [`issue`](Self::issue).
    pub async fn renew(
        &self,
        id: &DeviceId,
        presented: &Fingerprint,
        csr_pem: &str,
        act: &Act,
    ) -> Result<DeviceCredentials, RegistrarError> {
        let key = PublicKeyInfo::from_csr_pem(csr_pem)?;
        let record = self.store.load(id).await?;
        let refuse = |why| refused(id, why);
        // What is not registered is told from what is not recorded to nobody.
        let record = record.ok_or_else(|| refuse(RenewalRefusal::Unknown))?;
        let presented_key = self.check_presented(&record, presented, act.at)?;
        if presented_key != key.spki_hash() {
            match self.check_compromise(&presented_key).await {
                Err(RegistrarError::KeyCompromised { .. }) => {
                    return Err(refuse(RenewalRefusal::KeyCompromised));
                }
                other => other?,
            }
        }
        let admit =
            |record: &DeviceRecord| self.check_presented(record, presented, act.at).map(drop);
        let (device, issued, newly_issued) = self
            .issue_for(record, &key, Occasion::Renewal, admit, act)
            .await?;
        let credentials = DeviceCredentials::new(device, issued, None);
        Ok(DeviceCredentials {
            newly_issued,
            ..credentials
        })
    }

    /// The key of the presented certificate, if that can be renewed.
    fn check_presented(
        &self,
        record: &DeviceRecord,
        presented: &Fingerprint,
        now: UnixMs,
    ) -> Result<SpkiHash, RegistrarError> {
        let refuse = |why| Err(refused(&record.device.id, why));
        Occasion::Renewal.check(&record.device)?;
        let Some(certificate) = record.certificate_by_fingerprint(presented) else {
            return refuse(RenewalRefusal::Unknown);
        };
        if !certificate.status.admits(now) {
            return refuse(match certificate.status {
                CertificateStatus::Superseded { at } => RenewalRefusal::Superseded { ended: at },
                _ => RenewalRefusal::Revoked,
            });
        }
        if now > certificate.not_after.saturating_add(self.renew_grace) {
            return refuse(RenewalRefusal::TooLate {
                ended: certificate.not_after,
            });
        }
        Ok(certificate.public_key)
    }
}

fn refused(id: &DeviceId, why: RenewalRefusal) -> RegistrarError {
    RegistrarError::RenewalRefused {
        id: id.clone(),
        why,
    }
}
