mod tokens;

use leafgate_access::{Admits, EnrolmentToken, EnrolmentTokenText};
use leafgate_identity::{DeviceId, SpkiHash};
use leafgate_pki::{Intermediate, Issued, Issuer, PublicKeyInfo};
use leafgate_registry::{
    Act, Certificate, CertificateStatus, Change, DeviceRecord, DeviceState, Holder, NewDevice,
    RevocationReason,
};

use self::tokens::PresentedToken;
pub use self::tokens::TokenStatus;
use crate::certificates::DeviceCredentials;
use crate::error::{EnrolError, EnrolmentBar, RegistrarError};
use crate::issuance::Plan;
use crate::occasion::Occasion;
use crate::registrar::{Registrar, device_after};

impl Registrar {
    /// Lets a new device in with an enrolment token, and issues its first certificate for the key in the certificate
    /// request. An id that is not registered is registered, as the token says: waiting for approval if the token doesn't
    /// name it. The use of the token is counted in the commit that announces the certificate.
    ///
    /// A device that asks again with the same key, while the token counts and its certificate is not due for renewal,
    /// gets the same certificate: its first answer may have been lost.
    ///
    /// # Errors
    /// [`RegistrarError::Enrol`]; else as [`issue`](Self::issue).
    pub async fn enrol(
        &self,
        text: &EnrolmentTokenText,
        id: &DeviceId,
        csr_pem: &str,
        act: &Act,
    ) -> Result<DeviceCredentials, RegistrarError> {
        let token = self.presented_token(text, act.at).await?.token;
        // Whoever has no token costs no check of a signature.
        let key = PublicKeyInfo::from_csr_pem(csr_pem)?;
        covers(&token, id, &key.spki_hash())?;
        self.check_name(&new_device(&token, id))?;
        let first = Holder::Device {
            id: id.clone(),
            generation: 1,
        };
        self.check_key(&key.spki_hash(), &first, act.at).await?;
        match self.admit(text, id, &key, act).await? {
            Admission::Again(device, issued) => Ok(DeviceCredentials {
                newly_issued: false,
                ..DeviceCredentials::new(device, issued, None)
            }),
            Admission::First(record, plan) => {
                let (device, issued) = self
                    .sign_and_record(record, plan, Occasion::Enrolment, act)
                    .await?;
                Ok(DeviceCredentials::new(device, issued, None))
            }
        }
    }

    /// Records the intent and counts the use. Those who come with one token at a time take turns: in one process none
    /// then fails for another's sake, and between processes few do.
    async fn admit(
        &self,
        text: &EnrolmentTokenText,
        id: &DeviceId,
        key: &PublicKeyInfo,
        act: &Act,
    ) -> Result<Admission, RegistrarError> {
        let _turn = self.turns.of(&text.id).await;
        let signer = self.signer(Intermediate::Devices).await?;
        let mut tries = self.tries();
        loop {
            let presented = self.presented_token(text, act.at).await?;
            let token = &presented.token;
            covers(token, id, &key.spki_hash())?;
            let existing = self.store.load(id).await?;
            let requested = match &existing {
                Some(record) => {
                    self.was_requested(&record.device, &key.spki_hash(), &*signer)
                        .await?
                }
                None => false,
            };
            if let Some(record) = &existing {
                may_enrol(record, token, &key.spki_hash(), requested)?;
                let before = self.find_issued(record, &key.spki_hash(), act.at).await?;
                if let Some(issued) = before {
                    return Ok(Admission::Again(record.clone(), issued));
                }
                refuse_equipped(record)?;
                self.check_requests(&record.device, &*signer, act.at)
                    .await?;
            }
            let (changes, plan) = self.build_enrolment(
                &*signer,
                &presented,
                existing.as_ref(),
                requested,
                key,
                (id, act),
            )?;
            let record = changes.last().map(device_after).cloned();
            let committed = self.commit(&changes).await;
            match (committed, record) {
                (Ok(true), Some(record)) => return Ok(Admission::First(record, plan)),
                (Err(RegistrarError::IdTaken { .. }), _) => return Err(taken(token, id).into()),
                (Err(other), _) => return Err(other),
                (Ok(_), _) => tries.again(id).await?,
            }
        }
    }

