use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::files::Draft;

/// Where a running local site can be reached: `endpoints.json`, there only while it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoints {
    /// Where devices connect.
    pub device_url: String,
    /// Where applications connect.
    pub hub_url: String,
    /// The seed of an application that reads telemetry.
    pub hub_telemetry_nkey_file: PathBuf,
    /// The seed of an application that sends commands.
    pub hub_command_nkey_file: PathBuf,
    /// The inbox prefix that a commanding client must take to get answers.
    pub hub_command_inbox_prefix: String,
    /// What verifies every server here.
    pub ca_file: PathBuf,
    /// The first callout's `/health`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_url: Option<String>,
    /// The registry API.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryEndpoints>,
    /// The processes.
    pub pids: Pids,
}

/// Where the registry API of a local site can be reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RegistryEndpoints {
    /// The API; `ca_file` verifies it.
    pub registry_url: String,
    /// An API key that may do everything.
    pub admin_token_file: PathBuf,
    /// The revocation list of the devices' issuer.
    pub crl_url: String,
    /// The OCSP responder.
    pub ocsp_url: String,
}

/// Process ids.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pids {
    /// The hub's server.
    pub hub: u32,
    /// The leaf cluster's servers.
    pub leaf: Vec<u32>,
    /// The callout replicas.
    pub callout: Vec<u32>,
    /// The registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<u32>,
}

impl Endpoints {
    /// Writes the file in one step: whoever finds it finds it whole.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Draft::public(path)
            .and_then(|draft| draft.publish(&text))
            .with_context(|| format!("can't write {}", path.display()))
    }

    /// Reads the file of a running site.
    ///
    /// # Errors
    /// There is none: nothing runs there.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| {
            format!(
                "no site runs here ({} is missing); start one with `leafgate dev`",
                path.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} can't be read", path.display()))
    }
}
