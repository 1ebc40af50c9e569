//! What tests share: the suites that every implementation of a port has to pass, and stand-ins that
//! behave as badly as a test needs.

pub mod checkers;
pub mod delaying_store;
pub mod issuer_conformance;
pub mod postgres;
pub mod scratch_ca;
pub mod store_conformance;
pub mod vault;

mod watchdog;
