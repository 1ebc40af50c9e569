//! The root of a CA, whose key comes out of the safe; and `leafgate ca root-crl`.

use std::path::PathBuf;

use leafgate_identity::UnixMs;
use leafgate_pki::{CaDirectory, RenewRootListError, RootAuthority};
use leafgate_runtime::{Clock, read_secret};
use serde::Serialize;

use super::Context;
use super::error::{CliError, Exit};
use super::moment::exact;
use super::registry::RegistryArguments;

/// Where a CA and its root's key are.
#[derive(Debug, clap::Args)]
pub(super) struct RootArguments {
    /// The folder of the CA; that of the registry's folder if it is left out.
    #[arg(long, value_name = "DIR")]
    pub(super) ca: Option<PathBuf>,
    /// The file of the root's key, encrypted. Without it: root.key in the CA's folder, as it is
    /// there for development.
    #[arg(long, value_name = "FILE", requires = "passphrase_file")]
    root_key: Option<PathBuf>,
    /// The file that holds the passphrase of the root's key.
    #[arg(long, value_name = "FILE", requires = "root_key")]
    passphrase_file: Option<PathBuf>,
}

impl RootArguments {
    /// The root, by its key with its passphrase, or by the plain one that a CA for development has.
    pub(super) fn root(&self, ca: &CaDirectory) -> Result<RootAuthority, CliError> {
        let certificate = ca.root_certificate();
        let root = match (&self.root_key, &self.passphrase_file) {
            (Some(key), Some(passphrase)) => {
                RootAuthority::read_encrypted(&certificate, key, &read_secret(passphrase)?)
            }
            _ => {
                let key = ca.path().join("root.key");
                if !key.exists() {
                    let error = format!("{} holds no root key", ca.path().display());
                    return Err(CliError::usage(error)
                        .hint("take it out of the safe: --root-key FILE --passphrase-file FILE"));
                }
                RootAuthority::read_plain(&certificate, &key)
            }
        };
        root.map_err(|error| CliError::caused(Exit::Usage, &error))
    }
}

/// `leafgate ca root-crl`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    root: RootArguments,
}

#[derive(Serialize)]
struct RootListView {
    file: PathBuf,
    this_update: UnixMs,
    next_update: UnixMs,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let ca = match &arguments.root.ca {
        Some(folder) => {
            CaDirectory::open(folder).map_err(|error| CliError::caused(Exit::NotFound, &error))?
        }
        None => arguments.registry.authorities()?,
    };
    let root = arguments.root.root(&ca)?;
    let renewed = ca.renew_root_list(&root, context.clock.now());
    let list =
        renewed.map_err(|error: RenewRootListError| CliError::caused(Exit::Usage, &error))?;
    let view = RootListView {
        file: ca.root_crl(),
        this_update: list.this_update,
        next_update: list.next_update,
    };
    context.console.show(&view, |_| {
        format!(
            "{} is current until {}\n\
             Next: copy it to the CA folder of every registry that has one of its own; they serve it from then on",
            view.file.display(),
            exact(view.next_update)
        )
    })?;
    Ok(Exit::Done)
}
