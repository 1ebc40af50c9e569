//! The `leafgate` command line, run as people run it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod agent;
mod api;
mod audit;
mod bulk;
mod certificate;
mod connect;
mod crash;
mod credentials;
mod demo;
mod deployment;
mod device;
mod doctor;
mod events;
mod help;
mod keys;
mod pki;
mod policy;
mod registry;
mod registry_api;
mod registry_service;
mod rotate;
mod sessions;
mod site;
mod support;
