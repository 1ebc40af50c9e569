use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a part of the installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceProfile {
    /// A nats-server: its own listener, its routes and leaf links.
    NatsServer,
    /// A client of the devices' listener, such as a replica of the callout.
    NatsClient,
}

/// What a certificate of a part of the installation is asked for with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestServiceCertificate {
    /// What it is.
    pub profile: ServiceProfile,
    /// A certificate request (PKCS #10, PEM). Of it only the public key is used.
    pub csr: String,
    /// Further DNS names of a nats-server, of which the first label may be `*`. The first of its names is that of the
    /// path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// Addresses of a nats-server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub ip_addresses: Vec<IpAddr>,
}
