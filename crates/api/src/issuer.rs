use leafgate_identity::{SpkiHash, UnixMs};
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
    /// Its place in its rotation: `prepared` (known, and signs nothing yet), `active` (signs), `superseded` (signed before
    /// the active one, and can be activated again) or `retired` (signs no certificate ever again).
    pub state: String,
    /// Since when it has this place; not there if it has always been the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub since: Option<UnixMs>,
    /// Whether the registry that answers can sign with it.
    pub key_present: bool,
    /// Its certificates that have not ended; not there if the registry's store finds none by their issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outstanding: Option<OutstandingCertificates>,
    /// SHA-256 of its public key (SubjectPublicKeyInfo), as certificates name their issuer.
    #[schema(value_type = schema::Sha256)]
    pub issuer: SpkiHash,
    /// Its certificate (PEM).
    pub certificate: String,
}

/// The certificates of an issuer that have not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutstandingCertificates {
    /// How many are accepted.
    pub certificates: usize,
    /// How many devices and services hold these.
    pub holders: usize,
    /// When the last of these ends: listeners and callouts need the issuer until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub last_not_after: Option<UnixMs>,
    /// How many there are, accepted or not: prepared, replaced and revoked ones too.
    pub unexpired: usize,
    /// When the last of those ends: revocation lists and OCSP answers tell of them until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub last_unexpired: Option<UnixMs>,
}

/// A request to activate an issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ActivateIssuer {
    /// Whether to do so although it was prepared a short time ago.
    pub now: bool,
}
