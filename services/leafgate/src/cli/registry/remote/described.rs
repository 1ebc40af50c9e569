//! What commands ask for, in the terms of the API.

use leafgate_api::{RequestServiceCertificate, ServiceProfile};
use leafgate_identity::{SerialNumber, SpkiHash};
use leafgate_registrar::Service;

use super::request::Request;
use crate::cli::registry::DeviceFilter;

/// A request for the devices that are meant.
pub(super) fn filtered(request: Request, filter: &DeviceFilter) -> Request {
    let attribute = filter.attribute.as_ref();
    request
        .query("state", filter.state)
        .query("device_type", filter.device_type.as_ref())
        .query(
            "attribute",
            attribute.map(|(name, value)| format!("{name}={value}")),
        )
        .query("site", filter.site.as_ref())
        .query("id_prefix", filter.id_prefix.as_ref())
        .query("common_name_prefix", filter.common_name_prefix.as_ref())
        .query("expires_by", filter.expires_by)
}

/// What paths and bodies call a part of the installation.
pub(super) fn requested(service: &Service, csr_pem: &str) -> (String, RequestServiceCertificate) {
    let (profile, name, dns_names, ip_addresses) = match service {
        Service::NatsServer {
            dns_names,
            ip_addresses,
        } => {
            let (name, further) = dns_names.split_first().map_or_else(
                || (String::new(), Vec::new()),
                |(name, further)| (name.clone(), further.to_vec()),
            );
            let profile = ServiceProfile::NatsServer;
            (profile, name, further, ip_addresses.clone())
        }
        Service::NatsClient { name } => {
            let profile = ServiceProfile::NatsClient;
            (profile, name.clone(), Vec::new(), Vec::new())
        }
    };
    let body = RequestServiceCertificate {
        profile,
        csr: csr_pem.to_owned(),
        dns_names,
        ip_addresses,
    };
    (name, body)
}

/// What paths call a certificate.
pub(super) fn name_of(serial: SerialNumber, issuer: Option<SpkiHash>) -> String {
    match issuer {
        Some(issuer) => format!("{issuer}:{serial}"),
        None => serial.to_string(),
    }
}
