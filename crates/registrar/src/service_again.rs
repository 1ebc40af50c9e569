use leafgate_identity::UnixMs;
use leafgate_pki::PublicKeyInfo;
use leafgate_registry::{CertificateQuery, Holder};

use crate::error::RegistrarError;
use crate::registrar::Registrar;
use crate::services::{Service, ServiceCredentials};

impl Registrar {
    /// What [`issue_service_certificate`](Self::issue_service_certificate) made first since `since` for this service and
    /// the key of this request, for who asks again because the answer was lost. `None` if it was not brought to its end,
    /// or is not accepted any more.
    ///
    /// # Errors
    /// A name is malformed or could be a device's, the request is refused, or the store fails.
    pub async fn find_service_certificate(
        &self,
        service: &Service,
        csr_pem: &str,
        since: UnixMs,
        now: UnixMs,
    ) -> Result<Option<ServiceCredentials>, RegistrarError> {
        self.guard.everywhere()?;
        let profile = self.service_profile(service)?;
        let query = CertificateQuery {
            holder: Some(Holder::Service {
                name: profile.common_name().to_owned(),
            }),
            public_key: Some(PublicKeyInfo::from_csr_pem(csr_pem)?.spki_hash()),
            expires_after: Some(now),
            ..CertificateQuery::default()
        };
        let kind = profile.kind();
        let found = self.find_all_certificates(query).await?.into_iter();
        let made = found
            .filter(|it| it.profile == kind.as_str() && it.status.admits(now))
            .filter(|it| it.prepared_at >= since)
            .filter_map(|it| Some((it.fingerprint?, it)))
            .min_by_key(|(_, it)| it.prepared_at);
        let Some((fingerprint, record)) = made else {
            return Ok(None);
        };
        let issued = self
            .handed_out(kind.intermediate(), &record, fingerprint)
            .await?;
        Ok(issued.map(|issued| ServiceCredentials {
            record,
            issued,
            private_key_pem: None,
        }))
    }
}
