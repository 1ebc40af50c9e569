//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use leafgate_api::ProblemType;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::authenticate::authenticate;
use crate::observe::observe;
use crate::problem::Problem;
use crate::renewal::{TrustedProxies, read_client, refuse_misread};
use crate::{
    api_keys, audit, bulk, certificates, devices, enrol, enrolment_tokens, est, events, issuers,
    meta, openapi, renewal, services, sessions,
};

/// The service behind the API's listener.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let (secured, _) = secured().split_for_parts();
    let (public, _) = meta::routes().split_for_parts();
    let (of_devices, _) = of_devices().split_for_parts();
    let routes = secured
        .route_layer(from_fn_with_state(Arc::clone(app), authenticate))
        .merge(public)
        .merge(of_devices)
        .merge(est::routes());
    finished(routes, app)
}

/// The service behind the listener for proxies: only what devices ask for on their own.
pub(crate) fn proxied_router(app: &Arc<App>, trusted: TrustedProxies) -> Router {
    let (of_devices, _) = of_devices().split_for_parts();
    let routes = of_devices
        .merge(est::routes())
        .route_layer(from_fn(refuse_misread));
    finished(routes, app).layer(from_fn_with_state(trusted, read_client))
}

fn finished(routes: Router<Arc<App>>, app: &Arc<App>) -> Router {
    routes
        .fallback(route_unknown)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(app), observe))
        .with_state(Arc::clone(app))
}

/// The OpenAPI document of the API (JSON).
pub fn openapi_document() -> String {
    let (_, secured) = secured().split_for_parts();
    let (_, public) = meta::routes().split_for_parts();
    let (_, of_devices) = of_devices().split_for_parts();
    let document = openapi::document(secured, of_devices, public);
    format!("{document:#}\n")
}

/// What only those may ask for who are known.
fn secured() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .merge(devices::routes())
        .merge(sessions::routes())
        .merge(bulk::routes())
        .merge(certificates::routes())
        .merge(api_keys::routes())
        .merge(enrolment_tokens::routes())
        .merge(events::routes())
        .merge(audit::routes())
        .merge(issuers::routes())
        .merge(services::routes())
}

/// What devices ask for on their own, which show themselves by an enrolment token or by their certificate.
fn of_devices() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .merge(enrol::routes())
        .merge(renewal::routes())
}

async fn route_unknown(uri: Uri) -> Problem {
    let detail = format!("there is no {}; see /v1/openapi.json", uri.path());
    Problem::new(ProblemType::RouteUnknown, detail)
}

async fn method_not_allowed() -> Problem {
    let detail = "the header Allow lists the methods that this path has";
    Problem::new(ProblemType::MethodNotAllowed, detail)
}
