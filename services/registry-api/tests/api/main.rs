//! The API as its clients see it: the real service on real sockets, with TLS, over SQLite.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod api_keys;
mod authentication;
mod bulk;
mod bulk_changes;
mod bulk_outage;
mod certificates;
mod checkpoints;
mod client_lists;
mod clients;
mod cluster;
mod described;
mod devices;
mod events;
mod explain;
mod faults;
mod hostile_csrs;
mod idempotency;
#[path = "../../src/oidc/tests/support/idp.rs"]
#[expect(dead_code, reason = "shared with the tests of access tokens")]
mod idp;
mod listener;
#[path = "../../src/oidc/tests/support/mint.rs"]
#[expect(dead_code, reason = "shared with the tests of access tokens")]
mod mint;
mod nats;
mod oidc;
mod renewal_over_nats;
mod requests;
mod revocations;
mod scope;
mod secrets;
mod services;
mod support;
