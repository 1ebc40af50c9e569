use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leafgate_access::Permission;
use leafgate_api::{IssuedCertificate, RequestCertificate, schema};
use leafgate_identity::DeviceId;
use leafgate_registrar::{CertificateKey, DeviceCredentials};
use secrecy::ExposeSecret;

use crate::app::App;
use crate::extract::{Command, Named};
use crate::idempotency::{Outcome, spent};
use crate::problem::Problem;

/// Issue a certificate
///
/// Either for the key of a certificate request, of which nothing else is used; or, with `generate_key`, for a key that
/// is made here, given once and kept nowhere. The same request again, before its certificate is due for renewal, is
/// answered with the same certificate.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/certificates",
    tag = "certificates",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    request_body = RequestCertificate,
    responses(
        (status = CREATED, description = "A new certificate", body = IssuedCertificate),
        (status = OK, description = "The certificate that this key has already", body = IssuedCertificate),
    ),
)]
pub(super) async fn issue_certificate(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    command: Command<RequestCertificate>,
) -> Result<Response, Problem> {
    let RequestCertificate { csr, generate_key } = &command.body;
    let key = match (csr, generate_key) {
        (Some(csr), false) => CertificateKey::Csr(csr),
        (None, true) => CertificateKey::New,
        _ => {
            let detail = "give either csr, a certificate request in PEM, or generate_key: true";
            return Err(Problem::malformed(detail));
        }
    };
    command
        .caller
        .principal
        .check(Permission::ProvisionDevices)?;
    app.device(&command.caller, &id).await?;
    let device = &id;
    let outcome = command
        .carry_out(&app, Permission::ProvisionDevices, |acting| async move {
            acting.registrar.issue(device, key, &acting.act).await
        })
        .await?;
    let credentials = match (outcome, csr) {
        (Outcome::Done(credentials), _) => credentials,
        (Outcome::Repeated(recorded), None) => return Err(spent(&recorded)),
        // The same key gives the same certificate; or a new one, if the process died before it was signed.
        (Outcome::Repeated(_), Some(csr)) => {
            let acting = command.acting_again(&app, Permission::ProvisionDevices);
            acting.registrar.sign_csr(&id, csr, &acting.act).await?
        }
    };
    Ok(answer(&credentials))
}

fn answer(credentials: &DeviceCredentials) -> Response {
    let status = if credentials.newly_issued {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = (status, Json(issued_certificate(credentials))).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What is told of a certificate that was issued.
pub fn issued_certificate(credentials: &DeviceCredentials) -> IssuedCertificate {
    let DeviceCredentials {
        issued,
        private_key_pem,
        renew_after,
        ..
    } = credentials;
    let private_key = private_key_pem.as_ref();
    IssuedCertificate {
        certificate: issued.certificate_pem.clone(),
        chain: issued.chain_pem.clone(),
        serial: issued.serial,
        fingerprint: issued.fingerprint,
        not_after: issued.validity.not_after,
        renew_after: *renew_after,
        private_key: private_key.map(|key| key.expose_secret().to_owned()),
    }
}
