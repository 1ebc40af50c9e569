use std::slice;

use leafgate_identity::{DeviceId, SerialNumber, SpkiHash};
use leafgate_pki::{
    BuildProfileError, Intermediate, Issued, KeyPairPem, Prepared, Profile, PublicKeyInfo,
};
use leafgate_registry::{
    Act, Certificate, CertificateId, CertificateQuery, CertificateStatus, Change, Device,
    DeviceRecord, DeviceState, Holder, NewCertificate, NewDevice, RevocationReason,
};
use secrecy::SecretString;

use crate::error::RegistrarError;
use crate::registrar::{Registrar, device_after};

/// The key that a certificate is asked for.
#[derive(Clone, Copy, Debug)]
pub enum CertificateKey<'a> {
    /// One that is made here and handed out with the certificate.
    New,
    /// The one in this certificate request (PEM), of which nothing else is used.
    Csr(&'a str),
}

/// A device's new certificate.
#[derive(Debug)]
pub struct DeviceCredentials {
    /// The device afterwards.
    pub device: DeviceRecord,
    /// The certificate.
    pub issued: Issued,
    /// Its private key, if it was made here. It is kept nowhere.
    pub private_key_pem: Option<SecretString>,
}

impl Registrar {
    /// Registers a device and issues its first certificate, registration and intent in one
    /// commit.
    ///
    /// # Errors
    /// As [`register`](Self::register) and [`issue`](Self::issue). A pending device is refused
    /// before anything is done; [`RegistrarError::RegisteredWithoutCertificate`] says that the
    /// device stays registered.
    pub async fn register_with_certificate(
        &self,
        new: NewDevice,
        key: CertificateKey<'_>,
        act: &Act,
    ) -> Result<DeviceCredentials, RegistrarError> {
        if new.pending {
            return Err(RegistrarError::NotIssuable {
                id: new.id,
                state: DeviceState::Pending,
            });
        }
        self.check_name(&new)?;
        let (key, private_key_pem) = key.resolve()?;
        let (record, prepared) = self.register_and_prepare(&new, &key, act).await?;
        let (device, issued) =
            self.sign_and_record(record, prepared, act)
                .await
                .map_err(|source| RegistrarError::RegisteredWithoutCertificate {
                    id: new.id,
                    source: Box::new(source),
                })?;
        Ok(DeviceCredentials {
            device,
            issued,
            private_key_pem,
        })
    }

    async fn register_and_prepare(
        &self,
        new: &NewDevice,
        key: &PublicKeyInfo,
        act: &Act,
    ) -> Result<(DeviceRecord, Prepared), RegistrarError> {
        let mut tries = self.tries();
        loop {
            let existing = self.store.load(&new.id).await?;
            let register = Change::register(existing.as_ref(), new.clone(), act)?;
            let (prepare, prepared) = self.prepare(device_after(&register), key, act)?;
            let record = device_after(&prepare).clone();
            if self.commit(&[register, prepare]).await? {
                return Ok((record, prepared));
            }
            tries.again(&new.id).await?;
        }
    }

    /// Makes a key and issues a certificate for it. See [`issue`](Self::issue).
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub async fn issue_with_new_key(
        &self,
        id: &DeviceId,
        act: &Act,
    ) -> Result<DeviceCredentials, RegistrarError> {
        self.issue(id, CertificateKey::New, act).await
    }

    /// Issues a certificate for the key in a certificate request. See [`issue`](Self::issue).
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub async fn sign_csr(
        &self,
        id: &DeviceId,
        csr_pem: &str,
        act: &Act,
    ) -> Result<DeviceCredentials, RegistrarError> {
        self.issue(id, CertificateKey::Csr(csr_pem), act).await
    }

    /// Issues a certificate to an active or quarantined device. The older ones of its present
    /// generation count until the overlap ends.
    ///
    /// # Errors
    /// There is no such device, its state allows no certificate, its trust domain is served by
    /// another issuer, the request or its key is refused, or the store or the issuer fails.
    /// [`RegistrarError::NotSigned`] and [`RegistrarError::SignedNotRecorded`] say how far it
    /// came; in neither case is there anything to clean up, but a new one to ask for.
    pub async fn issue(
        &self,
        id: &DeviceId,
        key: CertificateKey<'_>,
        act: &Act,
    ) -> Result<DeviceCredentials, RegistrarError> {
        let (key, private_key_pem) = key.resolve()?;
        let (record, prepared) = self
            .change_device(id, |record| self.prepare(record, &key, act))
            .await?;
        let (device, issued) = self.sign_and_record(record, prepared, act).await?;
        Ok(DeviceCredentials {
            device,
            issued,
            private_key_pem,
        })
    }

    /// The intent to sign a certificate, and what will be signed.
    fn prepare(
        &self,
        record: &DeviceRecord,
        key: &PublicKeyInfo,
        act: &Act,
    ) -> Result<(Change, Prepared), RegistrarError> {
        let profile = self.device_profile(&record.device)?;
        refuse_compromised(key, &record.certificates)?;
        let prepared = self
            .issuer(Intermediate::Devices)
            .prepare(profile, key.clone(), act.at)?;
        let change = Change::prepare_certificate(record, intent(&prepared), act)?;
        Ok((change, prepared))
    }