    /// Registers the device if need be, withdraws what was prepared for another key and never handed out, announces the
    /// certificate, and counts the use.
    fn build_enrolment(
        &self,
        signer: &dyn Issuer,
        presented: &PresentedToken,
        existing: Option<&DeviceRecord>,
        requested: bool,
        key: &PublicKeyInfo,
        (id, act): (&DeviceId, &Act),
    ) -> Result<(Vec<Change>, Plan), RegistrarError> {
        let mut changes = Vec::new();
        let mut record = match existing {
            Some(existing) => existing.clone(),
            None => {
                let register = Change::register(None, new_device(&presented.token, id), act)?;
                let record = device_after(&register).clone();
                changes.push(register);
                record
            }
        };
        let spki = key.spki_hash();
        // A use is a device that is let in, however many keys it comes with until it has a certificate.
        let is_listed = presented.token.admits.ids().next().is_some();
        let was_counted =
            requested || in_preparation(&record).any(|left| is_listed || left.public_key == spki);
        let others: Vec<_> = in_preparation(&record)
            .filter(|left| left.public_key != spki)
            .map(Certificate::id)
            .collect();
        for other in others {
            let reason = RevocationReason::Unspecified;
            let withdraw = Change::revoke_certificate(&record, &other, reason, act)?;
            record = device_after(&withdraw).clone();
            changes.push(withdraw);
        }
        let (prepare, plan) = self.prepare(signer, &record, key, Occasion::Enrolment, act)?;
        changes.push(prepare.with_document(presented.used(!was_counted)?));
        Ok((changes, plan))
    }
}

/// What comes of an enrolment that is not refused.
enum Admission {
    /// The intent to sign is recorded.
    First(DeviceRecord, Plan),
    /// The device has its certificate.
    Again(DeviceRecord, Issued),
}

/// Whether a token lets this id in with this key, whether or not there is such a device.
fn covers(token: &EnrolmentToken, id: &DeviceId, key: &SpkiHash) -> Result<(), EnrolError> {
    let not_covered = || EnrolError::NotCovered { id: id.clone() };
    match &token.admits {
        Admits::Ids(ids) if ids.contains(id) => Ok(()),
        Admits::Ids(_) => Err(not_covered()),
        Admits::Manifest(manifest) => match manifest.get(id) {
            Some(listed) if listed == key => Ok(()),
            Some(_) => Err(EnrolError::KeyForeign { id: id.clone() }),
            None => Err(not_covered()),
        },
        Admits::Unnamed { .. } => Ok(()),
    }
}

/// Whether a device that is registered may enrol with a token that covers it. A token that doesn't name it covers none that
/// is registered, but for one that has begun with this key and comes again: a certificate is in preparation, or was
/// `requested` of an issuer elsewhere.
fn may_enrol(
    record: &DeviceRecord,
    token: &EnrolmentToken,
    key: &SpkiHash,
    requested: bool,
) -> Result<(), EnrolError> {
    let device = &record.device;
    let has_begun = requested || record.current_certificates().any(|c| c.public_key == *key);
    if matches!(token.admits, Admits::Unnamed { .. }) && !has_begun {
        return Err(EnrolError::NotCovered {
            id: device.id.clone(),
        });
    }
    let bar = if !matches!(device.state, DeviceState::Pending | DeviceState::Active) {
        EnrolmentBar::State(device.state)
    } else if device.trust_domain != token.trust_domain {
        EnrolmentBar::Differs("trust domain")
    } else if device.device_type != token.device_type {
        EnrolmentBar::Differs("type")
    } else if device.site != token.site {
        EnrolmentBar::Differs("site")
    } else {
        return Ok(());
    };
    Err(EnrolError::Illegal {
        id: device.id.clone(),
        bar,
    })
}

/// Refuses a device that ever had a certificate. What was prepared and not signed, or not handed out, doesn't count.
pub(crate) fn refuse_equipped(record: &DeviceRecord) -> Result<(), EnrolError> {
    let mut signed = record.certificates.iter().map(|c| c.fingerprint);
    if signed.any(|fingerprint| fingerprint.is_some()) {
        return Err(EnrolError::Illegal {
            id: record.device.id.clone(),
            bar: EnrolmentBar::HasHadCertificate,
        });
    }
    Ok(())
}

/// The certificates that are announced and not recorded as signed.
fn in_preparation(record: &DeviceRecord) -> impl Iterator<Item = &Certificate> {
    record
        .current_certificates()
        .filter(|certificate| certificate.status == CertificateStatus::Prepared)
}

/// The id is another device's in other letters: told only to whom it was named.
fn taken(token: &EnrolmentToken, id: &DeviceId) -> EnrolError {
    let id = id.clone();
    match token.admits {
        Admits::Unnamed { .. } => EnrolError::NotCovered { id },
        Admits::Ids(_) | Admits::Manifest(_) => EnrolError::Illegal {
            id,
            bar: EnrolmentBar::IdTaken,
        },
    }
}

/// The device that a token registers.
fn new_device(token: &EnrolmentToken, id: &DeviceId) -> NewDevice {
    NewDevice {
        id: id.clone(),
        trust_domain: token.trust_domain.clone(),
        pending: matches!(token.admits, Admits::Unnamed { .. }),
        device_type: token.device_type.clone(),
        site: token.site.clone(),
        attributes: token.attributes.clone(),
    }
}
