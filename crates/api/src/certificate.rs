use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, UnixMs};
use leafgate_registry::{
    self as registry, CertificateStatus, CertificateStatusKind, Holder, RevocationReason,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// A certificate as recorded, where its holder is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    /// Unique per issuer.
    #[schema(value_type = schema::SerialNumber)]
    pub serial: SerialNumber,
    /// SHA-256 of the issuer's public key (SubjectPublicKeyInfo).
    #[schema(value_type = schema::Sha256)]
    pub issuer: SpkiHash,
    /// What became of it.
    #[schema(value_type = schema::CertificateStatus)]
    pub status: CertificateStatusKind,
    /// When the overlap with its successor ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::Time, required = false)]
    pub superseded_at: Option<UnixMs>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::Time, required = false)]
    pub revoked_at: Option<UnixMs>,
    /// Why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::RevocationReason, required = false)]
    pub revocation_reason: Option<RevocationReason>,
    /// The generation of the device that it was issued to; null for a service.
    #[schema(required)]
    pub generation: Option<u32>,
    /// What it was built from: `device`, `nats-server` or `nats-client`.
    pub profile: String,
    /// Start of its validity.
    #[schema(value_type = schema::Time)]
    pub not_before: UnixMs,
    /// End of its validity.
    #[schema(value_type = schema::Time)]
    pub not_after: UnixMs,
    /// SHA-256 of its DER; null while it is not signed.
    #[schema(value_type = Option<schema::Sha256>, required)]
    pub fingerprint: Option<Fingerprint>,
}

impl Certificate {
    /// The status with its particulars; `None` if they are not those of the status.
    pub fn full_status(&self) -> Option<CertificateStatus> {
        Some(match self.status {
            CertificateStatusKind::Prepared => CertificateStatus::Prepared,
            CertificateStatusKind::Issued => CertificateStatus::Issued,
            CertificateStatusKind::Superseded => CertificateStatus::Superseded {
                at: self.superseded_at?,
            },
            CertificateStatusKind::Revoked => CertificateStatus::Revoked {
                at: self.revoked_at?,
                reason: self.revocation_reason?,
            },
        })
    }
}

impl From<&registry::Certificate> for Certificate {
    fn from(certificate: &registry::Certificate) -> Self {
        let (superseded_at, revoked_at, revocation_reason) = match certificate.status {
            CertificateStatus::Prepared | CertificateStatus::Issued => (None, None, None),
            CertificateStatus::Superseded { at } => (Some(at), None, None),
            CertificateStatus::Revoked { at, reason } => (None, Some(at), Some(reason)),
        };
        Self {
            serial: certificate.serial,
            issuer: certificate.issuer,
            status: certificate.status.kind(),
            superseded_at,
            revoked_at,
            revocation_reason,
            generation: match certificate.holder {
                Holder::Device { generation, .. } => Some(generation),
                Holder::Service { .. } => None,
            },
            profile: certificate.profile.clone(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            fingerprint: certificate.fingerprint,
        }
    }
}

/// A certificate with its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldCertificate {
    /// The device that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::DeviceId, required = false)]
    pub device: Option<DeviceId>,
    /// The part of the installation that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub service: Option<String>,
    /// The certificate.
    #[serde(flatten)]
    pub certificate: Certificate,
}

impl From<&registry::Certificate> for HeldCertificate {
    fn from(certificate: &registry::Certificate) -> Self {
        let (device, service) = match &certificate.holder {
            Holder::Device { id, .. } => (Some(id.clone()), None),
            Holder::Service { name } => (None, Some(name.clone())),
        };
        Self {
            device,
            service,
            certificate: certificate.into(),
        }
    }
}

/// Certificates of devices and services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateList {
    /// The certificates of this page.
    pub certificates: Vec<HeldCertificate>,
    /// What asks for the next page; null on the last one.
    #[schema(required)]
    pub next_page_token: Option<String>,
}

/// What a certificate is asked for with: either a certificate request, or leave to make a key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestCertificate {
    /// A certificate request (PKCS #10, PEM). Of it only the public key is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csr: Option<String>,
    /// Whether the registry makes the key, and hands it out once with the certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generate_key: bool,
}

/// A certificate that was signed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedCertificate {
    /// The certificate (PEM).
    pub certificate: String,
    /// The certificate followed by its issuer's, as TLS clients present them (PEM).
    pub chain: String,
    /// Its serial number.
    #[schema(value_type = schema::SerialNumber)]
    pub serial: SerialNumber,
    /// SHA-256 of its DER.
    #[schema(value_type = schema::Sha256)]
    pub fingerprint: Fingerprint,
    /// End of its validity.
    #[schema(value_type = schema::Time)]
    pub not_after: UnixMs,
    /// When to ask for the next one; spread so that a fleet does not come at once.
    #[schema(value_type = schema::Time)]
    pub renew_after: UnixMs,
    /// Its private key (PKCS #8, PEM), if it was made here. It is kept nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub private_key: Option<String>,
}

impl std::fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedCertificate")
            .field("serial", &self.serial)
            .field("fingerprint", &self.fingerprint)
            .field("not_after", &self.not_after)
            .field("renew_after", &self.renew_after)
            .field(
                "private_key",
                &self.private_key.as_ref().map(|_| "[redacted]"),
            )
            .finish_non_exhaustive()
    }
}

/// Why something is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The reason, as revocation lists say it (RFC 5280 section 5.3.1).
    #[serde(default)]
    #[schema(value_type = schema::RevocationReason, required = false)]
    pub reason: RevocationReason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_no_private_key() {
        let issued = IssuedCertificate {
            certificate: String::new(),
            chain: String::new(),
            serial: SerialNumber::from_be_bytes(&[5; 16]).unwrap(),
            fingerprint: Fingerprint::from_bytes([5; 32]),
            not_after: UnixMs::new(2),
            renew_after: UnixMs::new(1),
            private_key: Some("SECRET".to_owned()),
        };
        let shown = format!("{issued:?}");
        assert!(
            shown.contains("[redacted]") && !shown.contains("SECRET"),
            "{shown}"
        );
    }
}
