use std::path::PathBuf;
use std::sync::Arc;

use leafgate_pki::CaDirectory;
use leafgate_registrar::Registrar;
use leafgate_registry::DeviceStore;
use leafgate_runtime::Environment;

use crate::cli::error::{CliError, Exit};
use crate::local::{LocalDir, OpenLocalDirError, open_existing_registrar};
use crate::wiring::open_local_store_read_only;

/// The registry in a folder, for what no registry API does.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RegistryArguments {
    /// The folder of the registry.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LEAFGATE_DIR",
        default_value = ".leafgate"
    )]
    pub(crate) dir: PathBuf,
}

impl RegistryArguments {
    /// The folder, if there is a registry in it: none is made by the way, least of all in order
    /// to be found sound.
    pub(super) fn find(&self) -> Result<Option<LocalDir>, CliError> {
        let dir = match LocalDir::open(&self.dir) {
            Err(OpenLocalDirError::Missing { .. }) => return Ok(None),
            opened => opened?,
        };
        match dir.registry().try_exists() {
            Ok(false) => Ok(None),
            // Opening it tells better what is wrong.
            Ok(true) | Err(_) => Ok(Some(dir)),
        }
    }

    /// That there is none.
    pub(super) fn missing(&self) -> CliError {
        let dir = self.dir.display();
        CliError::new(Exit::Unreachable, format!("{dir} holds no registry")).hint(format!(
            "run `leafgate dev --dir {dir}` for one with servers to play with, or \
             `leafgate registry init --dir {dir}`; or name another folder with --dir"
        ))
    }

    pub(super) fn open_dir(&self) -> Result<LocalDir, CliError> {
        self.find()?.ok_or_else(|| self.missing())
    }

    /// The store, for reading.
    pub(crate) async fn store(&self) -> Result<Arc<dyn DeviceStore>, CliError> {
        let dir = self.open_dir()?;
        Ok(open_local_store_read_only(&dir.registry()).await?)
    }

    /// Who carries out changes.
    pub(crate) async fn registrar(&self, environment: &Environment) -> Result<Registrar, CliError> {
        Ok(open_existing_registrar(&self.open_dir()?, environment).await?)
    }

    /// The files of the authorities.
    pub(crate) fn authorities(&self) -> Result<CaDirectory, CliError> {
        let opened = CaDirectory::open(&self.open_dir()?.ca());
        opened.map_err(|error| CliError::caused(Exit::Unreachable, &error))
    }
}
