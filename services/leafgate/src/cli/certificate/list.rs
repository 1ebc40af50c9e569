//! `leafgate certificate list` and `search`.

use std::time::Duration;

use clap::ArgGroup;
use leafgate_identity::{Fingerprint, SerialNumber, SpkiHash};
use leafgate_registry::CertificateStatusKind;
use leafgate_runtime::Clock;

use super::{expiry_cell, holder_of, serial_number, status_cell};
use crate::cli::Context;
use crate::cli::device::parse_id;
use crate::cli::error::{CliError, Exit};
use crate::cli::moment::parse_duration;
use crate::cli::registry::{CertificateFilter, Part, Registry};
use crate::cli::table::{self, Table};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Of this device.
    #[arg(long, value_name = "ID", conflicts_with = "service")]
    device: Option<String>,
    /// Of this service.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Of this status: prepared, issued, superseded or revoked.
    #[arg(long, value_name = "STATUS")]
    status: Option<CertificateStatusKind>,
    /// Of the issuer with this public key, as `leafgate ca show` shows it.
    #[arg(long, value_name = "HEX")]
    issuer: Option<SpkiHash>,
    /// That end within this time, or have ended: 12h, 7d.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    expires_within: Option<Duration>,
    #[command(flatten)]
    part: Part,
}

#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("what").required(true).multiple(true),
    override_usage = "leafgate certificate search [OPTIONS]"
)]
pub(super) struct SearchArguments {
    /// The serial number, in hex as listed or with colons.
    #[arg(long, value_name = "HEX", value_parser = serial_number, group = "what")]
    serial: Option<SerialNumber>,
    /// The common name, that of a device or a service.
    #[arg(long, value_name = "NAME", group = "what")]
    common_name: Option<String>,
    /// The SHA-256 of the certificate, in hex or with colons as OpenSSL writes it.
    #[arg(long, value_name = "HEX", value_parser = fingerprint, group = "what")]
    fingerprint: Option<Fingerprint>,
    /// What the ids of its holders begin with, case included.
    #[arg(long, value_name = "TEXT", group = "what")]
    device_prefix: Option<String>,
    #[command(flatten)]
    part: Part,
}

/// Reads a fingerprint as leafgate or OpenSSL writes it.
fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    let hex = text.replace(':', "").to_ascii_lowercase();
    hex.parse()
        .map_err(|error: leafgate_identity::ParseDigestError| error.to_string())
}

pub(super) async fn list(
    registry: &dyn Registry,
    context: &Context,
    arguments: &Arguments,
) -> Result<Exit, CliError> {
    let device = arguments.device.as_deref().map(parse_id).transpose()?;
    let now = context.clock.now();
    let filter = CertificateFilter {
        device,
        service: arguments.service.clone(),
        status: arguments.status,
        issuer: arguments.issuer,
        expires_by: arguments
            .expires_within
            .map(|time| now.saturating_add(time)),
        ..CertificateFilter::default()
    };
    show(registry, context, &filter, &arguments.part).await
}

pub(super) async fn search(
    registry: &dyn Registry,
    context: &Context,
    arguments: &SearchArguments,
) -> Result<Exit, CliError> {
    let filter = CertificateFilter {
        serial: arguments.serial,
        common_name: arguments.common_name.clone(),
        fingerprint: arguments.fingerprint,
        device_prefix: arguments.device_prefix.clone(),
        ..CertificateFilter::default()
    };
    show(registry, context, &filter, &arguments.part).await
}

async fn show(
    registry: &dyn Registry,
    context: &Context,
    filter: &CertificateFilter,
    part: &Part,
) -> Result<Exit, CliError> {
    let list = registry.certificates(filter, part).await?;
    context.console.show(&list, |style| {
        let now = context.clock.now();
        let mut table = Table::new(&["CERTIFICATE", "HOLDER", "PROFILE", "STATUS", "EXPIRES"]);
        for held in &list.certificates {
            let certificate = &held.certificate;
            table.push(vec![
                certificate.serial.to_string().into(),
                holder_of(held).into(),
                certificate.profile.as_str().into(),
                status_cell(certificate, now),
                expiry_cell(certificate.not_after, now),
            ]);
        }
        let next = list.next_page_token.as_deref();
        table::page(&table, "certificate", next, style)
    })?;
    Ok(Exit::Done)
}
