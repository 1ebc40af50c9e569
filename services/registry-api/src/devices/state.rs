use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use leafgate_api::{Device, Revoke, schema};
use leafgate_identity::DeviceId;

use crate::app::App;
use crate::extract::{Command, Named, Nothing};
use crate::idempotency::Acting;
use crate::problem::Problem;

/// Let a pending device in
///
/// It becomes active.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/approve",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    responses((status = OK, description = "The device afterwards", body = Device)),
)]
pub(super) async fn approve_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let approve = async |it: Acting| it.registrar.approve(&id, &it.act).await;
    command.operate(&app, &id, approve).await
}

/// Lock a device out until it is enabled
///
/// Its sessions end, and its log-ins are refused.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/disable",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    responses((status = OK, description = "The device afterwards", body = Device)),
)]
pub(super) async fn disable_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let disable = async |it: Acting| it.registrar.disable(&id, &it.act).await;
    command.operate(&app, &id, disable).await
}

/// Let a disabled or quarantined device back in
///
/// It becomes active.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/enable",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    responses((status = OK, description = "The device afterwards", body = Device)),
)]
pub(super) async fn enable_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let enable = async |it: Acting| it.registrar.enable(&id, &it.act).await;
    command.operate(&app, &id, enable).await
}

/// Narrow an active device to the quarantine grant
///
/// It may do what the quarantine grant of its policy allows, and no more.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/quarantine",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    responses((status = OK, description = "The device afterwards", body = Device)),
)]
pub(super) async fn quarantine_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let quarantine = async |it: Acting| it.registrar.quarantine(&id, &it.act).await;
    command.operate(&app, &id, quarantine).await
}

/// Lock a device out for good
///
/// All of its certificates are revoked for the reason that is given. There is no way back but deletion and a new
/// registration. The answer comes when the revocation lists and status answers that are served hold it.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/revoke",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    request_body = Option<Revoke>,
    responses((status = OK, description = "The device afterwards", body = Device)),
)]
pub(super) async fn revoke_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    command: Command<Revoke>,
) -> Result<Response, Problem> {
    let reason = command.body.reason;
    let revoke = async |it: Acting| it.registrar.revoke(&id, reason, &it.act).await;
    let response = command.operate(&app, &id, revoke).await?;
    app.serve_revocations().await?;
    Ok(response)
}

/// Remove a device
///
/// All of its certificates are revoked. A tombstone in the state `deleted` keeps its history; the id can be registered
/// again. The answer comes when the revocation lists and status answers that are served hold it.
#[utoipa::path(
    delete,
    path = "/v1/devices/{id}",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    responses((status = OK, description = "The tombstone", body = Device)),
)]
pub(super) async fn delete_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let delete = async |it: Acting| it.registrar.delete(&id, &it.act).await;
    let response = command.operate(&app, &id, delete).await?;
    app.serve_revocations().await?;
    Ok(response)
}
