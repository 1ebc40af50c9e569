//! `/v1/devices`

mod change;
mod create;
mod edit;
mod explain;
mod list;
mod read;
mod state;

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leafgate_api::Device;
use leafgate_registry::DeviceRecord;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::create::{described, taken};
pub(crate) use self::list::{DeviceConditions, query_of};
use crate::app::App;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(create::create_device, list::list_devices))
        .routes(routes!(
            read::read_device,
            edit::replace_device,
            edit::patch_device,
            state::delete_device
        ))
        .routes(routes!(state::approve_device))
        .routes(routes!(state::disable_device))
        .routes(routes!(state::enable_device))
        .routes(routes!(state::quarantine_device))
        .routes(routes!(state::revoke_device))
        .routes(routes!(explain::explain_device))
}

/// A device as every endpoint answers it.
fn answer(status: StatusCode, record: &DeviceRecord) -> Response {
    let mut response = (status, Json(Device::from(record))).into_response();
    response
        .headers_mut()
        .insert(header::ETAG, etag(record.device.version));
    response
}

fn etag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are visible ASCII")
}
