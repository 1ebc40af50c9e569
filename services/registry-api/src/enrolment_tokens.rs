//! `/v1/enrolment-tokens`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leafgate_access::{EnrolmentTokenId, NewEnrolmentToken, Permission};
use leafgate_api::{
    CreateEnrolmentToken, CreatedEnrolmentToken, EnrolmentToken, EnrolmentTokenList,
};
use leafgate_registrar::{Registrar, RegistrarError, TokenStatus};
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

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(create_enrolment_token, list_enrolment_tokens))
        .routes(routes!(read_enrolment_token))
        .routes(routes!(revoke_enrolment_token))
}

/// Make an enrolment token
///
/// The text that devices present is in the answer, and kept nowhere. A token lets in only devices that its maker could
/// register.
#[utoipa::path(
    post,
    path = "/v1/enrolment-tokens",
    tag = "enrolment",
    request_body = CreateEnrolmentToken,
    responses((
        status = CREATED,
        description = "The token with its text",
        body = CreatedEnrolmentToken,
    )),
)]
async fn create_enrolment_token(
    State(app): State<Arc<App>>,
    command: Command<CreateEnrolmentToken>,
) -> Result<Response, Problem> {
    let command = command.unconditional()?;
    let (by, body) = (&command.caller.principal, command.body.clone());
    by.check(Permission::ProvisionDevices)?;
    let trust_domain = match &body.trust_domain {
        Some(named) => named.clone(),
        None => app.only_domain()?,
    };
    let outcome = command
        .carry_out(&app, Permission::ProvisionDevices, async |it| {
            let new = NewEnrolmentToken {
                name: body.name,
                admits: body.admits.into(),
                trust_domain,
                device_type: body.device_type,
                site: body.site,
                attributes: body.attributes,
                created_by: by.name.clone(),
                expires_at: body.expires_at.unwrap_or_else(|| {
                    let lifetime = Registrar::DEFAULT_TOKEN_LIFETIME;
                    it.act.at.saturating_add(lifetime)
                }),
            };
            it.registrar.grant_enrolment_token(by, new, &it.act).await
        })
        .await?;
    let (token, text) = match outcome {
        Outcome::Done(made) => made,
        Outcome::Repeated(recorded) => return Err(spent(&recorded)),
    };
    let body = CreatedEnrolmentToken {
        enrolment_token: EnrolmentToken::new(&token, 0),
        token: text.expose().expose_secret().to_owned(),
    };
    Ok(not_to_be_stored(StatusCode::CREATED, body))
}

/// List enrolment tokens
///
/// Those that you could have made: ended and revoked ones too, for some time.
#[utoipa::path(
    get,
    path = "/v1/enrolment-tokens",
    tag = "enrolment",
    params(Paging),
    responses((status = OK, description = "A page of tokens", body = EnrolmentTokenList)),
)]
async fn list_enrolment_tokens(
    State(app): State<Arc<App>>,
    read: Read<Paging>,
) -> Result<Json<EnrolmentTokenList>, Problem> {
    let (app, caller) = (&*app, &read.caller);
    caller.principal.check(Permission::ProvisionDevices)?;
    let found = read.page()?.fill(Tokens { app, caller }).await?;
    Ok(Json(EnrolmentTokenList {
        enrolment_tokens: found.items.iter().map(described).collect(),
        next_page_token: found.next.map(|next| read.list.token(&next)),
    }))
}

struct Tokens<'a> {
    app: &'a App,
    caller: &'a Caller,
}

impl Listing for Tokens<'_> {
    type Item = TokenStatus;
    type Key = DocumentName;

    async fn read(
        &mut self,
        after: Option<Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<TokenStatus, DocumentName>, Problem> {
        let registrar = &self.app.registrar;
        Ok(registrar.enrolment_tokens(after.as_ref(), limit).await?)
    }

    fn shows_all(&self) -> bool {
        self.caller.reaches_everything()
    }

    async fn shows(&mut self, status: &TokenStatus) -> Result<bool, Problem> {
        Ok(self.caller.could_have_made(status))
    }

    fn key(status: &TokenStatus) -> DocumentName {
        DocumentName::parse(status.token.id.as_str()).expect("an id names its document")
    }
}

/// Read an enrolment token
#[utoipa::path(
    get,
    path = "/v1/enrolment-tokens/{id}",
    tag = "enrolment",
    params(("id" = String, Path, description = "The public part of the token")),
    responses((status = OK, description = "The token, without its secret", body = EnrolmentToken)),
)]
async fn read_enrolment_token(
    State(app): State<Arc<App>>,
    Named(id): Named<EnrolmentTokenId>,
    read: Read<Nothing>,
) -> Result<Json<EnrolmentToken>, Problem> {
    read.caller.principal.check(Permission::ProvisionDevices)?;
    let status = app.enrolment_token(&read.caller, &id).await?;
    Ok(Json(described(&status)))
}

/// Revoke an enrolment token
///
/// It lets nobody in any more; the devices that it let in stay. Revoking it again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/enrolment-tokens/{id}/revoke",
    tag = "enrolment",
    params(("id" = String, Path, description = "The public part of the token")),
    responses((status = OK, description = "The token afterwards", body = EnrolmentToken)),
)]
async fn revoke_enrolment_token(
    State(app): State<Arc<App>>,
    Named(id): Named<EnrolmentTokenId>,
    command: Command<Nothing>,
) -> Result<Json<EnrolmentToken>, Problem> {
    let command = command.unconditional()?;
    let by = &command.caller.principal;
    by.check(Permission::ProvisionDevices)?;
    app.enrolment_token(&command.caller, &id).await?;
    let revoke = async |it: Acting| {
        let registrar = it.registrar;
        registrar.revoke_enrolment_token_as(by, &id, &it.act).await
    };
    let outcome = command
        .carry_out(&app, Permission::ProvisionDevices, revoke)
        .await?;
    let status = match outcome {
        Outcome::Done(status) => status,
        Outcome::Repeated(_) => app.enrolment_token(&command.caller, &id).await?,
    };
    Ok(Json(described(&status)))
}

fn described(status: &TokenStatus) -> EnrolmentToken {
    EnrolmentToken::new(&status.token, status.uses)
}

impl App {
    /// A token that the caller could have made. Any other is answered like one that does not exist.
    async fn enrolment_token(
        &self,
        caller: &Caller,
        id: &EnrolmentTokenId,
    ) -> Result<TokenStatus, Problem> {
        let found = self.registrar.enrolment_token(id).await?;
        found
            .filter(|status| caller.could_have_made(status))
            .ok_or_else(|| RegistrarError::EnrolmentTokenUnknown { id: id.clone() }.into())
    }
}

impl Caller {
    fn could_have_made(&self, status: &TokenStatus) -> bool {
        let (needed, target) = (Permission::ProvisionDevices, status.token.target());
        self.principal.check_device(needed, &target).is_ok()
    }
}
