use leafgate_identity::{SpkiHash, UnixMs};
use leafgate_pki::{Issued, Issuer, Prepared, ProfileKind};
use leafgate_registry::{
    Act, Certificate, Change, Device, DeviceRecord, DocumentName, Holder, NewCertificate,
};

use crate::enrolment::refuse_equipped;
use crate::error::RegistrarError;
use crate::limits::UNSIGNED_COUNTS;
use crate::occasion::Occasion;
use crate::registrar::{Registrar, device_after, service_after};
use crate::requests::recorded;
use crate::signed::{Signature, id_of, is_recorded, not_recorded};

impl Registrar {
    /// Refuses a device that keeps asking for certificates which its issuer doesn't sign.
    pub(crate) async fn check_requests(
        &self,
        device: &Device,
        issuer: &dyn Issuer,
        now: UnixMs,
    ) -> Result<(), RegistrarError> {
        if issuer.inventory().is_none() {
            return Ok(());
        }
        let requests = self
            .unrecorded_requests(&issuer.spki(), device, None)
            .await?;
        let ends = requests
            .iter()
            .map(|request| request.at.saturating_add(UNSIGNED_COUNTS))
            .collect();
        self.limits.check_requests(&device.id, ends, now)
    }

    /// Whether a certificate for this key was asked for before and came to nothing that is known.
    pub(crate) async fn was_requested(
        &self,
        device: &Device,
        key: &SpkiHash,
        issuer: &dyn Issuer,
    ) -> Result<bool, RegistrarError> {
        if issuer.inventory().is_none() {
            return Ok(false);
        }
        let requests = self
            .unrecorded_requests(&issuer.spki(), device, Some(key))
            .await?;
        Ok(!requests.is_empty())
    }

    /// What follows the recorded request: the signature, and the certificate in the registry.
    pub(crate) async fn sign_requested(
        &self,
        record: DeviceRecord,
        prepared: Prepared,
        request: &DocumentName,
        occasion: Occasion,
        act: &Act,
    ) -> Result<(DeviceRecord, Issued), RegistrarError> {
        let (key, kind) = (prepared.public_key().spki_hash(), prepared.profile().kind());
        let holder = record.device.holder();
        let signature = self.sign_request(prepared, request, &holder, act).await?;
        let new = new_certificate(&signature.issued, kind, key);
        let serial = signature.issued.serial;
        let recorded = self
            .record_requested(record, request, new, &signature, occasion, act)
            .await;
        let record = match recorded {
            Ok(record) => record,
            Err(source) => {
                self.abandon_refused(request, &signature.issued, &source, act)
                    .await;
                return Err(not_recorded(serial, source));
            }
        };
        // Of two that ask for one key at a time at least one sees the other's certificate.
        if let Err(refusal) = self.check_key(&key, &holder, act.at).await {
            self.withdraw(&record, &id_of(&signature.issued), act).await;
            return Err(refusal);
        }
        Ok((record, signature.issued))
    }

