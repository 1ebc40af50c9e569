use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use leafgate_identity::SpkiHash;
use rcgen::KeyPair;
use zeroize::Zeroizing;

use crate::directory::CaDirectory;
use crate::embedded::{EmbeddedCa, LoadCaError};
use crate::encoding::spki_hash_of_key;
use crate::files::{ReadCaFileError, read_certificates, read_key};
use crate::profile::Intermediate;

/// What tells whether the files of a CA are still those that were read: their names, lengths and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaStamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

/// A key of the folder.
pub(crate) struct KeyFile {
    pub(crate) path: PathBuf,
    pub(crate) spki: SpkiHash,
    pub(crate) key: Zeroizing<KeyPair>,
}

impl CaDirectory {
    /// Loads the first intermediate of this kind whose key is here.
    ///
    /// # Errors
    /// As [`load_all`](Self::load_all).
    pub fn load(&self, intermediate: Intermediate) -> Result<EmbeddedCa, LoadCaError> {
        let mut all = self.load_all(intermediate)?;
        Ok(all.swap_remove(0))
    }

    /// Loads the intermediates of this kind whose keys are here, oldest first: one at least. A certificate whose key is
    /// elsewhere is passed over, and so is a key without a certificate.
    ///
    /// # Errors
    /// A file can't be read, a key file is open to others, a certificate is no CA's, or there is no key for any.
    pub fn load_all(&self, intermediate: Intermediate) -> Result<Vec<EmbeddedCa>, LoadCaError> {
        let file = self.certificate(intermediate);
        let mut keys = self.read_keys(intermediate)?;
        let mut all = Vec::new();
        for certificate in read_certificates(&file)? {
            let spki = spki_of(&certificate);
            let found = keys.iter().position(|it| Some(it.spki) == spki);
            // Whatever is no certificate is refused when it is joined, with any key.
            let found = found.or_else(|| (spki.is_none() && !keys.is_empty()).then_some(0));
            if let Some(found) = found {
                let key = keys.swap_remove(found).key;
                all.push(EmbeddedCa::join(&certificate, key, &file)?);
            }
        }
        if all.is_empty() {
            return Err(LoadCaError::KeyMissing {
                folder: self.path().into(),
                certificates: file,
            });
        }
        Ok(all)
    }

    /// What the files are like now.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn stamp(&self) -> io::Result<CaStamp> {
        let mut files = Vec::new();
        for entry in self.path().read_dir()? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) => {
                    files.push((entry.path(), metadata.len(), metadata.modified().ok()));
                }
                // The draft of a file that takes its place at this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        files.sort();
        Ok(CaStamp(files))
    }

    pub(crate) fn read_keys(
        &self,
        intermediate: Intermediate,
    ) -> Result<Vec<KeyFile>, ReadCaFileError> {
        let unreadable = |source| ReadCaFileError::Unreadable {
            path: self.path().into(),
            source,
        };
        let mut keys = Vec::new();
        for path in self.keys(intermediate).map_err(unreadable)? {
            let key = read_key(&path)?;
            let spki = spki_hash_of_key(&key);
            keys.push(KeyFile { path, spki, key });
        }
        Ok(keys)
    }

    /// The files of keys of this kind, the first intermediate's first.
    pub(crate) fn keys(&self, intermediate: Intermediate) -> io::Result<Vec<PathBuf>> {
        let mut keys = Vec::new();
        for entry in self.path().read_dir()? {
            let name = entry?.file_name();
            if is_key_of(intermediate, &name) {
                keys.push(self.path().join(name));
            }
        }
        // '-' comes before '.'.
        keys.sort_by_key(|path| (*path != self.key(intermediate), path.clone()));
        Ok(keys)
    }

    /// The file for the key of a further intermediate.
    pub(crate) fn further_key(&self, intermediate: Intermediate, spki: &SpkiHash) -> PathBuf {
        let hash = spki.to_string();
        self.path()
            .join(format!("{intermediate}-{}.key", &hash[..8]))
    }
}

fn is_key_of(intermediate: Intermediate, name: &OsStr) -> bool {
    name.to_str()
        .and_then(|name| name.strip_suffix(".key"))
        .and_then(|name| name.strip_prefix(intermediate.as_str()))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The key hash of a certificate; `None` if it is none.
pub(crate) fn spki_of(certificate_der: &[u8]) -> Option<SpkiHash> {
    let (rest, certificate) = x509_parser::parse_x509_certificate(certificate_der).ok()?;
    rest.is_empty()
        .then(|| SpkiHash::of_spki_der(certificate.public_key().raw))
}
