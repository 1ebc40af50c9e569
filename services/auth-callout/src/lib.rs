//! The auth callout: answers nats-server's question whether a device may come in, and ends its
//! sessions when it no longer may.

mod backlog;
mod claimant;
mod config;
mod decider;
mod decision_log;
mod grants;
mod intake;
mod live;
mod log_ins;
mod metrics;
mod peers;
mod random;
mod readiness;
mod records;
mod refusal;
mod reply;
mod revocation;
mod servers;
mod service;
mod setup;
mod signs_of_life;
mod sweep;
mod upkeep;
mod versions;
mod worker;
mod workers;

pub use config::{Config, HttpConfig, LimitsConfig, NatsConfig};
pub use service::run;
pub use setup::Setup;