    /// Records a certificate with its serial number and fingerprint, and closes its request, in one commit; if the device
    /// may still have it.
    async fn record_requested(
        &self,
        mut record: DeviceRecord,
        request: &DocumentName,
        new: NewCertificate,
        Signature { issued, write }: &Signature,
        occasion: Occasion,
        act: &Act,
    ) -> Result<DeviceRecord, RegistrarError> {
        let generation = record.device.generation;
        let mut tries = self.tries();
        loop {
            let (document, content) = self.open_request(request).await?;
            if record.device.generation != generation {
                return Err(RegistrarError::DeviceUnknown {
                    id: record.device.id,
                });
            }
            occasion.check(&record.device)?;
            if occasion == Occasion::Enrolment {
                refuse_equipped(&record)?;
            }
            self.limits.check(&record, act.at)?;
            let prepare = Change::prepare_certificate(&record, new.clone(), act)?;
            let issue =
                Change::record_issued(device_after(&prepare), &new.id, issued.fingerprint, act)?
                    .with_document(write.clone())
                    .with_document(recorded(&document, content, act));
            let after = device_after(&issue).clone();
            let unconfirmed = match self.commit(&[prepare, issue]).await {
                Ok(true) => return Ok(after),
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
                .certificate(&new.id)
                .is_some_and(|certificate| is_recorded(certificate, issued))
            {
                return Ok(record);
            }
            tries.again(&record.device.id).await?;
        }
    }

    /// The same for a service; the older ones of the same name and kind are superseded.
    pub(crate) async fn sign_requested_service(
        &self,
        name: &str,
        prepared: Prepared,
        request: &DocumentName,
        act: &Act,
    ) -> Result<(Certificate, Issued), RegistrarError> {
        let (key, kind) = (prepared.public_key().spki_hash(), prepared.profile().kind());
        let holder = Holder::Service {
            name: name.to_owned(),
        };
        let signature = self.sign_request(prepared, request, &holder, act).await?;
        let new = new_certificate(&signature.issued, kind, key);
        let recorded = self
            .record_requested_service(name, request, new, &signature, act)
            .await;
        let record = match recorded {
            Ok(record) => record,
            Err(source) => {
                self.abandon_refused(request, &signature.issued, &source, act)
                    .await;
                return Err(not_recorded(signature.issued.serial, source));
            }
        };
        if let Err(refusal) = self.check_key(&key, &holder, act.at).await {
            self.withdraw_service(&id_of(&signature.issued), act).await;
            return Err(refusal);
        }
        Ok((record, signature.issued))
    }

    async fn record_requested_service(
        &self,
        name: &str,
        request: &DocumentName,
        new: NewCertificate,
        Signature { issued, write }: &Signature,
        act: &Act,
    ) -> Result<Certificate, RegistrarError> {
        let mut tries = self.tries();
        loop {
            let (document, content) = self.open_request(request).await?;
            let prepare = Change::prepare_service_certificate(name, new.clone(), act)?;
            let prepared = service_after(&prepare);
            let issue = Change::record_service_issued(prepared, issued.fingerprint, act)?
                .with_document(write.clone())
                .with_document(recorded(&document, content, act));
            let after = service_after(&issue).clone();
            let older = self.supersede_services(prepared, act).await?;
            let mut changes = vec![prepare, issue];
            changes.extend(older);
            let unconfirmed = match self.commit(&changes).await {
                Ok(true) => return Ok(after),
                Ok(false) => None,
                Err(source @ RegistrarError::Unconfirmed(_)) => Some(source),
                Err(other) => return Err(other),
            };
            match (self.find_by_id(&new.id).await, unconfirmed) {
                (Ok(found), _) if is_recorded(&found, issued) => return Ok(found),
                (_, Some(unconfirmed)) => return Err(unconfirmed),
                (_, None) => {}
            }
            tries.again(format!("certificates of {name}")).await?;
        }
    }

    /// Has the issuer sign what a recorded request asks for; what comes of it otherwise is noted in the request.
    async fn sign_request(
        &self,
        prepared: Prepared,
        request: &DocumentName,
        holder: &Holder,
        act: &Act,
    ) -> Result<Signature, RegistrarError> {
        if let Err(refusal) = self.check_signable(&prepared, holder, act).await {
            self.abandon(request, None, act).await;
            return Err(refusal);
        }
        let signature = self.sign(prepared).await;
        if let Err(error) = &signature {
            self.note_not_signed(request, error, act).await;
        }
        signature
    }

    /// Gives a signed certificate up that may not be recorded. Where it is not known whether it is, it is left alone: it
    /// will be looked after when the store can be read again.
    async fn abandon_refused(
        &self,
        request: &DocumentName,
        issued: &Issued,
        why: &RegistrarError,
        act: &Act,
    ) {
        if !matches!(
            why,
            RegistrarError::Store(_) | RegistrarError::Unconfirmed(_)
        ) {
            self.abandon(request, Some(issued.serial), act).await;
        }
    }
}

fn new_certificate(issued: &Issued, kind: ProfileKind, key: SpkiHash) -> NewCertificate {
    NewCertificate {
        id: id_of(issued),
        profile: kind.as_str().to_owned(),
        public_key: key,
        validity: issued.validity,
    }
}
