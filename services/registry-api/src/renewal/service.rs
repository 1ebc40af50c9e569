use std::net::IpAddr;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use leafgate_identity::{Fingerprint, SerialNumber};
use leafgate_registrar::{RegistrarError, RenewalRefusal, Service};
use leafgate_registry::{Act, Actor};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::app::App;
use crate::enrol::told_to_devices;
use crate::observe::answered_to;
use crate::problem::Problem;
use crate::services::issued_to_service;

/// Somebody who has shown that they hold the key of a certificate that names a part of the installation. Whether it was
/// issued here is not known yet: the registry knows each of its certificates by its hash, and so the names in it.
pub(super) struct Named {
    service: Service,
    serial: SerialNumber,
    fingerprint: Fingerprint,
    actor: Actor,
}

/// The same, with what is said if the certificate was not issued here.
pub(super) struct PresentedService {
    named: Named,
    refusal: Problem,
}

impl PresentedService {
    /// What a certificate says of itself; `None` if no part of the installation has one like it.
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Named> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut names = certificate.subject().iter_common_name();
        let (name, None) = (names.next()?.as_str().ok()?, names.next()) else {
            return None;
        };
        let alternative = certificate.subject_alternative_name().ok()?;
        let service = match alternative {
            Some(extension) => server(&extension.value.general_names)?,
            None => Service::NatsClient {
                name: name.to_owned(),
            },
        };
        Some(Named {
            service,
            serial: SerialNumber::from_be_bytes(certificate.raw_serial()).ok()?,
            fingerprint: Fingerprint::of_certificate_der(der),
            actor: Actor::parse(&format!("service:{name}")).ok()?,
        })
    }

    /// Issues the next certificate.
    pub(super) async fn renew(self, app: &App, csr_pem: &str) -> Response {
        let Self { named, refusal } = self;
        let act = Act {
            actor: named.actor.clone(),
            at: app.clock.now(),
        };
        let renewed = app.registrar.renew_service(
            &named.service,
            named.serial,
            &named.fingerprint,
            csr_pem,
            &act,
        );
        match renewed.await {
            Ok(credentials) => {
                let renewed = Json(issued_to_service(&credentials));
                let answer = (StatusCode::CREATED, renewed).into_response();
                answered_to(&named.actor, Ok(answer))
            }
            // Whoever is not known is told what a device would be, and is nobody in the log.
            Err(
                RegistrarError::Name(_)
                | RegistrarError::ServiceRenewalRefused {
                    why: RenewalRefusal::Unknown,
                    ..
                },
            ) => refusal.into_response(),
            Err(error) => answered_to(&named.actor, Err(told_to_devices(error))),
        }
    }
}

impl Named {
    pub(super) fn unless_known(self, refusal: Problem) -> PresentedService {
        PresentedService {
            named: self,
            refusal,
        }
    }
}

fn server(names: &[GeneralName<'_>]) -> Option<Service> {
    let mut dns_names = Vec::new();
    let mut ip_addresses = Vec::new();
    for name in names {
        match name {
            GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
            GeneralName::IPAddress(octets) => ip_addresses.push(address(octets)?),
            _ => return None,
        }
    }
    Some(Service::NatsServer {
        dns_names,
        ip_addresses,
    })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}
