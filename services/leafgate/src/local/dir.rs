use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Marks a folder as leafgate's own, so that nothing else is ever emptied.
const MARKER: &str = ".leafgate-local";

/// A folder with everything of a local site:
/// `{registry.db, ca/, nats/, keys/, callout/, logs/, endpoints.json}`.
#[derive(Debug, Clone)]
pub struct LocalDir {
    root: PathBuf,
}

impl LocalDir {
    /// The folder at `root`, made where there is none.
    ///
    /// # Errors
    /// A folder that holds something else, or can't be made.
    pub fn create(root: &Path) -> Result<Self, OpenLocalDirError> {
        let unusable = |source| OpenLocalDirError::Unusable {
            path: root.to_owned(),
            source,
        };
        fs::create_dir_all(root).map_err(unusable)?;
        // Children run elsewhere, and configurations name files by absolute paths.
        let root = fs::canonicalize(root).map_err(unusable)?;
        let dir = Self { root };
        if !dir.is_marked() {
            if holds_foreign_files(&dir.root).map_err(unusable)? {
                return Err(OpenLocalDirError::Foreign { path: dir.root });
            }
            fs::write(dir.marker(), "made by leafgate\n").map_err(unusable)?;
        }
        for folder in [dir.nats(), dir.keys(), dir.callout(), dir.logs()] {
            fs::create_dir_all(&folder).map_err(unusable)?;
        }
        Ok(dir)
    }

    /// The folder at `root`, as `leafgate dev` or `leafgate demo` left it.
    ///
    /// # Errors
    /// A folder that isn't one of leafgate's.
    pub fn open(root: &Path) -> Result<Self, OpenLocalDirError> {
        let dir = Self {
            root: root.to_owned(),
        };
        if dir.is_marked() {
            Ok(dir)
        } else {
            Err(OpenLocalDirError::Missing {
                path: root.to_owned(),
            })
        }
    }

    /// The same folder without its content.
    ///
    /// # Errors
    /// A folder that isn't one of leafgate's, or can't be emptied.
    pub fn create_empty(root: &Path) -> Result<Self, OpenLocalDirError> {
        let unusable = |source| OpenLocalDirError::Unusable {
            path: root.to_owned(),
            source,
        };
        if root.exists() {
            if !root.join(MARKER).is_file() && holds_foreign_files(root).map_err(unusable)? {
                return Err(OpenLocalDirError::Foreign {
                    path: root.to_owned(),
                });
            }
            fs::remove_dir_all(root).map_err(unusable)?;
        }
        Self::create(root)
    }

    fn is_marked(&self) -> bool {
        self.marker().is_file()
    }

    fn marker(&self) -> PathBuf {
        self.root.join(MARKER)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The registry.
    pub fn registry(&self) -> PathBuf {
        self.root.join("registry.db")
    }

    /// The certificate authority.
    pub fn ca(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// Configurations and certificates of the nats-servers.
    pub fn nats(&self) -> PathBuf {
        self.root.join("nats")
    }

    /// Seeds and keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Configurations of the callout replicas.
    pub fn callout(&self) -> PathBuf {
        self.root.join("callout")
    }

    /// What everything has to say.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Where everything can be reached while it runs.
    pub fn endpoints(&self) -> PathBuf {
        self.root.join("endpoints.json")
    }
}

/// Whether anything is in the folder but other folders of leafgate, such as the demo's.
fn holds_foreign_files(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if !entry?.path().join(MARKER).is_file() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Why a folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenLocalDirError {
    /// There is no local site.
    #[error(
        "{} holds no local site; start one with `leafgate dev --dir {}`, or name another with --dir",
        path.display(), path.display()
    )]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// It holds something that leafgate did not make.
    #[error(
        "{} holds files that leafgate did not make; name an empty or new folder with --dir",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("the folder {} can't be used", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_of_leafgate_is_emptied() {
        let scratch = tempfile::tempdir().unwrap();
        let foreign = scratch.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(
            LocalDir::create_empty(&foreign),
            Err(OpenLocalDirError::Foreign { .. })
        ));
        assert!(matches!(
            LocalDir::create(&foreign),
            Err(OpenLocalDirError::Foreign { .. })
        ));
        assert!(foreign.join("thesis.txt").is_file());

        let own = scratch.path().join("own");
        let dir = LocalDir::create(&own).unwrap();
        fs::write(dir.registry(), "old").unwrap();
        LocalDir::create_empty(&own).unwrap();
        assert!(!dir.registry().exists());
        assert!(LocalDir::open(&own).is_ok());
    }

    #[test]
    fn a_site_can_be_made_around_the_folder_of_the_demo() {
        let scratch = tempfile::tempdir().unwrap();
        LocalDir::create_empty(&scratch.path().join("site/demo")).unwrap();
        LocalDir::create(&scratch.path().join("site")).unwrap();
    }

    #[test]
    fn a_folder_without_a_site_is_not_opened() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(matches!(
            LocalDir::open(scratch.path()),
            Err(OpenLocalDirError::Missing { .. })
        ));
    }
}
