//! The API as its clients see it: the real service on real sockets, with TLS, over SQLite.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod api_keys;
mod authentication;
mod bulk;
mod certificates;
mod checkpoints;
mod devices;
mod events;
mod explain;
mod faults;
mod hostile_csrs;
mod idempotency;
mod listener;
mod nats;
mod renewal_over_nats;
mod requests;
mod revocations;
mod scope;
mod secrets;
mod support;
