use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leafgate_identity::UnixMs;
use secrecy::{ExposeSecret, SecretString};

use crate::encoding::crl_pem;
use crate::files::{PUBLIC_MODE, SECRET_MODE, WriteCaFileError, parent_of, sync_folder, write_new};
use crate::issuer::{PrepareError, SignCrlError};
use crate::profile::Intermediate;
use crate::root::{CreateRootError, RootAuthority, WriteRootError, check_passphrase};
use crate::status_url::StatusUrl;

/// How long the revocation list of a root is current. Its key comes out of the safe once a year.
pub(crate) const ROOT_CRL_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

const ROOT_CERTIFICATE: &str = "root.crt";
const ROOT_CRL: &str = "root.crl";
pub(crate) const ROOT_KEY: &str = "root.key";

/// A folder with the CA of one registry:
///
/// | file | content |
/// |---|---|
/// | `root.crt` | the root's certificate: what devices and clients trust |
/// | `root.crl` | the root's revocation list |
/// | `devices.crt` | the intermediates that sign devices, oldest first: what their listeners trust |
/// | `devices.key`, `devices-*.key` | their keys |
/// | `servers.crt`, `servers.key`, `servers-*.key` | the same for nats-servers |
/// | `root.key` | for development only: the root's key, unencrypted |
///
/// It comes into being complete, by one rename, with one intermediate of each kind.
/// [`prepare_next`](Self::prepare_next) adds further ones, [`renew_root_list`](Self::renew_root_list) renews the root's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaDirectory(PathBuf);

impl CaDirectory {
    /// Opens a folder that [`init`] made.
    ///
    /// # Errors
    /// One of its files is missing.
    pub fn open(dir: &Path) -> Result<Self, OpenCaError> {
        let ca = Self(dir.into());
        let missing = ca.missing();
        missing.map_or(Ok(ca), |missing| Err(OpenCaError { missing }))
    }

