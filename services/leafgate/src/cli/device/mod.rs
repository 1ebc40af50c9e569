//! `leafgate device`.

mod bulk;
mod change;
mod credentials;
mod edit;
mod explain;
mod export;
mod filter;
mod id;
mod import;
mod read;
mod sessions;
mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;

use leafgate_identity::TrustDomainName;
use leafgate_registrar::DeviceAction;
use leafgate_registry::RevocationReason;

pub(super) use self::credentials::{issue, sign};
use self::filter::{FilterArguments, ReadingArguments};
pub(super) use self::id::parse as parse_id;
use super::Context;
use super::error::{CliError, Exit};
use super::registry::{Part, RegistryAddress};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryAddress,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Register a device, and with --out issue its first certificate.
    Register(RegisterArguments),
    /// List devices.
    List(ListArguments),
    /// Show a device with its certificates.
    Show {
        /// The device.
        id: String,
    },
    /// Change what policies see of a device: its type, its site, its attributes.
    Edit(edit::Arguments),
    /// Let a pending device in.
    Approve {
        /// The device.
        id: String,
    },
    /// Lock a device out until it is enabled, and end its session.
    Disable {
        /// The device.
        id: String,
    },
    /// Let a disabled or quarantined device back in.
    Enable {
        /// The device.
        id: String,
    },
    /// Narrow a device to the quarantine grant of its policy.
    Quarantine {
        /// The device.
        id: String,
    },
    /// Lock a device out for good and revoke its certificates.
    Revoke {
        /// The device.
        id: String,
        /// Why, as revocation lists say it: unspecified, key-compromise, ca-compromise,
        /// affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn.
        #[arg(long, value_name = "REASON", default_value = "unspecified")]
        reason: RevocationReason,
    },
    /// Remove a device and revoke its certificates; its id can be registered again.
    Delete {
        /// The device.
        id: String,
    },
    /// Tell whether a device would be let in now, with which rights, or why not.
    Explain(explain::Arguments),
    /// List a device's live sessions.
    Sessions {
        /// The device.
        id: String,
    },
    /// End a device's live sessions; it may come back at once.
    Disconnect {
        /// The device.
        id: String,
    },
    /// Register many devices, each for itself; what is registered just so already is left as it is.
    Import(import::Arguments),
    /// Write many devices (NDJSON), one on each line, as `show --output json` has them.
    Export(export::Arguments),
    /// Approve, enable, disable, quarantine, revoke or delete many devices, once their number is confirmed.
    Bulk(bulk::Arguments),
    /// Issue a certificate for the key in a certificate request.
    Sign {
        /// The device.
        id: String,
        /// The certificate request (PEM); - reads standard input. Only its key is used.
        #[arg(long, value_name = "FILE")]
        csr: PathBuf,
        /// Where the certificate and its chain go; in a folder, to ID.crt. Without it they are
        /// printed.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Issue a further certificate with a new key; older ones count for another 24 hours.
    Issue {
        /// The device.
        id: String,
        /// The folder for ID.crt (with its chain), ID.key and ca.crt; older ones are replaced.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct RegisterArguments {
    /// Its name: one token of A-Z a-z 0-9 _ -, unique ignoring case.
    id: String,
    /// What policies match on.
    #[arg(long = "type", value_name = "TYPE", default_value = "device")]
    device_type: String,
    /// A free property; may be repeated.
    #[arg(long = "attr", value_name = "NAME=VALUE", value_parser = name_and_value)]
    attributes: Vec<(String, String)>,
    /// The only site at which it may log in.
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Its trust domain, where there are several.
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomainName>,
    /// Let it wait for `leafgate device approve`.
    #[arg(long, conflicts_with = "out")]
    pending: bool,
    /// The folder for ID.crt (with its chain), ID.key and ca.crt; without it no key is made.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    #[command(flatten)]
    filter: ReadingArguments,
    /// Show where each has a session; the servers are asked about one device after the other.
    #[arg(long)]
    sessions: bool,
    #[command(flatten)]
    part: Part,
}

/// The attributes that `--attr` names, each once.
pub(super) fn attributes(given: &[(String, String)]) -> Result<BTreeMap<String, String>, CliError> {
    let mut attributes = BTreeMap::new();
    for (name, value) in given {
        if attributes.insert(name.clone(), value.clone()).is_some() {
            return Err(CliError::usage(format!("--attr {name} is given twice")));
        }
    }
    Ok(attributes)
}

/// Reads `NAME=VALUE`.
pub(super) fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let registry = &*arguments.registry.open(context)?;
    let change = |id, action| change::run(registry, context, id, action);
    match &arguments.command {
        Command::Register(arguments) => credentials::register(registry, context, arguments).await,
        Command::List(arguments) => read::list(registry, context, arguments).await,
        Command::Show { id } => read::show(registry, context, id).await,
        Command::Edit(arguments) => edit::run(registry, context, arguments).await,
        Command::Approve { id } => change(id, DeviceAction::Approve).await,
        Command::Disable { id } => change(id, DeviceAction::Disable).await,
        Command::Enable { id } => change(id, DeviceAction::Enable).await,
        Command::Quarantine { id } => change(id, DeviceAction::Quarantine).await,
        Command::Revoke { id, reason } => change(id, DeviceAction::Revoke(*reason)).await,
        Command::Delete { id } => change(id, DeviceAction::Delete).await,
        Command::Explain(arguments) => explain::run(registry, context, arguments).await,
        Command::Sessions { id } => sessions::list(registry, context, id).await,
        Command::Disconnect { id } => sessions::disconnect(registry, context, id).await,
        Command::Import(arguments) => import::run(registry, context, arguments).await,
        Command::Export(arguments) => export::run(registry, context, arguments).await,
        Command::Bulk(arguments) => bulk::run(registry, context, arguments).await,
        Command::Sign { id, csr, out } => {
            credentials::sign(registry, context, id, csr, out.as_deref()).await
        }
        Command::Issue { id, out } => credentials::issue(registry, context, id, out).await,
    }
}
