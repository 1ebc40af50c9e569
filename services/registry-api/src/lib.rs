//! The registry API: devices and certificates over REST, for operators, scripts and the command line.
//!
//! A request comes in through the [listener](listener), is seen through by [`observe`], shown to be somebody's by
//! [`authenticate`], and read strictly by [`extract`]. Each endpoint then checks its permission and asks the registrar,
//! which checks scope, version and idempotency key once more in the commit itself. Whatever goes wrong becomes a
//! [`Problem`](problem::Problem) in one place.

mod api_keys;
mod app;
mod audit;
mod authenticate;
mod bulk;
mod certificates;
mod checkpoints;
mod clients;
mod common_name;
mod config;
mod devices;
mod enrol;
mod enrolment_tokens;
mod est;
mod events;
mod extract;
mod feed;
mod guesses;
mod idempotency;
mod issuers;
mod list;
mod listener;
mod meta;
mod metrics;
mod names;
mod nats;
mod observe;
mod oidc;
mod openapi;
mod page_token;
mod problem;
mod random;
mod refusals;
mod renewal;
mod request_id;
mod router;
mod service;
mod services;
mod sessions;
mod setup;
pub mod status;

pub use certificates::issued_certificate;
pub use checkpoints::AuditConfig;
pub use clients::{ClientGrantConfig, ClientsConfig};
pub use config::{
    CaConfig, CertificatesConfig, Config, HealthConfig, HttpConfig, LimitsConfig, PolicyConfig,
    ProxiedConfig, StatusConfig, VaultCaConfig,
};
pub use issuers::{Authority, IssuerSource, issuer_of};
pub use nats::NatsConfig;
pub use oidc::{ClaimPath, OidcConfig, OidcGrantConfig, SigningAlgorithm};
pub use router::openapi_document;
pub use service::{Addresses, RegistryService};
pub use services::issued_to_service;
pub use setup::Setup;
