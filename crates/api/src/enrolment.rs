use std::collections::{BTreeMap, BTreeSet};

use leafgate_access as access;
use leafgate_identity::{DeviceId, SpkiHash, TrustDomainName, UnixMs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::certificate::IssuedCertificate;
use crate::device::Device;
use crate::schema;

/// What lets new devices in. Its secret part is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnrolmentToken {
    /// Its public part.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Which devices it lets in.
    pub admits: Admits,
    /// How many it has let in, or was about to.
    pub uses: u32,
    /// How many it lets in at most.
    pub max_uses: u32,
    /// The trust domain of those devices.
    #[schema(value_type = schema::Token)]
    pub trust_domain: TrustDomainName,
    /// Their type.
    #[schema(value_type = schema::Token)]
    pub device_type: String,
    /// Their site; null for none in particular.
    #[schema(value_type = Option<schema::Token>, required)]
    pub site: Option<String>,
    /// The properties of those that it registers.
    pub attributes: BTreeMap<String, String>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    #[schema(value_type = schema::Time)]
    pub created_at: UnixMs,
    /// When it ends.
    #[schema(value_type = schema::Time)]
    pub expires_at: UnixMs,
    /// When it was revoked; null if it was not.
    #[schema(value_type = Option<schema::Time>, required)]
    pub revoked_at: Option<UnixMs>,
}

impl EnrolmentToken {
    /// A token that was used so often.
    pub fn new(token: &access::EnrolmentToken, uses: u32) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name.clone(),
            admits: Admits::from(&token.admits),
            uses,
            max_uses: u32::try_from(token.admits.max_uses()).unwrap_or(u32::MAX),
            trust_domain: token.trust_domain.clone(),
            device_type: token.device_type.clone(),
            site: token.site.clone(),
            attributes: token.attributes.clone(),
            created_by: token.created_by.clone(),
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// Which devices an enrolment token lets in: one of the three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Admits {
    /// Those with these ids; 1000 at most.
    #[schema(value_type = Vec<schema::DeviceId>)]
    Ids(BTreeSet<DeviceId>),
    /// Those with these ids, each with one key: the SHA-256 of its SubjectPublicKeyInfo. 1000 at most.
    #[schema(value_type = BTreeMap<String, schema::Sha256>)]
    Manifest(BTreeMap<DeviceId, SpkiHash>),
    /// So many that are not registered yet, whatever they are called. They wait for approval.
    Unnamed(Unnamed),
}

/// How many devices a token lets in that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Unnamed {
    /// This many.
    #[schema(minimum = 1)]
    pub max_uses: u32,
}

impl From<&access::Admits> for Admits {
    fn from(admits: &access::Admits) -> Self {
        match admits {
            access::Admits::Ids(ids) => Self::Ids(ids.clone()),
            access::Admits::Manifest(manifest) => Self::Manifest(manifest.clone()),
            access::Admits::Unnamed { max_uses } => Self::Unnamed(Unnamed {
                max_uses: *max_uses,
            }),
        }
    }
}

impl From<Admits> for access::Admits {
    fn from(admits: Admits) -> Self {
        match admits {
            Admits::Ids(ids) => Self::Ids(ids),
            Admits::Manifest(manifest) => Self::Manifest(manifest),
            Admits::Unnamed(Unnamed { max_uses }) => Self::Unnamed { max_uses },
        }
    }
}

/// Enrolment tokens in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnrolmentTokenList {
    /// The tokens of this page.
    pub enrolment_tokens: Vec<EnrolmentToken>,
    /// What asks for the next page; null on the last one.
    #[schema(required)]
    pub next_page_token: Option<String>,
}

/// An enrolment token that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEnrolmentToken {
    /// What people call it.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$"
    )]
    pub name: String,
    /// Which devices it lets in.
    pub admits: Admits,
    /// The trust domain of those devices; may be left out where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Token>)]
    pub trust_domain: Option<TrustDomainName>,
    /// Their type.
    #[schema(value_type = schema::Token)]
    pub device_type: String,
    /// The only site at which they may log in; left out or null for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Token>)]
    pub site: Option<String>,
    /// The properties of those that it registers.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// When it ends; after 24 hours where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::Time, required = false)]
    pub expires_at: Option<UnixMs>,
}

/// A new enrolment token with the text that devices present, which is told this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedEnrolmentToken {
    /// The token as recorded.
    pub enrolment_token: EnrolmentToken,
    /// What to send as `Authorization: Bearer …` to `/v1/enrol`, or as the password over EST.
    pub token: String,
}

impl std::fmt::Debug for CreatedEnrolmentToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedEnrolmentToken")
            .field("enrolment_token", &self.enrolment_token)
            .field("token", &"[redacted]")
            .finish()
    }
}

/// A device that asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// Its name.
    #[schema(value_type = schema::DeviceId)]
    pub id: DeviceId,
    /// A certificate request (PKCS #10, PEM). Of it only the public key is used.
    pub csr: String,
}

/// A device that was let in, with its first certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnrolledDevice {
    /// The device; it may have to wait for approval before it can log in.
    pub device: Device,
    /// Its certificate.
    #[serde(flatten)]
    pub certificate: IssuedCertificate,
}

/// A device that asks for its next certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// A certificate request (PKCS #10, PEM) for the present key or another one. Of it only the public key is used.
    pub csr: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_admits_reads_as_in_the_audit_trail() {
        let id = DeviceId::parse("0001").unwrap();
        for admits in [
            access::Admits::Ids([id.clone()].into()),
            access::Admits::Manifest([(id, SpkiHash::from_bytes([7; 32]))].into()),
            access::Admits::Unnamed { max_uses: 3 },
        ] {
            let json = serde_json::to_value(&admits).unwrap();
            let told = Admits::from(&admits);
            assert_eq!(serde_json::to_value(&told).unwrap(), json);
            let read: Admits = serde_json::from_value(json).unwrap();
            assert_eq!(access::Admits::from(read), admits);
        }
        let misspelt = r#"{"unnamed":{"max_uses":3,"max_use":4}}"#;
        assert!(serde_json::from_str::<Admits>(misspelt).is_err());
    }
}
