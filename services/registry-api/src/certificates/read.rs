use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use leafgate_api::{HeldCertificate, ProblemType};

use super::CertificateName;
use crate::app::App;
use crate::extract::{Named, Nothing, Read};
use crate::problem::Problem;

/// Read a certificate's record
#[utoipa::path(
    get,
    path = "/v1/certificates/{certificate}",
    tag = "certificates",
    params(("certificate" = String, Path, description = "SERIAL, or ISSUER:SERIAL")),
    responses((status = OK, description = "The record", body = HeldCertificate)),
)]
pub(super) async fn read_certificate(
    State(app): State<Arc<App>>,
    Named(name): Named<CertificateName>,
    read: Read<Nothing>,
) -> Result<Json<HeldCertificate>, Problem> {
    let certificate = app.certificate(&read.caller, &name).await?;
    Ok(Json(HeldCertificate::from(&certificate)))
}

/// Read a certificate
///
/// The certificate as it was signed, in PEM.
#[utoipa::path(
    get,
    path = "/v1/certificates/{certificate}/pem",
    tag = "certificates",
    params(("certificate" = String, Path, description = "SERIAL, or ISSUER:SERIAL")),
    responses((
        status = OK,
        description = "The certificate",
        body = String,
        content_type = "application/pem-certificate-chain",
    )),
)]
pub(super) async fn read_certificate_pem(
    State(app): State<Arc<App>>,
    Named(name): Named<CertificateName>,
    read: Read<Nothing>,
) -> Result<Response, Problem> {
    let certificate = app.certificate(&read.caller, &name).await?;
    let pem = app.registrar.certificate_pem(&certificate.id()).await?;
    let pem = pem.ok_or_else(|| {
        let detail = format!("certificate {} is recorded, but not kept here", name.serial);
        Problem::new(ProblemType::CertificateUnknown, detail)
    })?;
    let kind = "application/pem-certificate-chain";
    Ok(([(header::CONTENT_TYPE, kind)], pem).into_response())
}
