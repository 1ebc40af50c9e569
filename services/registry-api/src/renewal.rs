//! `/v1/renew`: devices and parts of the installation that ask for their next certificate with the one that they have.

mod device_issuers;
mod presented;
mod proxied;
mod service;

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use leafgate_api::{IssuedCertificate, Renew};
use leafgate_registrar::DeviceCredentials;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::device_issuers::DeviceIssuers;
pub(crate) use self::presented::Presented;
pub(crate) use self::proxied::{TrustedProxies, read_client, refuse_misread};
use self::service::PresentedService;
use crate::app::App;
use crate::certificates::{issued_certificate, status_of};
use crate::extract::JsonBody;
use crate::listener::Peer;
use crate::observe::answered_to;
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default().routes(routes!(renew))
}

/// Renew a certificate with itself
///
/// For a device itself, over mutual TLS with its present certificate, which may have expired not too long ago. The
/// request's key may be the present one or another. The present certificate counts on until the device has logged in
/// with the new one, and for the overlap after that. The same key again, before its certificate is due for renewal, is
/// answered with the same certificate.
///
/// For a nats-server, or another part of the installation, in the same way: it gets the names that it has. Its present
/// certificate counts on for the overlap.
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
    holder: Holder,
    JsonBody(body): JsonBody<Renew>,
) -> Response {
    match holder {
        Holder::Device(presented) => {
            let renewed = presented.renew(&app, &body.csr).await;
            answered_to(&presented.actor(), renewed.map(|it| answer(&it)))
        }
        Holder::Service(presented) => presented.renew(&app, &body.csr).await,
    }
}

/// Who presents a certificate.
enum Holder {
    Device(Presented),
    Service(Box<PresentedService>),
}

impl FromRequestParts<Arc<App>> for Holder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        match Presented::from_request_parts(parts, app).await {
            Ok(presented) => Ok(Self::Device(presented)),
            Err(refusal) => {
                let peer = parts.extensions.get::<Peer>();
                let certificate = peer.and_then(|peer| peer.certificates.first());
                match certificate.and_then(PresentedService::read) {
                    Some(named) => Ok(Self::Service(Box::new(named.unless_known(refusal)))),
                    None => Err(refusal),
                }
            }
        }
    }
}

fn answer(credentials: &DeviceCredentials) -> Response {
    (
        status_of(credentials),
        Json(issued_certificate(credentials)),
    )
        .into_response()
}
