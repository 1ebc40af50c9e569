use leafgate_identity::{Excerpt, Fingerprint, SerialNumber, UnixMs};
use leafgate_pki::{Profile, PublicKeyInfo};
use leafgate_registry::{Act, Certificate, CertificateQuery, CertificateStatus, Holder};

use crate::certificates::CertificateKey;
use crate::error::{RegistrarError, RenewalRefusal};
use crate::limits::{day_ends, room_at};
use crate::registrar::Registrar;
use crate::services::{Service, ServiceCredentials};

impl Registrar {
    /// Issues a certificate to a part of the installation that asks for it with the one that it has, for the same names:
    /// `presented` is the SHA-256 of a certificate with this serial number, which names this service, and of which it
    /// has just shown that it holds the key. That certificate must be accepted, but that it may have ended not too long
    /// ago ([`with_renew_grace`](Self::with_renew_grace)). The key in the request may be the same or another one.
    ///
    /// # Errors
    /// [`RegistrarError::ServiceRenewalRefused`] and [`RegistrarError::ServiceIssuanceLimited`]; else as
    /// [`issue_service_certificate`](Self::issue_service_certificate).
    pub async fn renew_service(
        &self,
        service: &Service,
        serial: SerialNumber,
        presented: &Fingerprint,
        csr_pem: &str,
        act: &Act,
    ) -> Result<ServiceCredentials, RegistrarError> {
        let profile = self.service_profile(service)?;
        let refuse = |why| RegistrarError::ServiceRenewalRefused {
            name: Excerpt::of(profile.common_name()),
            why,
        };
        let record = self.recorded_service(&profile, serial, presented).await?;
        let record = record.ok_or_else(|| refuse(RenewalRefusal::Unknown))?;
        self.check_service_renewable(&record, act.at)
            .map_err(refuse)?;
        let key = PublicKeyInfo::from_csr_pem(csr_pem)?;
        if record.public_key != key.spki_hash() {
            match self.check_compromise(&record.public_key).await {
                Err(RegistrarError::KeyCompromised { .. }) => {
                    return Err(refuse(RenewalRefusal::KeyCompromised));
                }
                other => other?,
            }
        }
        self.check_service_limit(&record, act.at).await?;
        self.issue_service_certificate(service, CertificateKey::Csr(csr_pem), act)
            .await
    }

    /// The record of a certificate that was issued by this profile; its fingerprint ties it to the very names in it.
    async fn recorded_service(
        &self,
        profile: &Profile,
        serial: SerialNumber,
        fingerprint: &Fingerprint,
    ) -> Result<Option<Certificate>, RegistrarError> {
        let query = CertificateQuery {
            serial: Some(serial),
            ..CertificateQuery::default()
        };
        let found = self.find_all_certificates(query).await?;
        let holder = Holder::Service {
            name: profile.common_name().to_owned(),
        };
        Ok(found.into_iter().find(|certificate| {
            certificate.fingerprint == Some(*fingerprint)
                && certificate.holder == holder
                && certificate.profile == profile.kind().as_str()
        }))
    }

    fn check_service_renewable(
        &self,
        record: &Certificate,
        now: UnixMs,
    ) -> Result<(), RenewalRefusal> {
        if !record.status.admits(now) {
            return Err(match record.status {
                CertificateStatus::Superseded { at } => RenewalRefusal::Superseded { ended: at },
                _ => RenewalRefusal::Revoked,
            });
        }
        match now > record.not_after.saturating_add(self.renew_grace) {
            true => Err(RenewalRefusal::TooLate {
                ended: record.not_after,
            }),
            false => Ok(()),
        }
    }

    /// Whoever renews in time never has more than two.
    async fn check_service_limit(
        &self,
        record: &Certificate,
        now: UnixMs,
    ) -> Result<(), RegistrarError> {
        let query = CertificateQuery {
            holder: Some(record.holder.clone()),
            expires_after: Some(now),
            ..CertificateQuery::default()
        };
        let issued = self.find_all_certificates(query).await?;
        let ends = issued.iter().filter(|it| it.profile == record.profile);
        let per_day = self.limits.per_day;
        let Some(room_at) = room_at(ends.map(day_ends).collect(), per_day, now) else {
            return Ok(());
        };
        let Holder::Service { name } = &record.holder else {
            return Ok(());
        };
        Err(RegistrarError::ServiceIssuanceLimited {
            name: name.clone(),
            per_day,
            retry_after: room_at.since(now),
        })
    }
}
