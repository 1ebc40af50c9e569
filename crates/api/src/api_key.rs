use leafgate_access::{self as access, Roles, Scope};
use leafgate_identity::UnixMs;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// A key with which a program calls the API. Its secret part is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// Its public part.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What its bearer may do.
    #[schema(value_type = Vec<schema::Role>)]
    pub roles: Roles,
    /// To which devices.
    #[schema(value_type = schema::Scope)]
    pub scope: Scope,
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

impl From<&access::ApiKey> for ApiKey {
    fn from(key: &access::ApiKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            roles: key.authority.roles.clone(),
            scope: key.authority.scope.clone(),
            created_by: key.created_by.clone(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// API keys in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyList {
    /// The keys of this page.
    pub api_keys: Vec<ApiKey>,
    /// What asks for the next page; null on the last one.
    #[schema(required)]
    pub next_page_token: Option<String>,
}

/// An API key that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// What people call it.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$"
    )]
    pub name: String,
    /// What its bearer may do; no more than who makes it.
    #[schema(value_type = Vec<schema::Role>, min_items = 1)]
    pub roles: Roles,
    /// To which devices; no others than who makes it.
    #[schema(value_type = schema::Scope)]
    pub scope: Scope,
    /// When it ends; after 90 days where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::Time, required = false)]
    pub expires_at: Option<UnixMs>,
}

/// A new API key with the text that its bearer presents, which is told this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedApiKey {
    /// The key as recorded.
    pub api_key: ApiKey,
    /// What to send as `Authorization: Bearer …`.
    pub key: String,
}

impl std::fmt::Debug for CreatedApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedApiKey")
            .field("api_key", &self.api_key)
            .field("key", &"[redacted]")
            .finish()
    }
}
