use std::slice;

use leafgate_identity::{SerialNumber, SpkiHash, UnixMs, Validity};
use leafgate_pki::{Intermediate, Issued, Issuer, Prepared, Profile, PublicKeyInfo};
use leafgate_registry::{
    Act, Certificate, CertificateId, CertificateStatus, Change, Device, DeviceRecord, DocumentName,
    Holder, NewCertificate, RevocationReason,
};

use crate::error::RegistrarError;
use crate::occasion::Occasion;
use crate::registrar::{Registrar, device_after};
use crate::renew_after::renew_after;
use crate::requests::NewRequest;
use crate::signed::{Signature, id_of, is_recorded, not_recorded};

impl Registrar {
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
        occasion.check(&record.device)?;
        let profile = self.device_profile(signer.spki(), &record.device)?;
        self.limits.check(record, act.at)?;
        let prepared = signer.prepare(profile, key.clone(), act.at)?;
        let Some(serial) = prepared.serial() else {
            let holder = record.device.holder();
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
        let holder = record.device.holder();
        if let Err(refusal) = self.check_signable(&prepared, &holder, act).await {
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

    /// Asked once the intent is recorded: nobody has the key certified whose it is not, nor an issuer that is retired sign.
    pub(crate) async fn check_signable(
        &self,
        prepared: &Prepared,
        holder: &Holder,
        act: &Act,
    ) -> Result<(), RegistrarError> {
        let key = prepared.public_key().spki_hash();
        self.check_key(&key, holder, act.at).await?;
        let intermediate = prepared.profile().kind().intermediate();
        self.check_signs(intermediate, &prepared.issuer()).await
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
