use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// A nats-server program whose version is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsServerBinary {
    path: PathBuf,
    version: ServerVersion,
}

/// A nats-server version. A pre-release (`2.15.0-RC.1`) comes before its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    numbers: [u32; 3],
    release: bool,
}

/// Why no usable nats-server was found.
#[derive(Debug, thiserror::Error)]
pub enum FindNatsServerError {
    /// Neither on PATH nor fetched.
    #[error("no nats-server {minimum} or newer: {on_path}, and none is at {}\n  fetch one: scripts/fetch-nats-server.sh", fetched.display())]
    None {
        /// The oldest that would do.
        minimum: ServerVersion,
        /// What is on PATH.
        on_path: String,
        /// Where a fetched one would be.
        fetched: PathBuf,
    },
    /// The pinned version was not fetched.
    #[error("nats-server {version} is not at {}\n  fetch it: scripts/fetch-nats-server.sh {version}", path.display())]
    NotFetched {
        /// Which.
        version: ServerVersion,
        /// Where it would be.
        path: PathBuf,
    },
    /// A fetched program is another version than its folder says.
    #[error("{} is nats-server {found}, not {expected}\n  delete it and run scripts/fetch-nats-server.sh {expected}", path.display())]
    OtherVersion {
        /// The program.
        path: PathBuf,
        /// What it says.
        found: ServerVersion,
        /// What its folder says.
        expected: ServerVersion,
    },
    /// A program can't be run.
    #[error("{} can't be run", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program does not say its version as nats-server does.
    #[error("{} --version does not answer as nats-server does", path.display())]
    Version {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: ParseServerVersionError,
    },
}

/// The text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no version such as 2.15.1")]
pub struct ParseServerVersionError {
    text: String,
}

impl NatsServerBinary {
    /// The version that `leafgate dev`, `leafgate demo` and tests use unless told otherwise.
    pub const DEFAULT_VERSION: ServerVersion = ServerVersion::release(2, 15, 1);
    /// The oldest version that people's own servers may have: older ones miss security fixes.
    pub const MINIMUM_VERSION: ServerVersion = ServerVersion::release(2, 14, 3);

    /// The nats-server of `search_path` (the value of `PATH`) when it is new enough, else the default one that
    /// scripts/fetch-nats-server.sh put under `root`/.tools. Runs the candidates with `--version`.
    ///
    /// # Errors
    /// None is new enough, or a candidate can't be run.
    pub fn find_for_people(
        search_path: Option<&OsStr>,
        root: &Path,
    ) -> Result<Self, FindNatsServerError> {
        let on_path = match search(search_path) {
            None => "PATH has none".to_owned(),
            Some(path) => {
                let found = Self::inspect(&path)?;
                if found.version >= Self::MINIMUM_VERSION {
                    return Ok(found);
                }
                format!("PATH has {} at {}", found.version, path.display())
            }
        };
        Self::pinned(Self::DEFAULT_VERSION, root).map_err(|error| match error {
            FindNatsServerError::NotFetched { path, .. } => FindNatsServerError::None {
                minimum: Self::MINIMUM_VERSION,
                on_path,
                fetched: path,
            },
            other => other,
        })
    }

    /// The very `version` that scripts/fetch-nats-server.sh put under `root`/.tools.
    ///
    /// # Errors
    /// It was not fetched, can't be run, or is another version.
    pub fn pinned(version: ServerVersion, root: &Path) -> Result<Self, FindNatsServerError> {
        let path = root
            .join(".tools/nats-server")
            .join(version.to_string())
            .join("nats-server");
        if !path.is_file() {
            return Err(FindNatsServerError::NotFetched { version, path });
        }
        let binary = Self::inspect(&path)?;
        if binary.version != version {
            return Err(FindNatsServerError::OtherVersion {
                path,
                found: binary.version,
                expected: version,
            });
        }
        Ok(binary)
    }

    /// The program.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> ServerVersion {
        self.version
    }

    fn inspect(path: &Path) -> Result<Self, FindNatsServerError> {
        let output = Command::new(path)
            .arg("--version")
            .output()
            .map_err(|source| FindNatsServerError::Run {
                path: path.to_owned(),
                source,
            })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .trim()
            .strip_prefix("nats-server: ")
            .unwrap_or(&text)
            .parse()
            .map_err(|source| FindNatsServerError::Version {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            version,
        })
    }
}

