use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leafgate_api::{Device, schema};
use leafgate_identity::DeviceId;

use super::answer;
use crate::app::App;
use crate::extract::{Named, Nothing, Read};
use crate::problem::Problem;

/// Read a device
///
/// A deleted device is answered as well, in the state `deleted`: it keeps the history of its id.
#[utoipa::path(
    get,
    path = "/v1/devices/{id}",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    responses((status = OK, description = "The device", body = Device)),
)]
pub(super) async fn read_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    read: Read<Nothing>,
) -> Result<Response, Problem> {
    let record = app.device(&read.caller, &id).await?;
    Ok(answer(StatusCode::OK, &record))
}
