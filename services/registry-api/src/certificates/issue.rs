use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leafgate_access::Permission;
use leafgate_api::{IssuedCertificate, ProblemType, RequestCertificate, schema};
use leafgate_identity::DeviceId;
use leafgate_registrar::{CertificateKey, DeviceCredentials, RecordedRequest};
use leafgate_registry::{CertificateStatusKind, DeviceRecord};
use secrecy::ExposeSecret;

use crate::app::App;
use crate::extract::{Command, Named};
use crate::idempotency::{Outcome, not_to_be_stored, spent};
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
    let permission = Permission::ProvisionDevices;
    command.caller.principal.check(permission)?;
    app.device(&command.caller, &id).await?;
    let outcome = command
        .carry_out(&app, permission, async |it| {
            it.registrar.issue(&id, key, &it.act).await
        })
        .await?;
    let credentials = match (outcome, csr) {
        (Outcome::Done(credentials), _) => credentials,
        (Outcome::Repeated(recorded), None) => return Err(spent(&recorded)),
        // The same key gives the same certificate; or a new one, if the process died before it was signed.
        (Outcome::Repeated(recorded), Some(csr)) => {
            let device = app.device(&command.caller, &id).await?;
            check_not_revoked(&device, &recorded)?;
            let acting = command.acting_again(&app, permission);
            acting.registrar.sign_csr(&id, csr, &acting.act).await?
        }
    };
    let status = status_of(&credentials);
    Ok(not_to_be_stored(status, issued_certificate(&credentials)))
}

/// Whoever repeats a request gets no second certificate in the place of one that was revoked since.
fn check_not_revoked(device: &DeviceRecord, recorded: &RecordedRequest) -> Result<(), Problem> {
    let mut certificates = device.certificates.iter();
    let revoked = certificates.find(|it| {
        let id = it.id().to_string();
        let mut outcome = recorded.outcome.iter();
        it.fingerprint.is_some()
            && it.status.kind() == CertificateStatusKind::Revoked
            && outcome.any(|made| made.certificate.as_ref() == Some(&id))
    });
    let Some(revoked) = revoked else {
        return Ok(());
    };
    let detail = format!(
        "this was carried out at {}, and the certificate that it made, {}, was revoked since; a new one needs a new \
         Idempotency-Key",
        recorded.at, revoked.serial
    );
    Err(Problem::new(ProblemType::StateIllegal, detail))
}

/// Whether a certificate was made for the request that it answers.
pub(crate) fn status_of(credentials: &DeviceCredentials) -> StatusCode {
    if credentials.newly_issued {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
}

/// What is told of a certificate that was issued.
pub(crate) fn issued_certificate(credentials: &DeviceCredentials) -> IssuedCertificate {
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