fn search(search_path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(search_path?)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("nats-server"))
        .find(|candidate| candidate.is_file())
}

impl ServerVersion {
    /// A released version.
    #[must_use]
    pub const fn release(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            numbers: [major, minor, patch],
            release: true,
        }
    }
}

impl FromStr for ServerVersion {
    type Err = ParseServerVersionError;

    /// Parses `2.15.1`, `v2.15.1` and pre-releases such as `2.15.0-RC.1`, whose names are not kept.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseServerVersionError {
            text: text.chars().take(40).collect(),
        };
        let text = text.strip_prefix('v').unwrap_or(text);
        let (numbers, release) = match text.split_once('-') {
            Some((numbers, _)) => (numbers, false),
            None => (text, true),
        };
        let numbers: Vec<u32> = numbers
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| error())?;
        let numbers = numbers.try_into().map_err(|_| error())?;
        Ok(Self { numbers, release })
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        let suffix = if self.release { "" } else { "-pre" };
        write!(f, "{major}.{minor}.{patch}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Mutex;

    /// A program just written can't be run while another thread's fork still holds it open for writing (ETXTBSY).
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// A folder with a program that says it is nats-server `version`.
    fn program(folder: &Path, version: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join("nats-server");
        fs::write(&path, format!("#!/bin/sh\necho nats-server: v{version}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn fetched(root: &Path, version: &str) -> PathBuf {
        let folder = root
            .join(".tools/nats-server")
            .join(NatsServerBinary::DEFAULT_VERSION.to_string());
        program(&folder, version)
    }

    #[test]
    fn versions_are_ordered_by_number_and_releases_follow_their_candidates() {
        let versions = ["2.9.10", "2.14.3-RC.1", "v2.14.3", "2.14.10", "2.15.0"];
        let parsed: Vec<ServerVersion> = versions.iter().map(|v| v.parse().unwrap()).collect();
        assert!(parsed.is_sorted_by(|a, b| a < b));
        for text in ["", "2.14", "2.14.3.1", "2.x.1", "nats-server: v2.14.3"] {
            assert!(text.parse::<ServerVersion>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn path_is_preferred_when_new_enough() {
        let _alone = ONE_AT_A_TIME.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let own = program(&folder.path().join("bin"), "2.14.3");
        let fetched = fetched(folder.path(), "2.15.1");
        let find = || {
            let path = own.parent().unwrap().as_os_str();
            NatsServerBinary::find_for_people(Some(path), folder.path())
        };
        assert_eq!(find().unwrap().path(), own);
        program(&folder.path().join("bin"), "2.14.2");
        assert_eq!(find().unwrap().path(), fetched);

        fs::remove_file(&fetched).unwrap();
        let message = find().unwrap_err().to_string();
        assert!(message.contains("PATH has 2.14.2"), "{message}");
        assert!(
            message.contains("scripts/fetch-nats-server.sh"),
            "{message}"
        );
    }

    #[test]
    fn a_pinned_version_is_that_version() {
        let _alone = ONE_AT_A_TIME.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pinned = || NatsServerBinary::pinned(NatsServerBinary::DEFAULT_VERSION, folder.path());
        let message = pinned().unwrap_err().to_string();
        assert!(
            message.ends_with("scripts/fetch-nats-server.sh 2.15.1"),
            "{message}"
        );
        fetched(folder.path(), "2.15.0");
        assert!(matches!(
            pinned().unwrap_err(),
            FindNatsServerError::OtherVersion { .. }
        ));
        fetched(folder.path(), "2.15.1");
        assert_eq!(
            pinned().unwrap().version(),
            NatsServerBinary::DEFAULT_VERSION
        );
    }

    #[test]
    fn the_fetch_script_has_the_same_default() {
        let script = include_str!("../../../scripts/fetch-nats-server.sh");
        let line = format!("default_version={}", NatsServerBinary::DEFAULT_VERSION);
        assert!(script.lines().any(|candidate| candidate == line));
    }
}
