use std::slice;
use std::time::Duration;

use leafgate_access::{
    ApiKey, ApiKeyId, ApiKeyText, Authority, NewApiKey, Permission, Principal, Role, Scope,
};
use leafgate_identity::UnixMs;
use leafgate_registry::{
    Act, BuildChangeError, Change, Cursor, DocumentKind, DocumentName, DocumentWrite, EventKind,
    Page,
};
use serde_json::{Value, json};

use crate::content::{document_name, encode};
use crate::error::RegistrarError;
use crate::registrar::Registrar;

/// For how long a key is listed after its end.
const KEPT_AFTER_END: Duration = Duration::from_secs(30 * 24 * 3600);
/// Guards the making of the first key. No request has this name, which is no hash.
const FIRST_KEY: &str = "first-api-key";
const MAX_NAME_BYTES: usize = 64;

impl Registrar {
    /// Makes a key for the API. Its text is given once and kept nowhere.
    ///
    /// # Errors
    /// The name or the end is malformed, there is no role, or the store fails.
    pub async fn create_api_key(
        &self,
        new: NewApiKey,
        act: &Act,
    ) -> Result<(ApiKey, ApiKeyText), RegistrarError> {
        check(&new, act.at)?;
        let mut tries = self.tries();
        loop {
            let (key, text) = ApiKey::generate(new.clone(), act.at);
            if self.commit(slice::from_ref(&created(&key, act))).await? {
                return Ok((key, text));
            }
            tries.again("the API keys").await?;
        }
    }

    /// Makes a key for the API on behalf of somebody, who can't give away more than they hold.
    ///
    /// # Errors
    /// As [`create_api_key`](Self::create_api_key), and [`RegistrarError::Refused`].
    pub async fn grant_api_key(
        &self,
        by: &Principal,
        new: NewApiKey,
        act: &Act,
    ) -> Result<(ApiKey, ApiKeyText), RegistrarError> {
        by.check(Permission::ManageApiKeys)?;
        by.check_grant(&new.authority)?;
        self.create_api_key(new, act).await
    }

    /// Makes a key that may do everything, if there is no key yet. Of several who try at a time one succeeds.
    ///
    /// # Errors
    /// There is a key, ended or not; else as [`create_api_key`](Self::create_api_key).
    pub async fn create_first_admin_key(
        &self,
        name: &str,
        expires_at: UnixMs,
        act: &Act,
    ) -> Result<(ApiKey, ApiKeyText), RegistrarError> {
        let new = NewApiKey {
            name: name.to_owned(),
            authority: Authority {
                roles: [Role::Admin].into_iter().collect(),
                scope: Scope::everything(),
            },
            created_by: act.actor.to_string(),
            expires_at,
        };
        check(&new, act.at)?;
        let mut tries = self.tries();
        loop {
            // Read before the keys are: of those who find none at a time only one can write it.
            let guard = self.first_key_guard(act).await?;
            let keys = self.store.documents(DocumentKind::ApiKey, None, 1).await?;
            if !keys.items.is_empty() {
                return Err(RegistrarError::ApiKeysExist);
            }
            let (key, text) = ApiKey::generate(new.clone(), act.at);
            let change = created(&key, act).with_document(guard);
            if self.commit(slice::from_ref(&change)).await? {
                return Ok((key, text));
            }
            tries.again("the API keys").await?;
        }
    }

    async fn first_key_guard(&self, act: &Act) -> Result<DocumentWrite, RegistrarError> {
        let (kind, name) = (DocumentKind::Request, document_name(FIRST_KEY));
        let body = json!({ "at": act.at });
        Ok(match self.store.document(kind, &name).await? {
            Some(before) => before.replaced(body, None),
            None => DocumentWrite::new(kind, name, body, None),
        })
    }

