use std::path::{Path, PathBuf};

use leafgate_runtime::Environment;

use super::local::LocalRegistry;
use super::remote::RemoteRegistry;
use super::{Registry, RegistryArguments};
use crate::cli::Context;
use crate::cli::error::CliError;

const DEFAULT_DIR: &str = ".leafgate";

/// Which registry to work on.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Registry")]
pub(crate) struct RegistryAddress {
    /// The folder of a registry [env: LEAFGATE_DIR] [default: .leafgate].
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A running registry API in place of a folder, such as https://registry:8443
    /// [env: LEAFGATE_URL].
    #[arg(long, global = true, value_name = "URL", conflicts_with = "dir")]
    url: Option<String>,
    /// The file with the API key for it [env: LEAFGATE_TOKEN_FILE].
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "dir")]
    token_file: Option<PathBuf>,
    /// The file with the CA that certifies it [env: LEAFGATE_CA_FILE] [default: those that the
    /// system trusts].
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "dir")]
    ca_file: Option<PathBuf>,
}

/// What the arguments and the environment come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Folder(PathBuf),
    Api {
        url: String,
        token_file: Option<PathBuf>,
        ca_file: Option<PathBuf>,
    },
}

impl RegistryAddress {
    /// The registry. Nothing is asked of it yet.
    pub(crate) fn open(&self, context: &Context) -> Result<Box<dyn Registry>, CliError> {
        match self.place(&context.environment)? {
            Place::Folder(dir) => {
                let arguments = RegistryArguments { dir };
                Ok(Box::new(LocalRegistry::new(arguments, context)))
            }
            Place::Api {
                url,
                token_file,
                ca_file,
            } => Ok(Box::new(remote(&url, token_file, ca_file.as_deref())?)),
        }
    }

    /// The running registry API that is named, if one is.
    pub(crate) fn open_api(&self, context: &Context) -> Result<Option<RemoteRegistry>, CliError> {
        match self.place(&context.environment)? {
            Place::Folder(_) => Ok(None),
            Place::Api {
                url,
                token_file,
                ca_file,
            } => remote(&url, token_file, ca_file.as_deref()).map(Some),
        }
    }

    /// The folder, where no running registry API is named.
    pub(crate) fn folder(&self, context: &Context) -> Result<Option<RegistryArguments>, CliError> {
        match self.place(&context.environment)? {
            Place::Folder(dir) => Ok(Some(RegistryArguments { dir })),
            Place::Api { .. } => Ok(None),
        }
    }

    /// What the command line says outweighs the environment, whichever of the two kinds it names.
    pub(super) fn place(&self, environment: &Environment) -> Result<Place, CliError> {
        let of = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let path =
            |given: &Option<PathBuf>, name| given.clone().or_else(|| of(name).map(PathBuf::from));
        if let Some(dir) = &self.dir {
            return Ok(Place::Folder(dir.clone()));
        }
        let url = match (&self.url, of("LEAFGATE_URL"), of("LEAFGATE_DIR")) {
            (Some(url), ..) => url,
            (None, Some(url), None) => url,
            (None, None, dir) => {
                return self.default_folder(Path::new(dir.map_or(DEFAULT_DIR, String::as_str)));
            }
            (None, Some(_), Some(_)) => {
                let error = "LEAFGATE_URL and LEAFGATE_DIR both name a registry";
                return Err(CliError::usage(error).hint("unset one, or give --url or --dir"));
            }
        };
        Ok(Place::Api {
            url: url.clone(),
            token_file: path(&self.token_file, "LEAFGATE_TOKEN_FILE"),
            ca_file: path(&self.ca_file, "LEAFGATE_CA_FILE"),
        })
    }

    fn default_folder(&self, dir: &Path) -> Result<Place, CliError> {
        for (given, name) in [
            (&self.token_file, "--token-file"),
            (&self.ca_file, "--ca-file"),
        ] {
            if given.is_some() {
                let error = format!("{name} is for a registry API, and none is named");
                return Err(CliError::usage(error).hint("name it with --url, or LEAFGATE_URL"));
            }
        }
        Ok(Place::Folder(dir.to_owned()))
    }
}

fn remote(
    url: &str,
    token_file: Option<PathBuf>,
    ca_file: Option<&Path>,
) -> Result<RemoteRegistry, CliError> {
    let token_file = token_file.ok_or_else(|| {
        let error = format!("no API key is named for the registry at {url}");
        CliError::usage(error)
            .hint("name the file that holds it with --token-file, or LEAFGATE_TOKEN_FILE")
    })?;
    RemoteRegistry::open(url, ca_file, &token_file)
}
