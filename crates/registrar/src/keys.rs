use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, UnixMs};
use leafgate_registry::{
    Certificate, CertificateQuery, CertificateStatus, Holder, RevocationReason,
};

use crate::error::RegistrarError;
use crate::registrar::Registrar;

impl Registrar {
    /// Refuses a key that some certificate was revoked for, since whoever has it besides would be let in again, and one
    /// that somebody else holds: they could pass for each other.
    ///
    /// Asked before an intent is recorded, it keeps the registry clean; asked after it, nobody passes it, for of two
    /// that ask for one key at a time at least one sees the other's intent.
    pub(crate) async fn check_key(
        &self,
        key: &SpkiHash,
        holder: &Holder,
        now: UnixMs,
    ) -> Result<(), RegistrarError> {
        let certificates = self.certificates_of_key(key).await?;
        refuse_compromised(&certificates, Some(holder))?;
        let other = certificates
            .iter()
            .find(|certificate| is_in_the_way(certificate, holder, now));
        match other.map(|certificate| &certificate.holder) {
            None => Ok(()),
            Some(Holder::Device { id, .. }) => Err(RegistrarError::KeyHeld {
                holder: self.nameable(id).await?,
            }),
            Some(Holder::Service { .. }) => Err(RegistrarError::KeyHeld { holder: None }),
        }
    }

    /// Refuses a key that some certificate was revoked for as compromised.
    pub(crate) async fn check_compromise(&self, key: &SpkiHash) -> Result<(), RegistrarError> {
        refuse_compromised(&self.certificates_of_key(key).await?, None)
    }

    pub(crate) async fn certificates_of_key(
        &self,
        key: &SpkiHash,
    ) -> Result<Vec<Certificate>, RegistrarError> {
        let query = CertificateQuery {
            public_key: Some(*key),
            ..CertificateQuery::default()
        };
        self.find_all_certificates(query).await
    }

    /// The device, if whoever asks may see it.
    async fn nameable(&self, id: &DeviceId) -> Result<Option<DeviceId>, RegistrarError> {
        let record = self.store.load(id).await?;
        let seen = record.filter(|record| self.guard.reaches(&record.device));
        Ok(seen.map(|record| record.device.id))
    }
}

fn refuse_compromised(
    certificates: &[Certificate],
    holder: Option<&Holder>,
) -> Result<(), RegistrarError> {
    let mut revoked = certificates.iter().filter(|certificate| {
        matches!(
            certificate.status,
            CertificateStatus::Revoked {
                reason: RevocationReason::KeyCompromise,
                ..
            }
        )
    });
    let Some(first) = revoked.next() else {
        return Ok(());
    };
    let own = std::iter::once(first)
        .chain(revoked)
        .find(|certificate| holder.is_some_and(|holder| is_same(holder, &certificate.holder)));
    let serial: Option<SerialNumber> = own.map(|certificate| certificate.serial);
    Err(RegistrarError::KeyCompromised { serial })
}

/// Whether a certificate of somebody else keeps the key from this holder. Services may share a key among themselves.
fn is_in_the_way(certificate: &Certificate, holder: &Holder, now: UnixMs) -> bool {
    let revoked = matches!(certificate.status, CertificateStatus::Revoked { .. });
    let both_services = matches!(
        (holder, &certificate.holder),
        (Holder::Service { .. }, Holder::Service { .. })
    );
    !revoked
        && certificate.not_after > now
        && !both_services
        && !is_same(holder, &certificate.holder)
}

/// Whether this is one device, of whichever generation, or one service.
fn is_same(one: &Holder, other: &Holder) -> bool {
    match (one, other) {
        (Holder::Device { id, .. }, Holder::Device { id: other, .. }) => id == other,
        (Holder::Service { name }, Holder::Service { name: other }) => name == other,
        _ => false,
    }
}
