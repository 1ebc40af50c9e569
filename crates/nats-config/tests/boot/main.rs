//! Boots the rendered configurations on real nats-servers, with scratch certificates, and shows what they let
//! through and what they don't. The server is the pinned one of scripts/fetch-nats-server.sh; another version of it
//! is taken by `LEAFGATE_TEST_NATS_SERVER=2.14.6`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod callout;
mod client;
mod cluster;
mod flows;
mod pki;
mod registry;
mod rogue;
#[path = "../support/mod.rs"]
mod support;
mod trust;
mod world;
