//! The registry in Vault, on a real Vault server.

#![allow(
    clippy::unwrap_used,
    reason = "tests, though much of them stands outside of test functions"
)]

mod checkers;
mod conformance;
mod crash;
mod foreign;
mod issuer;
mod log_in;
mod outages;
mod paging;
mod policies;
mod proxy;
mod requests;
mod support;
