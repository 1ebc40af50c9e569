//! `/v1/api-keys`

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leafgate_access::{self as access, ApiKeyId, Authority, NewApiKey, Permission};
use leafgate_api::{ApiKey, ApiKeyList, CreateApiKey, CreatedApiKey};
use leafgate_registrar::RegistrarError;
use leafgate_registry::{Cursor, DocumentName, Page};
use secrecy::ExposeSecret;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::authenticate::Caller;
use crate::extract::{Command, Named, Nothing, Read};
use crate::idempotency::{Acting, Outcome, not_to_be_stored, spent};
use crate::list::{Listing, Paging};
use crate::problem::Problem;

/// How long a key lasts whose maker does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(create_api_key, list_api_keys))
        .routes(routes!(read_api_key))
        .routes(routes!(revoke_api_key))
}

/// Make an API key
///
/// The text to present is in the answer, and kept nowhere. Nobody gives away more than they hold.
#[utoipa::path(
    post,
    path = "/v1/api-keys",
    tag = "api-keys",
    request_body = CreateApiKey,
    responses((status = CREATED, description = "The key with its text", body = CreatedApiKey)),
)]
async fn create_api_key(
    State(app): State<Arc<App>>,
    command: Command<CreateApiKey>,
) -> Result<Response, Problem> {
    let command = command.unconditional()?;
    let (by, body) = (&command.caller.principal, command.body.clone());
    let outcome = command
        .carry_out(&app, Permission::ManageApiKeys, async |it| {
            let CreateApiKey {
                name,
                roles,
                scope,
                expires_at,
            } = body;
            let new = NewApiKey {
                name,
                authority: Authority { roles, scope },
                created_by: by.name.clone(),
                expires_at: expires_at
                    .unwrap_or_else(|| it.act.at.saturating_add(DEFAULT_LIFETIME)),
            };
            it.registrar.grant_api_key(by, new, &it.act).await
        })
        .await?;
    let (key, text) = match outcome {
        Outcome::Done(made) => made,
        Outcome::Repeated(recorded) => return Err(spent(&recorded)),
    };
    let body = CreatedApiKey {
        api_key: ApiKey::from(&key),
        key: text.expose().expose_secret().to_owned(),
    };
    Ok(not_to_be_stored(StatusCode::CREATED, body))
}

/// List API keys
///
/// Those that you could have made: ended and revoked ones too, for some time.
#[utoipa::path(
    get,
    path = "/v1/api-keys",
    tag = "api-keys",
    params(Paging),
    responses((status = OK, description = "A page of keys", body = ApiKeyList)),
)]
async fn list_api_keys(
    State(app): State<Arc<App>>,
    read: Read<Paging>,
) -> Result<Json<ApiKeyList>, Problem> {
    let (app, caller) = (&*app, &read.caller);
    caller.principal.check(Permission::ManageApiKeys)?;
    let found = read.page()?.fill(Keys { app, caller }).await?;
    Ok(Json(ApiKeyList {
        api_keys: found.items.iter().map(ApiKey::from).collect(),
        next_page_token: found.next.map(|next| read.list.token(&next)),
    }))
}

struct Keys<'a> {
    app: &'a App,
    caller: &'a Caller,
}

impl Listing for Keys<'_> {
    type Item = access::ApiKey;
    type Key = DocumentName;

    async fn read(
        &mut self,
        after: Option<Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<access::ApiKey, DocumentName>, Problem> {
        Ok(self.app.registrar.api_keys(after.as_ref(), limit).await?)
    }

    fn shows_all(&self) -> bool {
        self.caller.reaches_everything()
    }

    async fn shows(&mut self, key: &access::ApiKey) -> Result<bool, Problem> {
        Ok(self.caller.covers(key))
    }

    fn key(key: &access::ApiKey) -> DocumentName {
        DocumentName::parse(key.id.as_str()).expect("an id names its document")
    }
}

/// Read an API key
#[utoipa::path(
    get,
    path = "/v1/api-keys/{id}",
    tag = "api-keys",
    params(("id" = String, Path, description = "The public part of the key")),
    responses((status = OK, description = "The key, without its secret", body = ApiKey)),
)]
async fn read_api_key(
    State(app): State<Arc<App>>,
    Named(id): Named<ApiKeyId>,
    read: Read<Nothing>,
) -> Result<Json<ApiKey>, Problem> {
    read.caller.principal.check(Permission::ManageApiKeys)?;
    let key = app.api_key(&read.caller, &id).await?;
    Ok(Json(ApiKey::from(&key)))
}

/// Revoke an API key
///
/// It counts nowhere any more within a second. Revoking it again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/api-keys/{id}/revoke",
    tag = "api-keys",
    params(("id" = String, Path, description = "The public part of the key")),
    responses((status = OK, description = "The key afterwards", body = ApiKey)),
)]
async fn revoke_api_key(
    State(app): State<Arc<App>>,
    Named(id): Named<ApiKeyId>,
    command: Command<Nothing>,
) -> Result<Json<ApiKey>, Problem> {
    let command = command.unconditional()?;
    let by = &command.caller.principal;
    by.check(Permission::ManageApiKeys)?;
    app.api_key(&command.caller, &id).await?;
    let revoke = async |it: Acting| it.registrar.revoke_api_key_as(by, &id, &it.act).await;
    let outcome = command
        .carry_out(&app, Permission::ManageApiKeys, revoke)
        .await?;
    app.api_keys.forget(&id);
    let key = match outcome {
        Outcome::Done(key) => key,
        Outcome::Repeated(_) => app.api_key(&command.caller, &id).await?,
    };
    Ok(Json(ApiKey::from(&key)))
}

impl App {
    /// A key that the caller could have made. Any other is answered like one that does not exist.
    async fn api_key(&self, caller: &Caller, id: &ApiKeyId) -> Result<access::ApiKey, Problem> {
        let found = self.registrar.api_key(id).await?;
        found
            .filter(|key| caller.covers(key))
            .ok_or_else(|| RegistrarError::ApiKeyUnknown { id: id.clone() }.into())
    }
}

impl Caller {
    fn covers(&self, key: &access::ApiKey) -> bool {
        self.principal.check_grant(&key.authority).is_ok()
    }
}
