use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use crate::error::RenderNatsConfigError;
use crate::hub::HubConfig;
use crate::input::Name;
use crate::leaf::LeafConfig;
use crate::node::Node;

/// The configuration of one server. A leaf node's holds seeds: it belongs into a file that its owner alone can read,
/// never on a terminal.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    name: String,
    text: SecretString,
}

/// The configurations of a hub and of leaf clusters that fit together.
#[derive(Clone, Debug)]
pub struct NatsConfigFiles(Vec<ConfigFile>);

/// A configuration could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the configuration {} can't be written", path.display())]
pub struct WriteNatsConfigError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ConfigFile {
    pub(crate) fn new(node: &Node, text: String) -> Self {
        Self {
            name: format!("{}.conf", node.server_name),
            text: text.into(),
        }
    }

    /// `<server name>.conf`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The configuration.
    #[must_use]
    pub fn text(&self) -> &SecretString {
        &self.text
    }

    /// Writes it into `folder`, readable and writable by its owner alone, in place of an older one as a whole.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_to(&self, folder: &Path) -> Result<PathBuf, WriteNatsConfigError> {
        let path = folder.join(&self.name);
        let unfinished = folder.join(format!(".{}.{}.new", self.name, std::process::id()));
        // What a crash left behind.
        let _ = fs::remove_file(&unfinished);
        let written = self
            .write(&unfinished)
            .and_then(|()| fs::rename(&unfinished, &path));
        match written {
            Ok(()) => Ok(path),
            Err(source) => {
                // Whatever of it exists holds seeds; if it can't be removed either, the first error says more.
                let _ = fs::remove_file(&unfinished);
                Err(WriteNatsConfigError { path, source })
            }
        }
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(self.text.expose_secret().as_bytes())?;
        file.sync_all()
    }
}

impl NatsConfigFiles {
    /// Renders every server of a hub and of the leaf clusters beside it.
    ///
    /// # Errors
    /// The inputs don't fit together.
    pub fn render(
        hub: Option<(&HubConfig, &[Node])>,
        leaves: &[(&LeafConfig, &[Node])],
    ) -> Result<Self, RenderNatsConfigError> {
        let hub_nodes = hub.map_or(&[][..], |(_, nodes)| nodes);
        let all_nodes = || leaves.iter().flat_map(|(_, nodes)| *nodes).chain(hub_nodes);
        all_different("servers", all_nodes().map(|node| &node.server_name))?;
        all_different("sites", leaves.iter().map(|(leaf, _)| &leaf.site))?;
        for (leaf, nodes) in leaves {
            different_clusters(hub_nodes, nodes)?;
            if let Some((hub, _)) = hub {
                fits(hub, leaf)?;
            }
        }

        let mut files = Vec::new();
        if let Some((hub, nodes)) = hub {
            for node in nodes {
                files.push(hub.render(node)?);
            }
        }
        for (leaf, nodes) in leaves {
            for node in *nodes {
                files.push(leaf.render(node)?);
            }
        }
        Ok(Self(files))
    }

    /// The files, the hub's first.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigFile> {
        self.0.iter()
    }

    /// Writes all of them into `folder`, which must exist, and returns their paths in the same order.
    ///
    /// # Errors
    /// A file can't be written; those before it are.
    pub fn write_to(&self, folder: &Path) -> Result<Vec<PathBuf>, WriteNatsConfigError> {
        self.0.iter().map(|file| file.write_to(folder)).collect()
    }
}

/// A server without cluster block takes its own name for the cluster's when it links to a hub.
fn different_clusters(hub: &[Node], leaf: &[Node]) -> Result<(), RenderNatsConfigError> {
    let same = leaf.iter().find(|leaf| {
        hub.iter()
            .any(|hub| hub.cluster_name() == leaf.cluster_name())
    });
    match same {
        None => Ok(()),
        Some(node) => Err(RenderNatsConfigError::SameClusterName {
            name: node.cluster_name().to_string(),
        }),
    }
}

/// A site without uplink has nothing to do with the hub.
fn fits(hub: &HubConfig, leaf: &LeafConfig) -> Result<(), RenderNatsConfigError> {
    let Some(uplink) = &leaf.uplink else {
        return Ok(());
    };
    let site = leaf.site.to_string();
    let [telemetry, commands] = leaf.link_keys(uplink)?;
    let known = hub.sites.iter().any(|known| {
        known.name == leaf.site && known.telemetry == telemetry && known.commands == commands
    });
    if !known {
        return Err(RenderNatsConfigError::SiteUnknown { site });
    }
    if hub.prefix != leaf.prefix {
        return Err(RenderNatsConfigError::PrefixDiffers { site });
    }
    Ok(())
}

pub(crate) fn all_different<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a Name>,
) -> Result<(), RenderNatsConfigError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(RenderNatsConfigError::NameTwice {
                what,
                name: name.to_string(),
            });
        }
    }
    Ok(())
}
