//! `leafgate service`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use leafgate_api::HeldCertificate;
use leafgate_identity::CnPattern;
use leafgate_pki::Profile;
use leafgate_registrar::{RegistrarError, Service};
use leafgate_runtime::Clock;
use secrecy::SecretString;
use serde::Serialize;

use super::Context;
use super::error::{CliError, Exit};
use super::files::{
    LOST_CERTIFICATE, draft_public, explain_files, make_folder, make_key, prepare_credentials,
    publish, read_text, write_credentials,
};
use super::moment::relative;
use super::registry::{Registry, RegistryAddress, ServiceCertificate};
use crate::local::{CredentialFiles, Draft};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryAddress,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Issue a certificate, for 30 days, to a nats-server or to a client of the devices' listener.
    Issue(IssueArguments),
}

#[derive(Debug, clap::Args)]
struct IssueArguments {
    /// Its name, and that of its files; a DNS name for a nats-server.
    name: String,
    /// What it is: nats-server, or nats-client such as a callout replica.
    #[arg(long, value_name = "PROFILE", hide_possible_values = true)]
    profile: ServiceProfile,
    /// A further DNS name of a nats-server, its first label may be *; may be repeated.
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// An address of a nats-server; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// A certificate request (PEM) with the key to certify, of which nothing else is used; -
    /// reads standard input. Without it a key is made.
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// The folder for NAME.crt (with its chain) and NAME.key; older ones are replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ServiceProfile {
    NatsServer,
    NatsClient,
}

#[derive(Serialize)]
struct IssuedView<'a> {
    #[serde(flatten)]
    certificate: HeldCertificate,
    files: Files<'a>,
}

#[derive(Serialize)]
struct Files<'a> {
    certificate: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a Path>,
}

/// Where the result goes.
enum Place {
    WithKey(CredentialFiles, SecretString),
    CertificateAlone(Draft),
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let Command::Issue(issue_arguments) = &arguments.command;
    let address = &arguments.registry;
    // A folder has one trust domain. What a registry API has, it says itself.
    let of_devices = match address.folder(context)? {
        Some(_) => vec![CnPattern::default()],
        None => Vec::new(),
    };
    let service = described(issue_arguments, &of_devices)?;
    issue(&*address.open(context)?, context, issue_arguments, &service).await
}

async fn issue(
    registry: &dyn Registry,
    context: &Context,
    arguments: &IssueArguments,
    service: &Service,
) -> Result<Exit, CliError> {
    let name = &arguments.name;
    let csr = arguments.csr.as_deref().map(read_text).transpose()?;
    make_folder(&arguments.out)?;
    let (place, csr) = match csr {
        None => {
            let files = prepare_credentials(&arguments.out.join(name))?;
            let (key, csr) = make_key(name)?;
            (Place::WithKey(files, key), csr)
        }
        Some(csr) => {
            let draft = draft_public(&arguments.out.join(format!("{name}.crt")))?;
            (Place::CertificateAlone(draft), csr)
        }
    };
    let ServiceCertificate {
        record,
        certificate: issued,
    } = registry.issue_to_service(service, &csr).await?;
    let (certificate, key) = match place {
        Place::WithKey(files, key) => {
            let paths = (files.certificate().to_owned(), Some(files.key().to_owned()));
            write_credentials(files, &issued.chain, &key)?;
            paths
        }
        Place::CertificateAlone(draft) => {
            let path = draft.path().to_owned();
            publish(draft, &issued.chain).map_err(|error| error.hint(LOST_CERTIFICATE))?;
            (path, None)
        }
    };
    let view = IssuedView {
        certificate: record,
        files: Files {
            certificate: &certificate,
            key: key.as_deref(),
        },
    };
    context.console.show(&view, |_| {
        let expires = relative(issued.not_after, context.clock.now());
        let certificate_is = format!("its certificate with the chain, expires {expires}");
        let mut files: Vec<(&Path, &str)> = vec![(&certificate, &certificate_is)];
        files.extend(key.as_deref().map(|key| (key, "its key, for it alone")));
        format!(
            "{name} has a new certificate, serial number {}\n{}",
            issued.serial,
            explain_files(&files)
        )
    })?;
    Ok(Exit::Done)
}

/// What the arguments say of the service. Its names are checked here already, for the files are
/// called after it.
fn described(arguments: &IssueArguments, of_devices: &[CnPattern]) -> Result<Service, CliError> {
    let IssueArguments { name, dns, ip, .. } = arguments;
    let (service, checked) = match arguments.profile {
        ServiceProfile::NatsServer => {
            if name.starts_with('*') {
                let error = "a nats-server's files can't be called after a wildcard";
                return Err(
                    CliError::usage(error).hint(format!("name it, and give --dns '{name}'"))
                );
            }
            let dns_names: Vec<String> = [name].into_iter().chain(dns).cloned().collect();
            let checked = Profile::nats_server(&dns_names, ip, of_devices);
            let ip_addresses = ip.clone();
            (
                Service::NatsServer {
                    dns_names,
                    ip_addresses,
                },
                checked,
            )
        }
        ServiceProfile::NatsClient => {
            if !(dns.is_empty() && ip.is_empty()) {
                let error = "a nats-client has a name and nothing else";
                return Err(CliError::usage(error).hint("--dns and --ip are for a nats-server"));
            }
            let checked = Profile::nats_client(name, of_devices);
            (Service::NatsClient { name: name.clone() }, checked)
        }
    };
    checked.map_err(RegistrarError::Name)?;
    Ok(service)
}
