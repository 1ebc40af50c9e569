//! The `leafgate` command line, run as people run it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod audit;
mod connect;
mod crash;
mod credentials;
mod demo;
mod deployment;
mod device;
mod help;
mod keys;
mod pki;
mod policy;
mod registry;
mod registry_api;
mod registry_service;
mod site;
mod support;
