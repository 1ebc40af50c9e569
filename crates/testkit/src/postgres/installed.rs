use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

/// Where Debian's packages put the programs of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

const HOW_TO_INSTALL: &str = "these tests run a real PostgreSQL (15 or newer, built with ICU): \
    `apt-get install postgresql`, or put its initdb, postgres and psql on PATH";

/// The programs of PostgreSQL.
#[derive(Debug)]
pub(super) struct Installed {
    folder: PathBuf,
}

impl Installed {
    /// Those on PATH, or else the newest that Debian's packages brought.
    pub(super) fn find() -> Self {
        let is_complete = |folder: &Path| {
            ["initdb", "postgres", "psql"]
                .iter()
                .all(|program| folder.join(program).is_file())
        };
        let mut folders = path_folders().into_iter().chain(debian_folders());
        let folder = folders.find(|folder| is_complete(folder));
        Self {
            folder: folder.expect(HOW_TO_INSTALL),
        }
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "programs are found where the shell that started the tests would find them"
)]
fn path_folders() -> Vec<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// The newest version first.
fn debian_folders() -> Vec<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<u32> = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let folder = |version: u32| Path::new(DEBIAN).join(version.to_string()).join("bin");
    versions.into_iter().map(folder).collect()
}

/// Whom the server runs as where the tests run as root, which it refuses.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl ServerUser {
    /// None where the tests don't run as root: the server then runs as their own user.
    pub(super) fn find() -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let user = User::from_name("postgres").expect("a user database");
        let user = user.expect("as root these tests run PostgreSQL as the user postgres: add it");
        Some(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    }
}
