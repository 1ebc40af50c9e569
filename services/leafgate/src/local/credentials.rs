use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use super::files::Draft;

/// The files with which a device logs in.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Its certificate with the chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// What verifies the server.
    pub ca: PathBuf,
}

impl Credentials {
    /// `ID.crt`, `ID.key` and `ca.crt` in one folder.
    pub fn in_folder(folder: &Path, id: &str) -> Self {
        let stem = folder.join(id);
        Self {
            certificate: with_suffix(&stem, ".crt"),
            key: with_suffix(&stem, ".key"),
            ca: folder.join("ca.crt"),
        }
    }
}

/// Writes a certificate with its chain to `stem.crt` and its key, for its owner only, to
/// `stem.key`; files of an earlier certificate are replaced.
///
/// # Errors
/// Which file can't be written.
pub fn write_credentials(
    stem: &Path,
    chain_pem: &str,
    private_key_pem: &SecretString,
) -> anyhow::Result<()> {
    CredentialFiles::prepare(stem)?.write(chain_pem, private_key_pem)
}

/// The places of a certificate and its key, to be prepared before they are made.
#[derive(Debug)]
pub(crate) struct CredentialFiles {
    certificate: Draft,
    key: Draft,
}

impl CredentialFiles {
    /// `stem.crt` and `stem.key`.
    pub(crate) fn prepare(stem: &Path) -> anyhow::Result<Self> {
        let (certificate, key) = (with_suffix(stem, ".crt"), with_suffix(stem, ".key"));
        Ok(Self {
            certificate: Draft::public(&certificate).with_context(|| unwritable(&certificate))?,
            key: Draft::private(&key).with_context(|| unwritable(&key))?,
        })
    }

    pub(crate) fn certificate(&self) -> &Path {
        self.certificate.path()
    }

    pub(crate) fn key(&self) -> &Path {
        self.key.path()
    }

    /// Puts both into their places, once both are written: a full disk parts no certificate from
    /// its key.
    pub(crate) fn write(
        mut self,
        chain_pem: &str,
        private_key_pem: &SecretString,
    ) -> anyhow::Result<()> {
        let (certificate, key) = (self.certificate().to_owned(), self.key().to_owned());
        self.key
            .write(private_key_pem.expose_secret())
            .with_context(|| unwritable(&key))?;
        self.certificate
            .write(chain_pem)
            .with_context(|| unwritable(&certificate))?;
        self.key.put_in_place().with_context(|| unwritable(&key))?;
        self.certificate
            .put_in_place()
            .with_context(|| unwritable(&certificate))
    }
}

fn unwritable(path: &Path) -> String {
    format!("can't write {}", path.display())
}

/// Names of services have dots: no part of them is an extension to be replaced.
fn with_suffix(stem: &Path, suffix: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
