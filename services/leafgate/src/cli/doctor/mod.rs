//! `leafgate doctor`: looks at a deployment from the outside and says what is wrong and how to mend it.

mod certificates;
mod configuration;
mod health;
mod nats;
mod nats_config;
mod registry;
mod report;
mod status;

use std::path::PathBuf;

use leafgate_identity::UnixMs;
use leafgate_runtime::Clock;
use reqwest::Client;

use self::certificates::CertificateFile;
use self::report::Report;
use super::Context;
use super::error::{CliError, Exit};
use super::registry::RegistryAddress;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryAddress,
    /// The configuration of a callout replica or a registry, which is checked with all that it
    /// names; may be repeated.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// A certificate with its chain: its end, and whether its revocation status can be had; may be
    /// repeated.
    #[arg(long, value_name = "FILE")]
    cert: Vec<PathBuf>,
    /// The health listener of a callout replica or a registry, such as http://callout-0:9090; may
    /// be repeated.
    #[arg(long, value_name = "URL")]
    health: Vec<String>,
    /// A nats-server, such as tls://leaf-1:4222; may be repeated.
    #[arg(long, value_name = "URL")]
    nats: Vec<String>,
    /// The configuration of a nats-server: whose certificates it takes, and how it checks that they
    /// are not revoked; may be repeated.
    #[arg(long, value_name = "FILE")]
    nats_config: Vec<PathBuf>,
    /// The file with the CA that certifies nats-servers [default: the root that the registry names].
    #[arg(long, value_name = "FILE")]
    nats_ca_file: Option<PathBuf>,
    /// Verify the audit trail too, which reads all of it.
    #[arg(long)]
    audit: bool,
}

/// What the checks have in common, and what the earlier ones found out for the later.
struct Doctor<'a> {
    context: &'a Context,
    now: UnixMs,
    http: Client,
    report: Report,
    /// Certificates whose revocation status is to be looked at.
    files: Vec<CertificateFile>,
    /// The registry's root, and the certificate of the issuer that signs devices (PEM).
    issuers: Option<Issuers>,
}

struct Issuers {
    root: String,
    devices: String,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let http = health::plain_http()?;
    let mut doctor = Doctor {
        context,
        now: context.clock.now(),
        http,
        report: Report::default(),
        files: Vec::new(),
        issuers: None,
    };
    for path in &arguments.config {
        doctor.check_configuration(path);
    }
    for path in &arguments.cert {
        doctor.check_certificate_file("certificate", path);
    }
    if let Some(registry) = arguments.registry.open_api(context)? {
        doctor.check_registry(&registry, arguments.audit).await;
    }
    for url in &arguments.health {
        doctor.check_health(url).await;
    }
    for path in &arguments.nats_config {
        doctor.check_nats_config(path);
    }
    doctor.check_revocation_status().await;
    for url in &arguments.nats {
        let ca_file = arguments.nats_ca_file.as_deref();
        doctor.check_nats_server(url, ca_file).await;
    }
    if doctor.report.is_empty() {
        return Err(CliError::usage("there is nothing to look at").hint(
            "name a registry with --url or LEAFGATE_URL, or give --config, --cert, --health or --nats",
        ));
    }
    let report = doctor.report;
    context
        .console
        .show(&report, |style| report.describe(style))?;
    Ok(match report.has_failures() {
        true => Exit::Wrong,
        false => Exit::Done,
    })
}