    fn missing(&self) -> Option<PathBuf> {
        let files = [
            self.root_certificate(),
            self.root_crl(),
            self.certificate(Intermediate::Devices),
            self.certificate(Intermediate::Servers),
        ];
        let missing = files.into_iter().find(|file| !file.is_file());
        missing.or_else(|| {
            [Intermediate::Devices, Intermediate::Servers]
                .into_iter()
                .find(|intermediate| !matches!(self.keys(*intermediate), Ok(keys) if !keys.is_empty()))
                .map(|intermediate| self.key(intermediate))
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file of the root's certificate.
    pub fn root_certificate(&self) -> PathBuf {
        self.0.join(ROOT_CERTIFICATE)
    }

    /// The file of the root's revocation list (PEM).
    pub fn root_crl(&self) -> PathBuf {
        self.0.join(ROOT_CRL)
    }

    /// The file with the certificates of the intermediates of this kind, oldest first.
    pub fn certificate(&self, intermediate: Intermediate) -> PathBuf {
        self.0.join(format!("{intermediate}.crt"))
    }

    /// The file of the first intermediate's key.
    pub fn key(&self, intermediate: Intermediate) -> PathBuf {
        self.0.join(format!("{intermediate}.key"))
    }
}

/// Where a new root's key goes.
#[derive(Clone, Copy, Debug)]
pub enum RootKey<'a> {
    /// Into a file of its own, encrypted.
    Encrypted {
        /// The file, outside of the CA's folder. It must not exist.
        out: &'a Path,
        /// What opens it.
        passphrase: &'a SecretString,
    },
    /// Into the CA's folder, unencrypted. For development only.
    DevPlain,
}

/// Makes a root, its revocation list and the two intermediates, and writes them to `dir`, which
/// must not exist yet or be empty.
///
/// The folder is written under another name and renamed at the end: whatever happens, there is a
/// whole CA or none. The root's key is written before, so that no CA is left without it.
///
/// # Errors
/// There is something in `dir` or at the place of the root's key, the passphrase is refused, or
/// a file can't be written.
pub fn init(dir: &Path, root_key: RootKey<'_>, now: UnixMs) -> Result<CaDirectory, InitCaError> {
    init_with_root_crl_url(dir, root_key, None, now)
}

/// [`init`], with intermediates that say where the root's revocation list is served.
///
/// # Errors
/// As [`init`].
pub fn init_with_root_crl_url(
    dir: &Path,
    root_key: RootKey<'_>,
    root_crl: Option<&StatusUrl>,
    now: UnixMs,
) -> Result<CaDirectory, InitCaError> {
    refuse_occupied(dir)?;
    if let RootKey::Encrypted { out, passphrase } = &root_key {
        check_passphrase(passphrase)?;
        refuse_root_key(dir, out)?;
    }
    let parent = parent_of(dir);
    let unwritable = |source| {
        InitCaError::Write(WriteCaFileError {
            path: dir.into(),
            source,
        })
    };
    fs::create_dir_all(parent).map_err(unwritable)?;
    let draft = tempfile::Builder::new()
        .prefix(".ca-")
        .tempdir_in(parent)
        .map_err(unwritable)?;
    let root = RootAuthority::create("leafgate root", now)?;
    write_draft(draft.path(), &root, root_crl, now)?;
    match root_key {
        RootKey::Encrypted { out, passphrase } => {
            root.write_encrypted(out, passphrase)?;
            publish(draft.path(), dir).inspect_err(|_| {
                // This run has just made it, and there is no CA that it belongs to. Should it
                // remain, the next run says so.
                let _ = fs::remove_file(out);
            })?;
        }
        RootKey::DevPlain => {
            write_key(&draft.path().join(ROOT_KEY), &root.private_key_pem())?;
            publish(draft.path(), dir)?;
        }
    }
    let _renamed = draft.keep();
    sync_folder(parent).map_err(unwritable)?;
    Ok(CaDirectory(dir.into()))
}

fn refuse_occupied(dir: &Path) -> Result<(), InitCaError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) if dir.join(ROOT_CERTIFICATE).exists() => {
                Err(InitCaError::Exists { dir: dir.into() })
            }
            Some(_) => Err(InitCaError::NotEmpty { dir: dir.into() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(InitCaError::Write(WriteCaFileError {
            path: dir.into(),
            source,
        })),
    }
}

fn refuse_root_key(dir: &Path, out: &Path) -> Result<(), InitCaError> {
    if fs::symlink_metadata(out).is_ok() {
        return Err(InitCaError::RootKeyExists { path: out.into() });
    }
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    if absolute(out).starts_with(absolute(dir)) {
        return Err(InitCaError::RootKeyInside { path: out.into() });
    }
    Ok(())
}

fn write_draft(
    draft: &Path,
    root: &RootAuthority,
    root_crl: Option<&StatusUrl>,
    now: UnixMs,
) -> Result<(), InitCaError> {
    for intermediate in [Intermediate::Devices, Intermediate::Servers] {
        let made = root.issue_intermediate(&format!("leafgate {intermediate}"), root_crl, now)?;
        write_new(
            &draft.join(format!("{intermediate}.crt")),
            &made.certificate_pem,
            PUBLIC_MODE,
        )?;
        write_key(
            &draft.join(format!("{intermediate}.key")),
            &made.private_key_pem,
        )?;
    }
    let list = root.sign_crl(&[], 1, now, now.saturating_add(ROOT_CRL_LIFETIME))?;
    write_new(&draft.join(ROOT_CRL), &crl_pem(&list), PUBLIC_MODE)?;
    write_new(
        &draft.join(ROOT_CERTIFICATE),
        root.certificate_pem(),
        PUBLIC_MODE,
    )?;
    Ok(())
}

fn write_key(path: &Path, key: &SecretString) -> Result<(), WriteCaFileError> {
    write_new(path, key.expose_secret(), SECRET_MODE)
}

/// Replaces an empty or missing folder, and no other: rename(2) refuses a folder with content.
fn publish(draft: &Path, dir: &Path) -> Result<(), InitCaError> {
    fs::rename(draft, dir).map_err(|source| match source.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
            InitCaError::Exists { dir: dir.into() }
        }
        _ => InitCaError::Write(WriteCaFileError {
            path: dir.into(),
            source,
        }),
    })
}

/// A folder is no complete CA.
#[derive(Debug, thiserror::Error)]
#[error("there is no CA here: {} is missing; run leafgate ca init", missing.display())]
pub struct OpenCaError {
    /// The first file that is missing.
    pub missing: PathBuf,
}

/// Why no CA was made. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum InitCaError {
    /// There is a CA already.
    #[error("{} holds a CA already, which is never overwritten", dir.display())]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// There are other files.
    #[error("{} is not empty: name a folder that is, or that does not exist", dir.display())]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// The root key's file exists.
    #[error("{} exists and is never overwritten: if it is left from an init that was interrupted, remove it", path.display())]
    RootKeyExists {
        /// The file.
        path: PathBuf,
    },
    /// The root key would be kept with the services.
    #[error("{} lies in the CA's folder, which services read: keep the root's key elsewhere", path.display())]
    RootKeyInside {
        /// The file.
        path: PathBuf,
    },
    /// The root could not be made.
    #[error(transparent)]
    Root(#[from] CreateRootError),
    /// An intermediate could not be made.
    #[error("an intermediate certificate could not be made")]
    Intermediate(#[from] PrepareError),
    /// The root's revocation list could not be made.
    #[error("the root's revocation list could not be made")]
    Crl(#[from] SignCrlError),
    /// The root's key could not be written.
    #[error(transparent)]
    RootKey(#[from] WriteRootError),
    /// A file or folder could not be written.
    #[error(transparent)]
    Write(#[from] WriteCaFileError),
}
