//! End to end: real nats-servers, real certificates, real processes.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests wait by the machine's clock and fail by panic"
)]

mod agent;
mod compose;
mod documents;
mod drain;
mod frozen;
mod grants;
mod isolation;
mod life;
mod load;
mod log_in;
mod ocsp;
mod outages;
mod races;
mod refusals;
mod registry_faults;
mod registry_over_nats;
mod replicas;
mod repository;
mod rotation;
mod scripts;
mod support;
mod vault;