    /// A key, ended or not. Whether it counts is [`ApiKey::counts`].
    ///
    /// # Errors
    /// The store fails.
    pub async fn api_key(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, RegistrarError> {
        let found = self.document(DocumentKind::ApiKey, id.as_str()).await?;
        Ok(found.map(|(_, key)| key))
    }

    /// All keys in the order of their ids; those that ended stay for 30 days.
    ///
    /// # Errors
    /// The store fails.
    pub async fn api_keys(
        &self,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<ApiKey, DocumentName>, RegistrarError> {
        self.documents(DocumentKind::ApiKey, after, limit).await
    }

    /// Revokes a key. One that is revoked already stays as it is.
    ///
    /// # Errors
    /// There is no such key, or the store fails.
    pub async fn revoke_api_key(&self, id: &ApiKeyId, act: &Act) -> Result<ApiKey, RegistrarError> {
        self.revoke_api_key_if(id, |_| Ok(()), act).await
    }

    /// Revokes a key on behalf of somebody, who could have made it.
    ///
    /// # Errors
    /// As [`revoke_api_key`](Self::revoke_api_key), and [`RegistrarError::Refused`].
    pub async fn revoke_api_key_as(
        &self,
        by: &Principal,
        id: &ApiKeyId,
        act: &Act,
    ) -> Result<ApiKey, RegistrarError> {
        by.check(Permission::ManageApiKeys)?;
        let may = |key: &ApiKey| Ok(by.check_grant(&key.authority)?);
        self.revoke_api_key_if(id, may, act).await
    }

    async fn revoke_api_key_if(
        &self,
        id: &ApiKeyId,
        may: impl Fn(&ApiKey) -> Result<(), RegistrarError> + Send,
        act: &Act,
    ) -> Result<ApiKey, RegistrarError> {
        let unknown = || RegistrarError::ApiKeyUnknown { id: id.clone() };
        let mut tries = self.tries();
        loop {
            let found = self.document(DocumentKind::ApiKey, id.as_str()).await?;
            let (document, mut key): (_, ApiKey) = found.ok_or_else(unknown)?;
            may(&key)?;
            if key.revoked_at.is_some() {
                return Ok(key);
            }
            key.revoked_at = Some(act.at);
            let end = Some(act.at.min(key.expires_at).saturating_add(KEPT_AFTER_END));
            let change = Change::note(EventKind::ApiKeyRevoked, described(&key), act)
                .with_document(document.replaced(encode(&key), end));
            if self.commit(slice::from_ref(&change)).await? {
                return Ok(key);
            }
            tries.again(format!("API key {id}")).await?;
        }
    }
}

fn check(new: &NewApiKey, now: UnixMs) -> Result<(), RegistrarError> {
    check_name(&new.name)?;
    if new.authority.roles.is_empty() {
        return malformed("roles", "must be one at least");
    }
    check_end(new.expires_at, now)
}

/// A name that people give to a key or a token.
pub(crate) fn check_name(name: &str) -> Result<(), RegistrarError> {
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    malformed("name", "must have 1 to 64 bytes and no control character")
}

/// The end of a key or a token.
pub(crate) fn check_end(expires_at: UnixMs, now: UnixMs) -> Result<(), RegistrarError> {
    if expires_at > now {
        return Ok(());
    }
    malformed("expires_at", "must be in the future")
}

pub(crate) fn malformed(field: &str, problem: &'static str) -> Result<(), RegistrarError> {
    let field = field.to_owned();
    Err(BuildChangeError::Malformed { field, problem }.into())
}

fn created(key: &ApiKey, act: &Act) -> Change {
    let write = DocumentWrite::new(
        DocumentKind::ApiKey,
        document_name(key.id.as_str()),
        encode(key),
        Some(key.expires_at.saturating_add(KEPT_AFTER_END)),
    );
    Change::note(EventKind::ApiKeyCreated, described(key), act).with_document(write)
}

/// What an event says of a key; never its hash.
fn described(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "authority": key.authority,
        "expires_at": key.expires_at,
    })
}
