//! `/v1/enrol`: devices that let themselves in with an enrolment token.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use leafgate_access::{EnrolmentToken, EnrolmentTokenText};
use leafgate_api::{Device, Enrol, EnrolledDevice, ProblemType};
use leafgate_identity::DeviceId;
use leafgate_registrar::{DeviceCredentials, RegistrarError};
use leafgate_registry::{Act, Actor};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::authenticate::bearer;
use crate::certificates::{issued_certificate, status_of};
use crate::extract::JsonBody;
use crate::listener::Peer;
use crate::observe::answered_to;
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default().routes(routes!(enrol))
}

/// Enrol a device
///
/// For devices that never had a certificate: registers the device as the token says, unless it is registered, and issues
/// its first certificate. The same key again is answered with the same certificate, as long as the token counts and the
/// certificate is not due for renewal.
#[utoipa::path(
    post,
    path = "/v1/enrol",
    tag = "enrolment",
    security(("enrolment_token" = [])),
    request_body = Enrol,
    responses(
        (status = CREATED, description = "A new certificate", body = EnrolledDevice),
        (status = OK, description = "The certificate that this key has already", body = EnrolledDevice),
    ),
)]
async fn enrol(
    State(app): State<Arc<App>>,
    bearer: TokenBearer,
    JsonBody(body): JsonBody<Enrol>,
) -> Response {
    let enrolled = bearer.enrol(&app, &body.id, &body.csr).await;
    answered_to(&bearer.actor(), enrolled.map(|it| answer(&it)))
}

fn answer(credentials: &DeviceCredentials) -> Response {
    let body = EnrolledDevice {
        device: Device::from(&credentials.device),
        certificate: issued_certificate(credentials),
    };
    (status_of(credentials), Json(body)).into_response()
}

/// Somebody who has shown the whole text of an enrolment token, which may have ended.
pub(crate) struct TokenBearer {
    text: EnrolmentTokenText,
    pub(crate) token: EnrolmentToken,
}

impl FromRequestParts<Arc<App>> for TokenBearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>();
        Self::identify(app, peer, bearer(&parts.headers)).await
    }
}

impl TokenBearer {
    pub(crate) async fn identify(
        app: &App,
        peer: Option<&Peer>,
        text: Option<&str>,
    ) -> Result<Self, Problem> {
        let Some(text) = text else {
            let detail = "send an enrolment token as Authorization: Bearer lge_…, over EST as password of HTTP Basic";
            return Err(Problem::new(ProblemType::EnrolmentTokenInvalid, detail));
        };
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |it| it.address.ip());
        let presented = EnrolmentTokenText::parse(text);
        let id = presented.as_ref().ok().map(|presented| &presented.id);
        let now = app.clock.monotonic();
        if let Some(wait) = app.token_guesses.wait(address, id, now) {
            let detail = "too many wrong enrolment tokens; wait before the next attempt";
            return Err(Problem::new(ProblemType::AttemptsTooMany, detail).retry_after(wait));
        }
        let wrong = |detail: String| {
            app.token_guesses.failed(address, id, now);
            Problem::new(ProblemType::EnrolmentTokenInvalid, detail)
        };
        let text = match &presented {
            Ok(presented) => presented,
            Err(error) => return Err(wrong(error.to_string())),
        };
        let found = app.registrar.enrolment_token(&text.id).await?;
        match found.filter(|status| status.token.is(text)) {
            None => Err(wrong("no enrolment token is like this one".to_owned())),
            Some(status) => {
                app.token_guesses.succeeded(address, &text.id);
                Ok(Self {
                    text: text.clone(),
                    token: status.token,
                })
            }
        }
    }

    /// The bearer's name in the audit trail and the log.
    pub(crate) fn actor(&self) -> Actor {
        Actor::parse(&self.text.id.actor_name()).expect("the ids of tokens are short and plain")
    }

    /// Lets a device in.
    pub(crate) async fn enrol(
        &self,
        app: &App,
        id: &DeviceId,
        csr_pem: &str,
    ) -> Result<DeviceCredentials, Problem> {
        let act = Act {
            actor: self.actor(),
            at: app.clock.now(),
        };
        let enrolled = app.registrar.enrol(&self.text, id, csr_pem, &act).await;
        enrolled.map_err(told_to_devices)
    }
}

/// What a device may know: not who else has its key.
pub(crate) fn told_to_devices(error: RegistrarError) -> Problem {
    match error {
        RegistrarError::KeyHeld { .. } => RegistrarError::KeyHeld { holder: None }.into(),
        other => other.into(),
    }
}
