use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use leafgate_access::Permission;
use leafgate_api::{BulkAction, BulkFilter, BulkPlan, PlanBulk};
use leafgate_registrar::{DeviceAction, DeviceFilter};
use leafgate_registry::{Query, RevocationReason};

use crate::app::App;
use crate::authenticate::Caller;
use crate::devices::{DeviceConditions, query_of};
use crate::extract::Command;
use crate::problem::Problem;

/// Plan a change of many devices
///
/// Says how many devices it would be about, and changes none.
#[utoipa::path(
    post,
    path = "/v1/bulk/plan",
    tag = "bulk",
    request_body = PlanBulk,
    responses((status = OK, description = "How many devices it is about", body = BulkPlan)),
)]
pub(super) async fn plan_change(
    State(app): State<Arc<App>>,
    command: Command<PlanBulk>,
) -> Result<Json<BulkPlan>, Problem> {
    let Command { caller, body, .. } = command.unconditional()?;
    caller.principal.check(Permission::OperateDevices)?;
    let _place = app.bulk_place()?;
    let filter = filter_of(&body.filter, &caller)?;
    let action = action_of(body.action, None)?;
    let devices = app.registrar.plan(&filter, action).await?;
    let devices = u64::try_from(devices).unwrap_or(u64::MAX);
    Ok(Json(BulkPlan { devices }))
}

/// The devices that are meant, as far as the caller's scope reaches.
pub(super) fn filter_of(filter: &BulkFilter, caller: &Caller) -> Result<DeviceFilter, Problem> {
    let BulkFilter {
        state,
        device_type,
        attribute,
        site,
        id_prefix,
        expires_by,
        issuer,
    } = filter.clone();
    let conditions = DeviceConditions {
        state,
        device_type,
        attribute,
        site,
        id_prefix,
        expires_by,
    };
    let query = query_of(&conditions, caller, None)?;
    Ok(DeviceFilter {
        // Without a name that can't be met there is always one.
        query: query.unwrap_or_else(Query::default),
        issuer,
        scope: caller.principal.authority.scope.clone(),
    })
}

pub(super) fn action_of(
    action: BulkAction,
    reason: Option<RevocationReason>,
) -> Result<DeviceAction, Problem> {
    if reason.is_some() && action != BulkAction::Revoke {
        return Err(Problem::malformed("reason: only revoke has one"));
    }
    Ok(match action {
        BulkAction::Approve => DeviceAction::Approve,
        BulkAction::Enable => DeviceAction::Enable,
        BulkAction::Disable => DeviceAction::Disable,
        BulkAction::Quarantine => DeviceAction::Quarantine,
        BulkAction::Revoke => DeviceAction::Revoke(reason.unwrap_or_default()),
        BulkAction::Delete => DeviceAction::Delete,
    })
}
