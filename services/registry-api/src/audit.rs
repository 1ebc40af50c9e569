//! `/v1/audit`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use leafgate_access::Permission;
use leafgate_api::{AuditReport, Checkpoint, CheckpointList, ProblemType, Restore};
use leafgate_registrar::{CheckpointError, VerifyAuditError, verify_audit_against};
use leafgate_registry::{DocumentName, FeedPosition};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::{Command, Nothing, Read};
use crate::list::PageOf;
use crate::problem::{Problem, SOON, chain};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(verify_chain))
        .routes(routes!(list_checkpoints))
}

/// Verify the audit trail
///
/// Reads every event from the first to the newest, and checks that each continues the one before and that the chain
/// passes through every checkpoint that this service keeps. One verification goes on at a time.
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
    let checkpoints = match &app.checkpoints {
        Some(checkpoints) => checkpoints.read().await?,
        None => Ok(Vec::new()),
    };
    let checked = match checkpoints {
        Ok(checkpoints) => {
            let checkpoints = checkpoints.into_iter().map(|(it, _)| it).collect();
            verify_audit_against(&*app.store, checkpoints)
                .await
                .map_err(Broken::Trail)
        }
        Err(error) => Err(Broken::Checkpoints(error)),
    };
    let report = match checked {
        Ok(report) => shown(&report),
        Err(Broken::Trail(VerifyAuditError::Store(source))) => return Err(source.into()),
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

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Trail(VerifyAuditError),
    #[error(transparent)]
    Checkpoints(CheckpointError),
}

fn shown(report: &leafgate_registrar::AuditReport) -> AuditReport {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let position = FeedPosition {
        epoch: report.epoch,
        seq: report.head.seq,
        hash: report.head.hash,
    };
    let restores = report.restores.iter().map(|restore| Restore {
        seq: restore.seq,
        at: restore.at,
        lost_checkpoints: number(restore.lost_checkpoints),
    });
    AuditReport {
        checkpoints: number(report.checkpoints),
        restores: restores.collect(),
        ..AuditReport::intact(&position)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Position {
    /// Those of events that follow this one; all from the first if left out.
    after: Option<u64>,
    /// How many at most, from 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    page_size: Option<u32>,
}

/// List checkpoints
///
/// Signed statements of what the newest event was, by which a chain that was written anew or cut short is known. Whoever
/// keeps them elsewhere, and the public key with them, need not trust this registry: `leafgate audit verify` takes them.
#[utoipa::path(
    get,
    path = "/v1/audit/checkpoints",
    tag = "audit",
    params(Position),
    responses((status = OK, description = "Checkpoints in the order of their events", body = CheckpointList)),
)]
async fn list_checkpoints(
    State(app): State<Arc<App>>,
    read: Read<Position>,
) -> Result<Json<CheckpointList>, Problem> {
    read.caller
        .principal
        .check_everywhere(Permission::ReadEvents)?;
    let Position { after, page_size } = read.query;
    let size = PageOf::<DocumentName>::new(page_size, None, &read.list)?.size;
    let Some(checkpoints) = &app.checkpoints else {
        let detail = "this service makes no checkpoints: give it [audit]";
        return Err(Problem::new(ProblemType::NotSupported, detail));
    };
    let found = checkpoints.read().await?.map_err(Problem::internal)?;
    let after = after.unwrap_or(0);
    let mut following = found.into_iter().filter(|(it, _)| it.head.seq > after);
    let mut page: Vec<Checkpoint> = Vec::new();
    let mut more = false;
    for (_, signed) in following.by_ref() {
        // Two of one event, of two epochs, are on one page.
        more = page.len() >= size && page.last().is_some_and(|last| last.seq < signed.seq);
        if more {
            break;
        }
        page.push(Checkpoint {
            epoch: signed.epoch,
            seq: signed.seq,
            hash: signed.hash,
            at: signed.at,
            key: signed.key,
            signature: signed.signature,
        });
    }
    Ok(Json(CheckpointList {
        next_after: page.last().map(|last| last.seq).filter(|_| more),
        checkpoints: page,
    }))
}
