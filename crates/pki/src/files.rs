use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use secrecy::{ExposeSecret, SecretString};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::encoding::{CERTIFICATE_LABEL, decode_private_key};

const MAX_FILE_BYTES: u64 = 64 * 1024;
pub(crate) const PUBLIC_MODE: u32 = 0o644;
pub(crate) const SECRET_MODE: u32 = 0o600;

/// Reads one certificate in PEM and returns its DER.
pub(crate) fn read_certificate(path: &Path) -> Result<Vec<u8>, ReadCaFileError> {
    let file = File::open(path).map_err(|source| ReadCaFileError::unreadable(path, source))?;
    let text = read_bounded(file, path)?;
    let not_a_certificate = || ReadCaFileError::NotACertificate { path: path.into() };
    let block = pem::parse(text.expose_secret()).map_err(|_| not_a_certificate())?;
    if block.tag() != CERTIFICATE_LABEL {
        return Err(not_a_certificate());
    }
    Ok(block.into_contents())
}

/// Reads a public file of a CA.
pub(crate) fn read_text(path: &Path) -> Result<String, ReadCaFileError> {
    let file = File::open(path).map_err(|source| ReadCaFileError::unreadable(path, source))?;
    Ok(read_bounded(file, path)?.expose_secret().to_owned())
}

/// Reads the certificates in a PEM file, one at least, and returns their DER in its order.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, ReadCaFileError> {
    let file = File::open(path).map_err(|source| ReadCaFileError::unreadable(path, source))?;
    let text = read_bounded(file, path)?;
    let not_a_certificate = || ReadCaFileError::NotACertificate { path: path.into() };
    let blocks = pem::parse_many(text.expose_secret()).map_err(|_| not_a_certificate())?;
    if blocks.is_empty() || blocks.iter().any(|block| block.tag() != CERTIFICATE_LABEL) {
        return Err(not_a_certificate());
    }
    Ok(blocks.into_iter().map(pem::Pem::into_contents).collect())
}

/// Reads an unencrypted PKCS #8 private key in PEM.
pub(crate) fn read_key(path: &Path) -> Result<Zeroizing<KeyPair>, ReadCaFileError> {
    let text = read_secret(path)?;
    decode_private_key(&text).ok_or_else(|| ReadCaFileError::NotAKey { path: path.into() })
}

/// Reads a file that only its owner may read; or its group, where this process is not the owner,
/// as with a Kubernetes `fsGroup`.
///
/// # Errors
/// [`ReadCaFileError`]
pub fn read_secret(path: &Path) -> Result<SecretString, ReadCaFileError> {
    let unreadable = |source| ReadCaFileError::unreadable(path, source);
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let own = metadata.uid() == nix::unistd::geteuid().as_raw();
    let mode = metadata.mode() & 0o777;
    let forbidden = if own { 0o077 } else { 0o037 };
    if mode & forbidden != 0 {
        return Err(ReadCaFileError::TooOpen {
            path: path.into(),
            mode,
        });
    }
    read_bounded(file, path)
}

fn read_bounded(file: File, path: &Path) -> Result<SecretString, ReadCaFileError> {
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|source| ReadCaFileError::unreadable(path, source))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ReadCaFileError::TooLong { path: path.into() });
    }
    Ok(SecretString::from(text.as_str()))
}

/// Writes a file that does not exist yet: complete and on disk, or not at all.
///
/// # Errors
/// The file exists, or can't be written.
pub fn write_new(path: &Path, content: &str, mode: u32) -> Result<(), WriteCaFileError> {
    let written = draft(path, content, mode).and_then(|file| {
        file.persist_noclobber(path)
            .map_err(|refused| refused.error)?;
        sync_folder(parent_of(path))
    });
    written.map_err(|source| WriteCaFileError::new(path, source))
}

/// Writes a file that does not exist yet for those who may use the file `like`.
pub(crate) fn write_new_like(
    path: &Path,
    content: &str,
    like: &Path,
) -> Result<(), WriteCaFileError> {
    let written = draft_like(path, content, like).and_then(|file| {
        file.persist_noclobber(path)
            .map_err(|refused| refused.error)?;
        sync_folder(parent_of(path))
    });
    written.map_err(|source| WriteCaFileError::new(path, source))
}

/// Replaces a file by one for the same users: by then the new content is on disk, and readers see one or the other.
///
/// # Errors
/// The content is longer than what is read of a file, or the file can't be written.
pub(crate) fn replace(path: &Path, content: &str) -> Result<(), WriteCaFileError> {
    let fits = if content.len() as u64 <= MAX_FILE_BYTES {
        Ok(())
    } else {
        let limit = format!(
            "it would be longer than the {MAX_FILE_BYTES} bytes that are read: remove what is over"
        );
        Err(io::Error::new(io::ErrorKind::FileTooLarge, limit))
    };
    let written = fits.and_then(|()| {
        let file = draft_like(path, content, path)?;
        file.persist(path).map_err(|refused| refused.error)?;
        sync_folder(parent_of(path))
    });
    written.map_err(|source| WriteCaFileError::new(path, source))
}

/// The content on disk, under another name beside `path`.
fn draft(path: &Path, content: &str, mode: u32) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(parent_of(path))?;
    file.write_all(content.as_bytes())?;
    // The mode given at creation passes through the umask; this one does not.
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn draft_like(path: &Path, content: &str, like: &Path) -> io::Result<NamedTempFile> {
    let like = fs::metadata(like)?;
    let file = draft(path, content, like.mode() & 0o777)?;
    let own = file.as_file().metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(file.as_file(), Some(like.uid()), Some(like.gid()))?;
        file.as_file().sync_all()?;
    }
    Ok(file)
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that holds `path`.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Why a file of a CA can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadCaFileError {
    /// It can't be opened, or is not text.
    #[error("can't read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read a file that holds a key.
    #[error("the key file {0} has mode {mode:04o}, so others may use it: run chmod 600 {0}", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is longer than any certificate or key.
    #[error("{} is longer than {MAX_FILE_BYTES} bytes: that is no certificate or key", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It holds no certificate.
    #[error("{} holds no certificate in PEM", path.display())]
    NotACertificate {
        /// The file.
        path: PathBuf,
    },
    /// It holds no private key of a known form.
    #[error("{} holds no private key in PKCS #8 PEM (BEGIN PRIVATE KEY)", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

impl ReadCaFileError {
    fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::Unreadable {
            path: path.into(),
            source,
        }
    }
}

/// A file of a CA could not be written.
#[derive(Debug, thiserror::Error)]
#[error("can't write {}", path.display())]
pub struct WriteCaFileError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl WriteCaFileError {
    pub(crate) fn new(path: &Path, source: io::Error) -> Self {
        Self {
            path: path.into(),
            source,
        }
    }
}
