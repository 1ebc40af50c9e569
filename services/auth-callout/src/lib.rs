//! The auth callout: answers nats-server's question whether a device may come in, and ends its
//! sessions when it no longer may.

mod backlog;
mod claimant;
mod config;
mod connect;
mod decider;
mod decision_log;
mod grants;
mod live;
mod metrics;
mod peers;
mod random;
mod records;
mod refusal;
mod reply;
mod revocation;
mod servers;
mod service;
mod setup;
mod sweep;
mod versions;
mod worker;

pub use config::{
    Config, HttpConfig, LimitsConfig, LogConfig, NatsConfig, StoreConfig, SystemConfig,
    TrustDomainConfig,
};
pub use connect::ConnectError;
pub use service::run;
pub use setup::{SetUpError, Setup};
