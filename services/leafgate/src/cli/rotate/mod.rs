//! `leafgate ca rotate`.

mod files;
mod view;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use leafgate_api::Issuer;
use leafgate_pki::{CaDirectory, Intermediate};
use leafgate_registrar::IssuerState;

use self::view::show;
use super::Context;
use super::error::{CliError, Exit};
use super::registry::{Registry, RegistryAddress};
use super::root::RootArguments;

/// `leafgate ca rotate`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryAddress,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make the next intermediate, which signs nothing yet, and say who must know it first.
    Prepare {
        /// What it is to sign.
        kind: Kind,
        #[command(flatten)]
        root: RootArguments,
        /// Make one although the rotation before is not over.
        #[arg(long)]
        another: bool,
    },
    /// Show the issuers, their places in their rotation, and what is left of their certificates.
    Status,
    /// Let an issuer sign in the place of the present one; undone by activating that one again.
    Activate {
        /// The issuer: `devices` or `servers` for the only one that is
        /// prepared, or the SHA-256 of its public key, its first 8 digits or more.
        issuer: String,
        /// Go ahead although it was prepared less than a day ago: every listener and callout knows it.
        #[arg(long)]
        now: bool,
    },
    /// Let an issuer sign no certificate ever again. It signs revocation lists until its last
    /// certificate has ended.
    Retire {
        /// The issuer: `devices` or `servers` for the only one that is
        /// superseded, or the SHA-256 of its public key, its first 8 digits or more.
        issuer: String,
    },
    /// Remove a retired issuer from the CA's folder, with its key, once its last certificate has ended.
    Remove {
        /// The issuer: `devices` or `servers` for the only one that is
        /// retired, or the SHA-256 of its public key, its first 8 digits or more.
        issuer: String,
        /// The folder of the CA; that of the registry's folder if it is left out.
        #[arg(long, value_name = "DIR")]
        ca: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Devices, and the clients of their listener.
    Devices,
    /// The nats-servers.
    Servers,
}

impl From<Kind> for Intermediate {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Devices => Self::Devices,
            Kind::Servers => Self::Servers,
        }
    }
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let address = &arguments.registry;
    match &arguments.command {
        Command::Prepare {
            kind,
            root,
            another,
        } => {
            let folder = authorities(address, root.ca.as_deref(), context)?;
            files::prepare((*kind).into(), &folder, root, *another, context)?;
            if let (None, Some(registry)) = (&root.ca, address.folder(context)?) {
                // From here on the registry knows since when it is there.
                let registrar = registry.registrar(&context.environment).await?;
                registrar.note_issuers(&context.act()).await?;
            }
        }
        Command::Status => {
            let all = address.open(context)?.issuers().await?;
            show(&all, context, None)?;
        }
        Command::Activate { issuer, now } => {
            let registry = address.open(context)?;
            let found = find(&*registry, issuer, IssuerState::Prepared).await?;
            let activated = registry.activate_issuer(&found.issuer, *now).await?;
            show(&[activated], context, Some(view::ACTIVATED))?;
        }
        Command::Retire { issuer } => {
            let registry = address.open(context)?;
            let found = find(&*registry, issuer, IssuerState::Superseded).await?;
            let retired = registry.retire_issuer(&found.issuer).await?;
            let next = view::after_retirement(&retired);
            show(&[retired], context, Some(&next))?;
        }
        Command::Remove { issuer, ca } => {
            let folder = authorities(address, ca.as_deref(), context)?;
            let registry = address.open(context)?;
            let found = find(&*registry, issuer, IssuerState::Retired).await?;
            files::remove(&found, &folder, context)?;
        }
    }
    Ok(Exit::Done)
}

/// The files of the authorities, which no registry API changes.
fn authorities(
    address: &RegistryAddress,
    ca: Option<&Path>,
    context: &Context,
) -> Result<CaDirectory, CliError> {
    if let Some(folder) = ca {
        return CaDirectory::open(folder).map_err(|error| CliError::caused(Exit::NotFound, &error));
    }
    match address.folder(context)? {
        Some(registry) => registry.authorities(),
        None => {
            let error = "a registry API doesn't touch the files of its CA";
            Err(CliError::usage(error)
                .hint("name the folder of the CA with --ca, or the registry's with --dir"))
        }
    }
}

/// The issuer that begins with these digits; or, by the name of its kind, the only one of it in this state.
async fn find(registry: &dyn Registry, text: &str, state: IssuerState) -> Result<Issuer, CliError> {
    let kind = [Intermediate::Devices, Intermediate::Servers]
        .into_iter()
        .find(|kind| kind.as_str() == text);
    let is_hex = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if kind.is_none() && !(text.len() >= 8 && text.bytes().all(is_hex)) {
        let error = format!(
            "{text:?} is not an issuer: devices, servers, or 8 lower-case hexadecimal digits or more"
        );
        return Err(CliError::usage(error).hint(LISTED));
    }
    let matches = |it: &Issuer| match kind {
        Some(kind) => it.name == kind.as_str() && it.state == state.as_str(),
        None => it.issuer.to_string().starts_with(text),
    };
    let all = registry.issuers().await?.into_iter();
    let mut found = all.filter(matches);
    let what = match kind {
        Some(kind) => format!("{state} issuer of {kind}"),
        None => format!("issuer {text}"),
    };
    match (found.next(), found.next()) {
        (Some(found), None) => Ok(found),
        (None, _) => {
            let error = format!("there is no {what}");
            Err(CliError::new(Exit::NotFound, error).hint(LISTED))
        }
        (Some(_), Some(_)) => {
            let error = format!("there is more than one {what}");
            Err(CliError::usage(error).hint("name it by more of its digits"))
        }
    }
}

const LISTED: &str = "`leafgate ca rotate status` lists them";
