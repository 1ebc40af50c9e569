//! `/v1/issuers`

mod follow;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use leafgate_access::Permission;
use leafgate_api::{ActivateIssuer, Issuer, IssuerList, OutstandingCertificates};
use leafgate_identity::SpkiHash;
use leafgate_registrar::{IssuerKeys, IssuerStatus, Issuers};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::follow::{IssuerWatch, follow_issuers};
use crate::app::App;
use crate::extract::{Command, Named, Nothing, Read};
use crate::idempotency::Outcome;
use crate::problem::Problem;

/// The certificate authority behind the registry.
#[derive(Clone)]
pub struct Authority {
    /// What devices and clients trust (PEM).
    pub root_certificate_pem: String,
    /// The file with the root's revocation list, if it is to be served.
    pub root_crl: Option<PathBuf>,
    /// What signs.
    pub issuers: Issuers,
    /// Where further issuers appear and others go while the service runs.
    pub source: Option<Arc<dyn IssuerSource>>,
}

/// Where a registry has its issuers from.
pub trait IssuerSource: Send + Sync {
    /// The issuers, if they may have changed since the last call. It may block.
    ///
    /// # Errors
    /// They can't be read now.
    fn read(&self) -> anyhow::Result<Option<IssuerKeys>>;
}

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(list_issuers))
        .routes(routes!(activate_issuer))
        .routes(routes!(retire_issuer))
}

/// List the issuers
///
/// The certificates of the registry's own authority: what to trust, and what signs, has signed and is to sign, with what
/// is left of their certificates.
#[utoipa::path(
    get,
    path = "/v1/issuers",
    tag = "issuers",
    responses((status = OK, description = "The root and the intermediates", body = IssuerList)),
)]
async fn list_issuers(
    State(app): State<Arc<App>>,
    read: Read<Nothing>,
) -> Result<Json<IssuerList>, Problem> {
    read.caller.principal.check(Permission::ReadDevices)?;
    let issuers = app.registrar.issuers(app.clock.now()).await?;
    Ok(Json(IssuerList {
        root_certificate: app.authority.root_certificate_pem.clone(),
        issuers: issuers.into_iter().map(issuer_of).collect(),
    }))
}

/// Activate an issuer
///
/// New certificates come from it from now on. The one before is superseded; it can be activated again until it is
/// retired. An issuer that was prepared too short a time ago is refused unless `now` is set: listeners and callouts that
/// do not know it yet would keep its devices out. One that is active stays as it is.
#[utoipa::path(
    post,
    path = "/v1/issuers/{issuer}/activate",
    tag = "issuers",
    params(("issuer" = String, Path, description = "SHA-256 of its public key, 64 lower-case hexadecimal digits")),
    request_body = Option<ActivateIssuer>,
    responses((status = OK, description = "The issuer afterwards", body = Issuer)),
)]
async fn activate_issuer(
    State(app): State<Arc<App>>,
    Named(issuer): Named<SpkiHash>,
    command: Command<ActivateIssuer>,
) -> Result<Json<Issuer>, Problem> {
    let command = command.unconditional()?;
    let ripe = if command.body.now {
        std::time::Duration::ZERO
    } else {
        app.activate_after
    };
    let (permission, issuer) = (Permission::ManageIssuers, &issuer);
    command.caller.principal.check(permission)?;
    let outcome = command.carry_out(&app, permission, async |it| {
        it.registrar.activate_issuer(issuer, ripe, &it.act).await
    });
    app.settled(issuer, outcome.await?).await
}

/// Retire an issuer
///
/// It signs no certificate ever again, but tells of the revocation of its certificates until the last has ended; the
/// answer says when that is. The active one can't be retired. One that is retired stays as it is.
#[utoipa::path(
    post,
    path = "/v1/issuers/{issuer}/retire",
    tag = "issuers",
    params(("issuer" = String, Path, description = "SHA-256 of its public key, 64 lower-case hexadecimal digits")),
    responses((status = OK, description = "The issuer afterwards", body = Issuer)),
)]
async fn retire_issuer(
    State(app): State<Arc<App>>,
    Named(issuer): Named<SpkiHash>,
    command: Command<Nothing>,
) -> Result<Json<Issuer>, Problem> {
    let command = command.unconditional()?;
    let (permission, issuer) = (Permission::ManageIssuers, &issuer);
    command.caller.principal.check(permission)?;
    let outcome = command.carry_out(&app, permission, async |it| {
        it.registrar.retire_issuer(issuer, &it.act).await
    });
    app.settled(issuer, outcome.await?).await
}

impl App {
    async fn settled(
        &self,
        issuer: &SpkiHash,
        outcome: Outcome<IssuerStatus>,
    ) -> Result<Json<Issuer>, Problem> {
        let status = match outcome {
            Outcome::Done(status) => status,
            Outcome::Repeated(_) => {
                let now = self.clock.now();
                self.registrar.issuer_status(issuer, now).await?
            }
        };
        Ok(Json(issuer_of(status)))
    }
}

/// An issuer as the API shows it.
pub fn issuer_of(status: IssuerStatus) -> Issuer {
    Issuer {
        name: status.intermediate.to_string(),
        issuer: status.issuer,
        state: status.state.to_string(),
        since: status.since,
        key_present: status.key_present,
        outstanding: status.outstanding.map(|it| OutstandingCertificates {
            certificates: it.certificates,
            holders: it.holders,
            last_not_after: it.last_not_after,
            unexpired: it.unexpired,
            last_unexpired: it.last_unexpired,
        }),
        certificate: status.certificate_pem,
    }
}
