use leafgate_identity::SpkiHash;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// The certificate authority behind the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuerList {
    /// What devices and clients trust (PEM).
    pub root_certificate: String,
    /// The intermediates that sign.
    pub issuers: Vec<Issuer>,
}

/// An intermediate that signs certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Issuer {
    /// What it signs: `devices` or `servers`.
    pub name: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo), as certificates name their issuer.
    #[schema(value_type = schema::Sha256)]
    pub issuer: SpkiHash,
    /// Its certificate (PEM).
    pub certificate: String,
}
