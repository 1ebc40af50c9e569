use data_encoding::BASE64;
use leafgate_identity::{Fingerprint, SerialNumber, Validity};
use leafgate_pki::{Intermediate, IssueError, Issued, Prepared};
use leafgate_registry::{
    Certificate, CertificateId, CertificateStatus, DocumentKind, DocumentWrite, StoreError,
};
use pem::{EncodeConfig, LineEnding, Pem};
use serde::{Deserialize, Serialize};

use crate::content::{document_name, encode};
use crate::error::RegistrarError;
use crate::registrar::Registrar;

const LABEL: &str = "CERTIFICATE";

/// What is kept of a signed certificate.
#[derive(Serialize, Deserialize)]
struct Signed {
    /// In base64.
    der: String,
}

/// A certificate that was just signed, and the document that keeps it until its end.
pub(crate) struct Signature {
    pub(crate) issued: Issued,
    pub(crate) write: DocumentWrite,
}

impl Registrar {
    /// A certificate in PEM; `None` if there is none, it was never signed, or it has expired and was forgotten.
    ///
    /// # Errors
    /// The store fails.
    pub async fn certificate_pem(
        &self,
        id: &CertificateId,
    ) -> Result<Option<String>, RegistrarError> {
        let der = self.certificate_der(id).await?;
        Ok(der.map(certificate_pem))
    }

    /// What was handed out when this certificate was issued by such an intermediate; `None` if it is not kept, or if its
    /// issuer is retired or unknown here.
    pub(crate) async fn handed_out(
        &self,
        intermediate: Intermediate,
        certificate: &Certificate,
        fingerprint: Fingerprint,
    ) -> Result<Option<Issued>, RegistrarError> {
        let Some(der) = self.certificate_der(&certificate.id()).await? else {
            return Ok(None);
        };
        if Fingerprint::of_certificate_der(&der) != fingerprint {
            let what = format!(
                "certificate {}: its document holds another one",
                certificate.id()
            );
            return Err(StoreError::Corrupt { what }.into());
        }
        let certificate_pem = certificate_pem(der);
        let issuer = self.issuing_certificate(intermediate, &certificate.issuer);
        let Some(issuer_pem) = issuer.await? else {
            return Ok(None);
        };
        Ok(Some(Issued {
            chain_pem: format!("{certificate_pem}{issuer_pem}"),
            certificate_pem,
            serial: certificate.serial,
            fingerprint,
            issuer: certificate.issuer,
            validity: Validity {
                not_before: certificate.not_before,
                not_after: certificate.not_after,
            },
        }))
    }

    async fn certificate_der(&self, id: &CertificateId) -> Result<Option<Vec<u8>>, RegistrarError> {
        let name = id.to_string();
        let found = self.document(DocumentKind::Certificate, &name).await?;
        let Some((_, Signed { der })) = found else {
            return Ok(None);
        };
        let der = BASE64
            .decode(der.as_bytes())
            .map_err(|_| StoreError::Corrupt {
                what: format!("certificate {name}: its document is not base64"),
            })?;
        Ok(Some(der))
    }

    pub(crate) async fn sign(&self, prepared: Prepared) -> Result<Signature, RegistrarError> {
        let serial = prepared.serial();
        let not_signed = |source| RegistrarError::NotSigned { serial, source };
        let prepared_by = prepared.issuer();
        let intermediate = prepared.profile().kind().intermediate();
        let issued = match self.issuers.find_of(intermediate, &prepared_by) {
            Some(issuer) => issuer.issue(prepared).await,
            None => Err(IssueError::Foreign { prepared_by }),
        };
        let issued = issued.map_err(not_signed)?;
        let parsed = pem::parse(&issued.certificate_pem);
        let der = parsed.map_err(|error| not_signed(IssueError::Sign(error.into())))?;
        let signed = Signed {
            der: BASE64.encode(der.contents()),
        };
        let write = DocumentWrite::new(
            DocumentKind::Certificate,
            document_name(&id_of(&issued).to_string()),
            encode(&signed),
            Some(issued.validity.not_after),
        );
        Ok(Signature { issued, write })
    }
}

pub(crate) fn id_of(issued: &Issued) -> CertificateId {
    CertificateId {
        issuer: issued.issuer,
        serial: issued.serial,
    }
}

fn certificate_pem(der: Vec<u8>) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(LABEL, der), config)
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
