//! The registry that a command works on.

use std::path::PathBuf;
use std::sync::Arc;

use leafgate_registrar::Registrar;
use leafgate_registry::{Act, DeviceStore};

use super::error::CliError;
use crate::local::{LocalDir, open_registrar};
use crate::wiring::open_local_store_read_only;

/// Which registry to work on.
#[derive(Debug, clap::Args)]
pub(crate) struct RegistryArguments {
    /// The folder of the local site whose registry this is about.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LEAFGATE_DIR",
        default_value = ".leafgate"
    )]
    dir: PathBuf,
}

impl RegistryArguments {
    fn open_dir(&self) -> Result<LocalDir, CliError> {
        Ok(LocalDir::open(&self.dir)?)
    }

    /// The store, for reading.
    pub(crate) async fn store(&self) -> Result<Arc<dyn DeviceStore>, CliError> {
        let dir = self.open_dir()?;
        Ok(open_local_store_read_only(&dir.registry()).await?)
    }

    /// Who carries out changes.
    pub(crate) async fn registrar(&self, act: &Act) -> Result<Registrar, CliError> {
        Ok(open_registrar(&self.open_dir()?, act).await?)
    }

    /// The file of the root certificate, which verifies every server.
    pub(crate) fn root_certificate(&self) -> Result<PathBuf, CliError> {
        Ok(self.open_dir()?.ca().join("root.crt"))
    }
}
