use std::net::IpAddr;
use std::slice;

use leafgate_identity::CnPattern;
use leafgate_pki::{Issued, Prepared, Profile, PublicKeyInfo};
use leafgate_registry::{
    Act, Certificate, CertificateId, CertificateQuery, CertificateStatusKind, Change, DocumentName,
    EventKind, Holder,
};
use secrecy::SecretString;

use crate::certificates::CertificateKey;
use crate::error::RegistrarError;
use crate::issuance::intent;
use crate::registrar::{Registrar, service_after};
use crate::requests::NewRequest;
use crate::signed::{Signature, id_of, is_recorded, not_recorded};

/// A part of the installation that needs a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// A nats-server, reached under these names and addresses. The first is its name here.
    NatsServer {
        /// DNS names; the first label may be `*`.
        dns_names: Vec<String>,
        /// Addresses.
        ip_addresses: Vec<IpAddr>,
    },
    /// A client of the devices' listener, such as a replica of the callout.
    NatsClient {
        /// Its name.
        name: String,
    },
}

/// What was recorded of a service's certificate before it is signed.
enum ServicePlan {
    /// The certificate, but for its fingerprint.
    Announced(Box<Certificate>, Prepared),
    /// That it is asked for, in the document of this name.
    Requested(Prepared, DocumentName),
}

/// A service's new certificate.
#[derive(Debug)]
pub struct ServiceCredentials {
    /// The certificate as recorded.
    pub record: Certificate,
    /// The certificate.
    pub issued: Issued,
    /// Its private key, if it was made here. It is kept nowhere.
    pub private_key_pem: Option<SecretString>,
}

impl Registrar {
    /// Issues a certificate to a part of the installation. Older ones of the same name and kind
    /// are recorded as superseded.
    ///
    /// # Errors
    /// A name is malformed or could be a device's, the request or its key is refused, or the store
    /// or the issuer fails; [`RegistrarError::NotSigned`] and
    /// [`RegistrarError::SignedNotRecorded`] say how far it came.
    pub async fn issue_service_certificate(
        &self,
        service: &Service,
        key: CertificateKey<'_>,
        act: &Act,
    ) -> Result<ServiceCredentials, RegistrarError> {
        self.guard.everywhere()?;
        let profile = self.service_profile(service)?;
        let (key, private_key_pem) = key.resolve()?;
        let (record, issued) = match self.prepare_service(&profile, &key, act).await? {
            ServicePlan::Announced(record, prepared) => {
                self.sign_announced_service(*record, prepared, act).await?
            }
            ServicePlan::Requested(prepared, request) => {
                let name = profile.common_name();
                self.sign_requested_service(name, prepared, &request, act)
                    .await?
            }
        };
        Ok(ServiceCredentials {
            record,
            issued,
            private_key_pem,
        })
    }

    async fn sign_announced_service(
        &self,
        record: Certificate,
        prepared: Prepared,
        act: &Act,
    ) -> Result<(Certificate, Issued), RegistrarError> {
        if let Err(refusal) = self.check_signable(&prepared, &record.holder, act).await {
            self.withdraw_service(&record.id(), act).await;
            return Err(refusal);
        }
        let signature = self.sign(prepared).await?;
        match self.record_service_issued(record, &signature, act).await {
            Ok(record) => Ok((record, signature.issued)),
            Err(source) => Err(not_recorded(signature.issued.serial, source)),
        }
    }

    pub(crate) fn service_profile(&self, service: &Service) -> Result<Profile, RegistrarError> {
        let domains = self.domains.load();
        let patterns: Vec<CnPattern> = domains
            .iter()
            .map(|domain| domain.cn_pattern.clone())
            .collect();
        Ok(match service {
            Service::NatsServer {
                dns_names,
                ip_addresses,
            } => Profile::nats_server(dns_names, ip_addresses, &patterns)?,
            Service::NatsClient { name } => Profile::nats_client(name, &patterns)?,
        })
    }

    async fn prepare_service(
        &self,
        profile: &Profile,
        key: &PublicKeyInfo,
        act: &Act,
    ) -> Result<ServicePlan, RegistrarError> {
        let issuer = self.signer(profile.kind().intermediate()).await?;
        let name = profile.common_name();
        let holder = Holder::Service {
            name: name.to_owned(),
        };
        self.check_key(&key.spki_hash(), &holder, act.at).await?;
        let mut tries = self.tries();
        loop {
            let prepared = issuer.prepare(profile.clone(), key.clone(), act.at)?;
            let Some(serial) = prepared.serial() else {
                let request = NewRequest::new(&prepared, &holder, self.random(), act);
                let change = Change::note(EventKind::CertificateRequested, request.detail(), act)
                    .with_document(request.write());
                if self.commit(slice::from_ref(&change)).await? {
                    return Ok(ServicePlan::Requested(prepared, request.name));
                }
                tries.again(name).await?;
                continue;
            };
            let new = intent(&prepared, serial);
            let change = Change::prepare_service_certificate(name, new, act)?;
            if self.commit(slice::from_ref(&change)).await? {
                let record = Box::new(service_after(&change).clone());
                return Ok(ServicePlan::Announced(record, prepared));
            }
            tries.again(name).await?;
        }
    }

    async fn record_service_issued(
        &self,
        mut record: Certificate,
        Signature { issued, write }: &Signature,
        act: &Act,
    ) -> Result<Certificate, RegistrarError> {
        let id = id_of(issued);
        let mut tries = self.tries();
        loop {
            let change = Change::record_service_issued(&record, issued.fingerprint, act)?
                .with_document(write.clone());
            let after = service_after(&change).clone();
            let mut changes = vec![change];
            changes.extend(self.supersede_services(&record, act).await?);
            let unconfirmed = match self.commit(&changes).await {
                Ok(true) => return Ok(after),
                Ok(false) => None,
                Err(source @ RegistrarError::Unconfirmed(_)) => Some(source),
                Err(other) => return Err(other),
            };
            record = match (self.find_by_id(&id).await, unconfirmed) {
                (Ok(record), _) => record,
                (Err(_), Some(unconfirmed)) => return Err(unconfirmed),
                (Err(source), None) => return Err(source),
            };
            if is_recorded(&record, issued) {
                return Ok(record);
            }
            tries.again(format!("certificate {}", id.serial)).await?;
        }
    }

    pub(crate) async fn find_by_id(
        &self,
        id: &CertificateId,
    ) -> Result<Certificate, RegistrarError> {
        let query = CertificateQuery {
            issuer: Some(id.issuer),
            serial: Some(id.serial),
            limit: 1,
            ..CertificateQuery::default()
        };
        let found = self.store.find_certificates(&query).await?.items;
        found
            .into_iter()
            .next()
            .ok_or(RegistrarError::CertificateUnknown { serial: id.serial })
    }

    /// Supersedes the issued certificates of the same holder and kind, whichever issuer signed them. The newer one is not
    /// among them: it is prepared.
    pub(crate) async fn supersede_services(
        &self,
        newer: &Certificate,
        act: &Act,
    ) -> Result<Vec<Change>, RegistrarError> {
        let query = CertificateQuery {
            holder: Some(newer.holder.clone()),
            status: Some(CertificateStatusKind::Issued),
            expires_after: Some(act.at),
            ..CertificateQuery::default()
        };
        let overlap_ends = act.at.saturating_add(self.overlap);
        self.find_all_certificates(query)
            .await?
            .iter()
            .filter(|older| older.profile == newer.profile)
            .map(|older| {
                Ok(Change::supersede_service_certificate(
                    older,
                    overlap_ends,
                    act,
                )?)
            })
            .collect()
    }
}