    fn device_profile(&self, device: &Device) -> Result<Profile, RegistrarError> {
        if !device.state.admits() {
            return Err(RegistrarError::NotIssuable {
                id: device.id.clone(),
                state: device.state,
            });
        }
        let domain = self.domain(&device.trust_domain)?;
        let issuer = self.issuer(Intermediate::Devices).spki();
        if !domain.issuers.contains(&issuer) {
            return Err(RegistrarError::IssuerForeign {
                domain: domain.name.clone(),
                issuer,
            });
        }
        Ok(Profile::device(&domain.cn_pattern, &device.id)?)
    }

    async fn sign_and_record(
        &self,
        record: DeviceRecord,
        prepared: Prepared,
        act: &Act,
    ) -> Result<(DeviceRecord, Issued), RegistrarError> {
        let issued = self.sign(Intermediate::Devices, prepared).await?;
        match self.record_issued(record, &issued, act).await {
            Ok(record) => Ok((record, issued)),
            Err(source) => Err(not_recorded(issued.serial, source)),
        }
    }

    pub(crate) async fn sign(
        &self,
        intermediate: Intermediate,
        prepared: Prepared,
    ) -> Result<Issued, RegistrarError> {
        let serial = prepared.serial();
        self.issuer(intermediate)
            .issue(prepared)
            .await
            .map_err(|source| RegistrarError::NotSigned { serial, source })
    }

    /// A commit whose outcome is unknown is looked up, for the certificate may be handed out only
    /// if it is recorded, and must not be lost if it is.
    async fn record_issued(
        &self,
        mut record: DeviceRecord,
        issued: &Issued,
        act: &Act,
    ) -> Result<DeviceRecord, RegistrarError> {
        let id = id_of(issued);
        let overlap_ends = act.at.saturating_add(self.overlap);
        let mut tries = self.tries();
        loop {
            let change =
                Change::record_renewed(&record, &id, issued.fingerprint, overlap_ends, act)?;
            let unconfirmed = match self.commit(slice::from_ref(&change)).await {
                Ok(true) => return Ok(device_after(&change).clone()),
                Ok(false) => None,
                Err(source @ RegistrarError::Unconfirmed(_)) => Some(source),
                Err(other) => return Err(other),
            };
            record = match (self.load(&record.device.id).await, unconfirmed) {
                (Ok(record), _) => record,
                (Err(_), Some(unconfirmed)) => return Err(unconfirmed),
                (Err(source), None) => return Err(source),
            };
            if record
                .certificate(&id)
                .is_some_and(|certificate| is_recorded(certificate, issued))
            {
                return Ok(record);
            }
            tries.again(&record.device.id).await?;
        }
    }

    /// Revokes one certificate, of a device or a service. `issuer` is needed only where two
    /// issuers gave out the same serial number.
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
            let change = match &certificate.holder {
                Holder::Device { id: device, .. } => {
                    let record = self.load(device).await?;
                    Change::revoke_certificate(&record, &id, reason, act)?
                }
                Holder::Service { .. } => {
                    Change::revoke_service_certificate(&certificate, reason, act)?
                }
            };
            if self.commit(slice::from_ref(&change)).await? {
                let after = change
                    .device_after()
                    .and_then(|record| record.certificate(&id))
                    .or_else(|| change.service_certificate_after());
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

impl CertificateKey<'_> {
    pub(crate) fn resolve(self) -> Result<(PublicKeyInfo, Option<SecretString>), RegistrarError> {
        match self {
            Self::New => {
                let KeyPairPem {
                    private_key_pem,
                    public,
                } = KeyPairPem::generate()?;
                Ok((public, Some(private_key_pem)))
            }
            Self::Csr(pem) => Ok((PublicKeyInfo::from_csr_pem(pem)?, None)),
        }
    }
}

/// Refuses a key that a certificate of the same holder, of whatever generation, was revoked for:
/// whoever has it besides would be let in again.
pub(crate) fn refuse_compromised(
    key: &PublicKeyInfo,
    certificates: &[Certificate],
) -> Result<(), RegistrarError> {
    let compromised = certificates.iter().find(|certificate| {
        let reason = match certificate.status {
            CertificateStatus::Revoked { reason, .. } => Some(reason),
            _ => None,
        };
        certificate.public_key == key.spki_hash() && reason == Some(RevocationReason::KeyCompromise)
    });
    match compromised {
        Some(Certificate { serial, .. }) => Err(RegistrarError::KeyCompromised { serial: *serial }),
        None => Ok(()),
    }
}

pub(crate) fn intent(prepared: &Prepared) -> NewCertificate {
    NewCertificate {
        id: CertificateId {
            issuer: prepared.issuer(),
            serial: prepared.serial(),
        },
        profile: prepared.profile().kind().as_str().into(),
        public_key: prepared.public_key().spki_hash(),
        validity: prepared.validity(),
    }
}

pub(crate) fn id_of(issued: &Issued) -> CertificateId {
    CertificateId {
        issuer: issued.issuer,
        serial: issued.serial,
    }
}

/// Whether the registry knows this very certificate as issued. A newer one may have superseded
/// it already.
pub(crate) fn is_recorded(certificate: &Certificate, issued: &Issued) -> bool {
    certificate.fingerprint == Some(issued.fingerprint)
        && !matches!(certificate.status, CertificateStatus::Revoked { .. })
}

pub(crate) fn not_recorded(serial: SerialNumber, source: RegistrarError) -> RegistrarError {
    tracing::warn!(%serial, "a certificate was signed and could not be recorded; it is not handed out");
    RegistrarError::SignedNotRecorded {
        serial,
        source: Box::new(source),
    }
}

impl From<BuildProfileError> for RegistrarError {
    fn from(source: BuildProfileError) -> Self {
        Self::Name(source)
    }
}
