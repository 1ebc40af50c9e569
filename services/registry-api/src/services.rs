//! `/v1/services`

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leafgate_access::Permission;
use leafgate_api::{IssuedCertificate, RequestServiceCertificate, ServiceProfile};
use leafgate_registrar::{CertificateKey, Service, ServiceCredentials, renew_after};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::{Command, Named};
use crate::idempotency::{Outcome, not_to_be_stored};
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default().routes(routes!(issue_service_certificate))
}

/// Issue a certificate to a service
///
/// The first one of a nats-server, or of a client of the devices' listener such as a callout replica; later ones it asks
/// for itself, at `/v1/renew`. It is for the key of a certificate request, of which nothing else is used. Older ones of
/// the same name and profile are superseded. Only who reaches everything can ask for it.
#[utoipa::path(
    post,
    path = "/v1/services/{name}/certificates",
    tag = "certificates",
    params(("name" = String, Path, description = "Its name; that of a nats-server is a DNS name, and none is one that a device could have")),
    request_body = RequestServiceCertificate,
    responses(
        (status = CREATED, description = "A new certificate", body = IssuedCertificate),
        (status = OK, description = "The certificate that the same request was answered with", body = IssuedCertificate),
    ),
)]
async fn issue_service_certificate(
    State(app): State<Arc<App>>,
    Named(name): Named<String>,
    command: Command<RequestServiceCertificate>,
) -> Result<Response, Problem> {
    let command = command.unconditional()?;
    let permission = Permission::ManageIssuers;
    command.caller.principal.check_everywhere(permission)?;
    let service = &described(name, &command.body)?;
    let csr = &command.body.csr;
    let outcome = command
        .carry_out(&app, permission, async |acting| {
            let key = CertificateKey::Csr(csr);
            let registrar = acting.registrar;
            registrar
                .issue_service_certificate(service, key, &acting.act)
                .await
        })
        .await?;
    let (status, credentials) = match outcome {
        Outcome::Done(credentials) => (StatusCode::CREATED, credentials),
        Outcome::Repeated(recorded) => {
            let acting = command.acting_again(&app, permission);
            let registrar = acting.registrar;
            let made = registrar.find_service_certificate(service, csr, recorded.at, acting.act.at);
            match made.await? {
                Some(credentials) => (StatusCode::OK, credentials),
                // The process died before it was signed.
                None => {
                    let key = CertificateKey::Csr(csr);
                    let made = registrar.issue_service_certificate(service, key, &acting.act);
                    (StatusCode::CREATED, made.await?)
                }
            }
        }
    };
    Ok(not_to_be_stored(status, issued_to_service(&credentials)))
}

fn described(name: String, request: &RequestServiceCertificate) -> Result<Service, Problem> {
    let RequestServiceCertificate {
        profile,
        dns_names,
        ip_addresses,
        ..
    } = request;
    match profile {
        ServiceProfile::NatsServer => Ok(Service::NatsServer {
            dns_names: [name].into_iter().chain(dns_names.clone()).collect(),
            ip_addresses: ip_addresses.clone(),
        }),
        ServiceProfile::NatsClient if dns_names.is_empty() && ip_addresses.is_empty() => {
            Ok(Service::NatsClient { name })
        }
        ServiceProfile::NatsClient => Err(Problem::malformed(
            "a nats-client has a name and nothing else: leave out dns_names and ip_addresses",
        )),
    }
}

/// What is told of a certificate that was issued to a part of the installation.
pub fn issued_to_service(credentials: &ServiceCredentials) -> IssuedCertificate {
    let issued = &credentials.issued;
    IssuedCertificate {
        certificate: issued.certificate_pem.clone(),
        chain: issued.chain_pem.clone(),
        serial: issued.serial,
        fingerprint: issued.fingerprint,
        not_after: issued.validity.not_after,
        renew_after: renew_after(issued.validity, &issued.fingerprint),
        private_key: None,
    }
}
