//! `leafgate registry`, which makes one.

use std::path::{Path, PathBuf};

use leafgate_pki::RootKey;
use leafgate_registrar::start_epoch;
use leafgate_registry::Epoch;
use leafgate_runtime::read_secret;
use secrecy::SecretString;
use serde::Serialize;

use super::RegistryArguments;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::explain_files;
use crate::cli::{Context, first_key};
use crate::local::{LocalDir, make_registrar};
use crate::wiring::open_local_store;

/// `leafgate registry`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an empty registry with its certificate authority, and no servers.
    Init {
        /// The file for the root's key, encrypted; keep it away from every service. Without it
        /// the key stays in the folder, unencrypted: for development only.
        #[arg(long, value_name = "FILE", requires = "passphrase_file")]
        root_out: Option<PathBuf>,
        /// The file that holds the passphrase of the root's key.
        #[arg(long, value_name = "FILE", requires = "root_out")]
        passphrase_file: Option<PathBuf>,
        /// The configuration of a leafgate-registry: make the registry that it serves, not one in
        /// a folder.
        #[arg(
            long,
            value_name = "FILE",
            requires = "admin_key_out",
            conflicts_with = "root_out"
        )]
        config: Option<PathBuf>,
        /// The file for its first API key, which may do everything, for 90 days.
        #[arg(long, value_name = "FILE", requires = "config")]
        admin_key_out: Option<PathBuf>,
    },
    /// Say that the registry was restored from a backup: whoever followed it reads everything anew.
    NewEpoch {
        /// The configuration of a leafgate-registry: begin a new epoch of the registry that it serves, not of one in a folder.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Serialize)]
struct NewEpochView {
    epoch: String,
    seq: u64,
}

#[derive(Serialize)]
struct InitView<'a> {
    dir: &'a Path,
    registry: PathBuf,
    ca: PathBuf,
    /// None where there was a CA.
    root_key: Option<&'a Path>,
}

pub(in crate::cli) async fn run(
    arguments: &Arguments,
    context: &Context,
) -> Result<Exit, CliError> {
    let (root_out, passphrase_file, config, admin_key_out) = match &arguments.command {
        Command::Init {
            root_out,
            passphrase_file,
            config,
            admin_key_out,
        } => (root_out, passphrase_file, config, admin_key_out),
        Command::NewEpoch { config } => {
            return new_epoch(&arguments.registry, config.as_deref(), context).await;
        }
    };
    if let Some((config, out)) = config.as_deref().zip(admin_key_out.as_deref()) {
        return first_key::make(config, out, context).await;
    }
    let passphrase = passphrase_file.as_deref().map(read_secret).transpose()?;
    let root_key = root_out.as_deref().zip(passphrase.as_ref());
    init(&arguments.registry.dir, root_key, context).await
}

async fn new_epoch(
    registry: &RegistryArguments,
    config: Option<&Path>,
    context: &Context,
) -> Result<Exit, CliError> {
    let store = match config {
        Some(config) => first_key::open_store_of(config, context).await?,
        None => open_local_store(&registry.open_dir()?.registry()).await?,
    };
    let started = start_epoch(&*store, Epoch::generate(), &context.act()).await?;
    let view = NewEpochView {
        epoch: started.epoch.to_string(),
        seq: started.seq,
    };
    context.console.show(&view, |_| {
        format!("epoch {} begins with event {}", view.epoch, view.seq)
    })?;
    Ok(Exit::Done)
}

async fn init(
    path: &Path,
    root_key: Option<(&Path, &SecretString)>,
    context: &Context,
) -> Result<Exit, CliError> {
    let dir = LocalDir::create(path)?;
    let taken = |path: PathBuf, what: &str| {
        let error = format!("{} is {what} already, never overwritten", path.display());
        CliError::new(Exit::Conflict, error).hint("name another folder with --dir")
    };
    if dir.registry().exists() {
        return Err(taken(path.join("registry.db"), "a registry"));
    }
    let ca_is_kept = dir.ca().exists();
    let to_make = match root_key {
        Some(_) if ca_is_kept => return Err(taken(path.join("ca"), "a CA")),
        Some((out, passphrase)) => RootKey::Encrypted { out, passphrase },
        None => RootKey::DevPlain,
    };
    make_registrar(&dir, to_make, &context.act()).await?;
    let plain_root_key = path.join("ca/root.key");
    let view = InitView {
        dir: path,
        registry: path.join("registry.db"),
        ca: path.join("ca"),
        root_key: match root_key {
            Some((out, _)) => Some(out),
            None => (!ca_is_kept).then_some(&plain_root_key),
        },
    };
    context.console.show(&view, |_| {
        let about_ca = match view.root_key {
            Some(_) => "the certificate authority",
            None => "the certificate authority, which was there",
        };
        let about_root_key = match root_key {
            Some(_) => "the root's key: keep it and its passphrase offline, apart from each other",
            None => "the root's key, unencrypted: for development only",
        };
        let mut files: Vec<(&Path, &str)> = vec![
            (&view.registry, "the registry, empty"),
            (&view.ca, about_ca),
        ];
        files.extend(view.root_key.map(|key| (key, about_root_key)));
        let shown = path.display();
        format!(
            "{shown} is ready\n{}\n\
             Next: leafgate device register 0001 --out devices --dir {shown}",
            explain_files(&files)
        )
    })?;
    Ok(Exit::Done)
}
