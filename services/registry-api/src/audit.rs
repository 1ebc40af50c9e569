//! `/v1/audit`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use leafgate_access::Permission;
use leafgate_api::{AuditReport, ProblemType};
use leafgate_registrar::{VerifyAuditError, verify_audit};
use leafgate_registry::FeedPosition;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::{Command, Nothing};
use crate::problem::{Problem, SOON, chain};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default().routes(routes!(verify_chain))
}

/// Verify the audit trail
///
/// Reads every event from the first to the newest, and checks that each continues the one before. One verification goes
/// on at a time.
#[utoipa::path(
    post,
    path = "/v1/audit/verify",
    tag = "audit",
    responses((status = OK, description = "Whether the chain holds", body = AuditReport)),
)]
async fn verify_chain(
    State(app): State<Arc<App>>,
    command: Command<Nothing>,
) -> Result<Json<AuditReport>, Problem> {
    let command = command.unconditional()?;
    let principal = &command.caller.principal;
    principal.check_everywhere(Permission::ReadEvents)?;
    let _turn = app.verifications.try_acquire().map_err(|_| {
        let detail = "the audit trail is being verified already; try again when that is done";
        Problem::new(ProblemType::Overloaded, detail).retry_after(SOON)
    })?;
    let report = match verify_audit(&*app.store).await {
        Ok(report) => AuditReport::intact(&FeedPosition {
            epoch: report.epoch,
            seq: report.head.seq,
            hash: report.head.hash,
        }),
        Err(VerifyAuditError::Store(source)) => return Err(source.into()),
        Err(broken) => {
            tracing::error!(
                error = &broken as &dyn std::error::Error,
                "the audit trail does not hold"
            );
            AuditReport::broken(&app.store.position().await?, chain(&broken))
        }
    };
    Ok(Json(report))
}
