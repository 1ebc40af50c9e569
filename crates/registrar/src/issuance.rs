use std::slice;

use leafgate_identity::{SerialNumber, SpkiHash, UnixMs, Validity};
use leafgate_pki::{Intermediate, Issued, Issuer, Prepared, Profile, PublicKeyInfo};
use leafgate_registry::{
    Act, Certificate, CertificateId, CertificateStatus, Change, Device, DeviceRecord, DeviceState,
    DocumentName, Holder, NewCertificate, RevocationReason,
};

use crate::error::RegistrarError;
use crate::registrar::{Registrar, device_after};
use crate::renew_after::renew_after;
use crate::requests::NewRequest;
use crate::signed::{Signature, id_of};

/// On what occasion a device gets a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Somebody who may asks for it.
    Issue,
    /// The device itself asks, with the certificate that it has.
    Renewal,
    /// The device itself asks, with an enrolment token.
    Enrolment,
}

impl Occasion {
    /// Whether a device in this state gets one. This is the one rule; [`Change::prepare_certificate`] refuses only what
    /// is right on no occasion. A device that enrols may wait for its approval with a certificate in its hands, which
    /// admits it from then on; nobody else gets one for it before.
    const fn allows(self, state: DeviceState) -> bool {
        match self {
            Self::Issue | Self::Renewal => {
                matches!(state, DeviceState::Active | DeviceState::Quarantined)
            }
            Self::Enrolment => matches!(state, DeviceState::Pending | DeviceState::Active),
        }
    }
}

impl Registrar {
    /// Refuses a certificate for this device on this occasion, whatever its key.
    pub(crate) fn check_issuable(
        &self,
        device: &Device,
        occasion: Occasion,
    ) -> Result<(), RegistrarError> {
        if occasion.allows(device.state) {
            return Ok(());
        }
        Err(RegistrarError::NotIssuable {
            id: device.id.clone(),
            state: device.state,
        })
    }

    /// The certificate that the device has for this key, if it is too early for another one: the newest that is issued,
    /// not due for renewal, and of an issuer that is not retired.
    pub(crate) async fn find_issued(
        &self,
        record: &DeviceRecord,
        key: &SpkiHash,
        now: UnixMs,
    ) -> Result<Option<Issued>, RegistrarError> {
        let early = |certificate: &&Certificate| {
            let validity = Validity {
                not_before: certificate.not_before,
                not_after: certificate.not_after,
            };
            certificate.status == CertificateStatus::Issued
                && certificate.public_key == *key
                && certificate
                    .fingerprint
                    .is_some_and(|fingerprint| now < renew_after(validity, &fingerprint))
        };
        for certificate in record.current_certificates().filter(early) {
            if let Some(fingerprint) = certificate.fingerprint
                && let Some(issued) = self
                    .handed_out(Intermediate::Devices, certificate, fingerprint)
                    .await?
            {
                return Ok(Some(issued));
            }
        }
        Ok(None)
    }

    /// The intent to sign a certificate, and what will be signed by the issuer that signs.
    pub(crate) fn prepare(
        &self,
        signer: &dyn Issuer,
        record: &DeviceRecord,
        key: &PublicKeyInfo,
        occasion: Occasion,
        act: &Act,
    ) -> Result<(Change, Plan), RegistrarError> {
        self.check_issuable(&record.device, occasion)?;
        let profile = self.device_profile(signer.spki(), &record.device)?;
        self.limits.check(record, act.at)?;
        let prepared = signer.prepare(profile, key.clone(), act.at)?;
        let Some(serial) = prepared.serial() else {
            let holder = holder(&record.device);
            let request = NewRequest::new(&prepared, &holder, self.random(), act);
            let change = Change::request_certificate(record, request.detail(), act)?
                .with_document(request.write());
            return Ok((change, Plan::Requested(prepared, request.name)));
        };
        let change = Change::prepare_certificate(record, intent(&prepared, serial), act)?;
        Ok((change, Plan::Announced(prepared, serial)))
    }

    fn device_profile(&self, issuer: SpkiHash, device: &Device) -> Result<Profile, RegistrarError> {
        let domain = self.domain(&device.trust_domain)?;
        if !domain.issuers.contains(&issuer) {
            return Err(RegistrarError::IssuerForeign {
                domain: domain.name,
                issuer,
            });
        }
        Ok(Profile::device(&domain.cn_pattern, &device.id)?)
    }

    /// What follows the recorded intent.
    pub(crate) async fn sign_and_record(
        &self,
        record: DeviceRecord,
        plan: Plan,
        occasion: Occasion,
        act: &Act,
    ) -> Result<(DeviceRecord, Issued), RegistrarError> {
        let (prepared, serial) = match plan {
            Plan::Announced(prepared, serial) => (prepared, serial),
            Plan::Requested(prepared, request) => {
                return self
                    .sign_requested(record, prepared, &request, occasion, act)
                    .await;
            }
        };
        let (key, holder) = (prepared.public_key().spki_hash(), holder(&record.device));
        let issuer = prepared.issuer();
        let checked = match self.check_key(&key, &holder, act.at).await {
            Ok(()) => self.check_signs(Intermediate::Devices, &issuer).await,
            refused => refused,
        };
        if let Err(refusal) = checked {
            let id = intent(&prepared, serial).id;
            self.withdraw(&record, &id, act).await;
            return Err(refusal);
        }
        let signature = self.sign(prepared).await?;
        match self.record_issued(record, &signature, act).await {
            Ok(record) => Ok((record, signature.issued)),
            Err(source) => Err(not_recorded(signature.issued.serial, source)),
        }
    }

    /// A commit whose outcome is unknown is looked up, for the certificate may be handed out only
    /// if it is recorded, and must not be lost if it is.
    async fn record_issued(
        &self,
        mut record: DeviceRecord,
        Signature { issued, write }: &Signature,
        act: &Act,
    ) -> Result<DeviceRecord, RegistrarError> {
        let id = id_of(issued);
        let mut tries = self.tries();
        loop {
            let change = Change::record_issued(&record, &id, issued.fingerprint, act)?
                .with_document(write.clone());
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

    /// Takes an intent back that will not be carried out, so that its key is free again. Left as it is, it would admit
    /// nobody and end with its validity.
    pub(crate) async fn withdraw(&self, record: &DeviceRecord, id: &CertificateId, act: &Act) {
        let reason = RevocationReason::Unspecified;
        let withdrawn = self
            .unguarded()
            .change_device(&record.device.id, |record| {
                let change = Change::revoke_certificate(record, id, reason, act)?;
                Ok::<_, RegistrarError>((change, ()))
            })
            .await;
        if let Err(error) = withdrawn {
            tracing::warn!(%id, %error, "an intent to sign a certificate could not be withdrawn");
        }
    }
}

/// The device as a holder.
pub(crate) fn holder(device: &Device) -> Holder {
    Holder::Device {
        id: device.id.clone(),
        generation: device.generation,
    }
}

/// What was recorded of a certificate before it is signed.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Everything, down to its serial number.
    Announced(Prepared, SerialNumber),
    /// That it is asked for, in the document of this name.
    Requested(Prepared, DocumentName),
}

pub(crate) fn intent(prepared: &Prepared, serial: SerialNumber) -> NewCertificate {
    NewCertificate {
        id: CertificateId {
            issuer: prepared.issuer(),
            serial,
        },
        profile: prepared.profile().kind().as_str().into(),
        public_key: prepared.public_key().spki_hash(),
        validity: prepared.validity(),
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
