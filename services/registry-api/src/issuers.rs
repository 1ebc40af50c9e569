//! `/v1/issuers`

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use leafgate_access::Permission;
use leafgate_api::{Issuer, IssuerList};
use leafgate_registrar::Issuers;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::{Nothing, Read};
use crate::problem::Problem;

/// The certificate authority behind the registry.
#[derive(Clone)]
pub struct Authority {
    /// What devices and clients trust (PEM).
    pub root_certificate_pem: String,
    /// The file with the root's revocation list, if it is to be served.
    pub root_crl: Option<PathBuf>,
    /// What signs.
    pub issuers: Issuers,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default().routes(routes!(list_issuers))
}

/// List the issuers
///
/// The certificates of the registry's own authority: what to trust, and what signs.
#[utoipa::path(
    get,
    path = "/v1/issuers",
    tag = "issuers",
    responses((status = OK, description = "The root and the intermediates", body = IssuerList)),
)]
async fn list_issuers(
    State(app): State<Arc<App>>,
    read: Read<Nothing>,
) -> Result<Json<IssuerList>, Problem> {
    read.caller.principal.check(Permission::ReadDevices)?;
    let Authority {
        root_certificate_pem,
        issuers,
        ..
    } = &app.authority;
    let named = [("devices", &issuers.devices), ("servers", &issuers.servers)];
    Ok(Json(IssuerList {
        root_certificate: root_certificate_pem.clone(),
        issuers: named
            .map(|(name, issuer)| Issuer {
                name: name.to_owned(),
                issuer: issuer.spki(),
                certificate: issuer.certificate_pem().to_owned(),
            })
            .into(),
    }))
}
