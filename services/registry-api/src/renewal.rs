//! `/v1/renew`: devices that ask for their next certificate with the one that they have.

mod device_issuers;
mod presented;
mod proxied;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use leafgate_api::{IssuedCertificate, Renew};
use leafgate_registrar::DeviceCredentials;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::device_issuers::DeviceIssuers;
pub(crate) use self::presented::Presented;
pub(crate) use self::proxied::{TrustedProxies, read_client, refuse_misread};
use crate::app::App;
use crate::certificates::issued_certificate;
use crate::extract::JsonBody;
use crate::observe::answered_to;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default().routes(routes!(renew))
}

/// Renew a device's certificate
///
/// For the device itself, over mutual TLS with its present certificate, which may have expired not too long ago. The
/// request's key may be the present one or another. The present certificate counts on until the device has logged in
/// with the new one, and for the overlap after that. The same key again, before its certificate is due for renewal, is
/// answered with the same certificate.
#[utoipa::path(
    post,
    path = "/v1/renew",
    tag = "enrolment",
    security(("device_certificate" = [])),
    request_body = Renew,
    responses(
        (status = CREATED, description = "A new certificate", body = IssuedCertificate),
        (status = OK, description = "The certificate that this key has already", body = IssuedCertificate),
    ),
)]
async fn renew(
    State(app): State<Arc<App>>,
    presented: Presented,
    JsonBody(body): JsonBody<Renew>,
) -> Response {
    let renewed = presented.renew(&app, &body.csr).await;
    answered_to(&presented.actor(), renewed.map(|it| answer(&it)))
}

fn answer(credentials: &DeviceCredentials) -> Response {
    let status = if credentials.newly_issued {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    (status, Json(issued_certificate(credentials))).into_response()
}
