use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use leafgate_access::Permission;
use leafgate_api::{HeldCertificate, Revoke};

use super::CertificateName;
use crate::app::App;
use crate::extract::{Command, Named};
use crate::idempotency::{Acting, Outcome};
use crate::problem::Problem;

/// Revoke a certificate
///
/// Its holder keeps the others; for `key-compromise`, those of other keys. The answer comes when the revocation lists
/// and status answers that are served hold it.
#[utoipa::path(
    post,
    path = "/v1/certificates/{certificate}/revoke",
    tag = "certificates",
    params(("certificate" = String, Path, description = "SERIAL, or ISSUER:SERIAL")),
    request_body = Option<Revoke>,
    responses((status = OK, description = "The record afterwards", body = HeldCertificate)),
)]
pub(super) async fn revoke_certificate(
    State(app): State<Arc<App>>,
    Named(name): Named<CertificateName>,
    command: Command<Revoke>,
) -> Result<Json<HeldCertificate>, Problem> {
    let command = command.unconditional()?;
    let permission = Permission::OperateDevices;
    command.caller.principal.check(permission)?;
    let certificate = app.certificate(&command.caller, &name).await?;
    let reason = command.body.reason;
    let outcome = command
        .carry_out(&app, permission, async |Acting { registrar, act }| {
            let (serial, issuer) = (certificate.serial, Some(certificate.issuer));
            registrar
                .revoke_certificate(serial, issuer, reason, &act)
                .await
        })
        .await?;
    let revoked = match outcome {
        Outcome::Done(revoked) => revoked,
        Outcome::Repeated(_) => app.certificate(&command.caller, &name).await?,
    };
    app.serve_revocations().await?;
    Ok(Json(HeldCertificate::from(&revoked)))
}
