use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Marks a folder as leafgate's own. Whoever runs a site in it holds a lock on this file.
const MARKER: &str = ".leafgate-local";

/// Marks a folder whose content nobody wants to keep: no other is ever emptied.
const DEMO_MARKER: &str = ".leafgate-demo";

const MADE: &str = "made by leafgate\n";

/// A folder with everything of a local site:
/// `{registry.db, ca/, nats/, keys/, callout/, registry.toml, logs/, endpoints.json}`.
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
            fs::write(dir.marker(), MADE).map_err(unusable)?;
        }
        for folder in [dir.nats(), dir.keys(), dir.callout(), dir.logs()] {
            fs::create_dir_all(&folder).map_err(unusable)?;
        }
        Ok(dir)
    }

    /// The folder at `root`, as [`create`](Self::create) left it.
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

    /// The folder at `root` for what lives only until it is made anew this way.
    ///
    /// # Errors
    /// A folder with content that did not come into being this way, or in which a site runs, or
    /// that can't be emptied.
    pub fn create_empty(root: &Path) -> Result<Self, OpenLocalDirError> {
        let unusable = |source| OpenLocalDirError::Unusable {
            path: root.to_owned(),
            source,
        };
        let dir = Self {
            root: root.to_owned(),
        };
        if root.exists() {
            let path = || root.to_owned();
            let is_empty = fs::read_dir(root).map_err(unusable)?.next().is_none();
            let _lock = match (is_empty || dir.is_for_demo(), dir.is_marked()) {
                (true, false) => None,
                (true, true) => Some(dir.lock()?),
                (false, true) => return Err(OpenLocalDirError::Kept { path: path() }),
                (false, false) => return Err(OpenLocalDirError::Foreign { path: path() }),
            };
            fs::remove_dir_all(root).map_err(unusable)?;
        }
        fs::create_dir_all(root).map_err(unusable)?;
        for marker in [DEMO_MARKER, MARKER] {
            fs::write(root.join(marker), MADE).map_err(unusable)?;
        }
        Self::create(root)
    }

    /// Keeps others from running a site here, until the file is closed or this process ends.
    ///
    /// # Errors
    /// A site runs here.
    pub(super) fn lock(&self) -> Result<File, OpenLocalDirError> {
        let unusable = |source| OpenLocalDirError::Unusable {
            path: self.root.clone(),
            source,
        };
        let marker = File::open(self.marker()).map_err(unusable)?;
        match marker.try_lock() {
            Ok(()) => Ok(marker),
            Err(TryLockError::WouldBlock) => Err(OpenLocalDirError::InUse {
                path: self.root.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    fn is_for_demo(&self) -> bool {
        self.root.join(DEMO_MARKER).is_file()
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

    /// The configuration of the registry API.
    pub fn registry_config(&self) -> PathBuf {
        self.root.join("registry.toml")
    }

    /// The key with which everything may be asked of the registry API.
    pub fn admin_token(&self) -> PathBuf {
        self.keys().join("admin.token")
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
    /// It was to be emptied, and holds what was made to be kept.
    #[error(
        "{} holds a registry that is not the demo's; name another folder with --dir",
        path.display()
    )]
    Kept {
        /// The folder.
        path: PathBuf,
    },
    /// A site runs there.
    #[error(
        "a site is running in {}; end that one first, or name another folder with --dir",
        path.display()
    )]
    InUse {
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
    fn only_a_folder_of_the_demo_is_emptied() {
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

        let kept = LocalDir::create(&scratch.path().join("sites/kept")).unwrap();
        fs::write(kept.registry(), "all devices").unwrap();
        assert!(matches!(
            LocalDir::create_empty(kept.root()),
            Err(OpenLocalDirError::Kept { .. })
        ));
        assert!(matches!(
            LocalDir::create_empty(&scratch.path().join("sites")),
            Err(OpenLocalDirError::Foreign { .. })
        ));
        assert!(kept.registry().is_file());

        let own = scratch.path().join("own");
        fs::create_dir(&own).unwrap();
        let dir = LocalDir::create_empty(&own).unwrap();
        fs::write(dir.registry(), "old").unwrap();
        LocalDir::create_empty(&own).unwrap();
        assert!(!dir.registry().exists());
        assert!(LocalDir::open(&own).is_ok());
    }

    #[test]
    fn a_folder_in_which_a_site_runs_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = LocalDir::create_empty(&scratch.path().join("demo")).unwrap();
        fs::write(dir.registry(), "in use").unwrap();
        let lock = dir.lock().unwrap();
        let in_use = |error| matches!(error, OpenLocalDirError::InUse { .. });
        assert!(in_use(dir.lock().unwrap_err()));
        assert!(in_use(LocalDir::create_empty(dir.root()).unwrap_err()));
        assert!(dir.registry().is_file());
        drop(lock);
        LocalDir::create_empty(dir.root()).unwrap();
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
