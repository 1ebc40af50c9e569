use std::path::{Path, PathBuf};

use anyhow::Context;
use leafgate_nats_jwt::{CurveKey, KeyKind, SigningKey};
use leafgate_runtime::read_secret;
use rand_core::OsRng;
use secrecy::{ExposeSecret, SecretString};

use super::files::write_secret;

/// The seeds of a local site, one a file, made on first use and kept.
#[derive(Debug, Clone)]
pub struct LocalKeys {
    folder: PathBuf,
}

impl LocalKeys {
    /// Seeds in this folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Where the seed of this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.seed"))
    }

    /// The signing key of this name.
    ///
    /// # Errors
    /// A file that can't be read or written, or holds another kind of key.
    pub fn signing(&self, name: &str, kind: KeyKind) -> anyhow::Result<SigningKey> {
        let seed = self.load_or_make(name, || {
            SigningKey::generate(kind, &mut OsRng).seed().clone()
        })?;
        SigningKey::from_seed_of(kind, &seed)
            .with_context(|| format!("{}", self.path(name).display()))
    }

    /// The curve key of this name.
    ///
    /// # Errors
    /// A file that can't be read or written, or holds another kind of key.
    pub fn curve(&self, name: &str) -> anyhow::Result<CurveKey> {
        let seed = self.load_or_make(name, || CurveKey::generate(&mut OsRng).seed().clone())?;
        CurveKey::from_seed(&seed).with_context(|| format!("{}", self.path(name).display()))
    }

    fn load_or_make(
        &self,
        name: &str,
        make: impl FnOnce() -> SecretString,
    ) -> anyhow::Result<SecretString> {
        let path = self.path(name);
        if path.exists() {
            return Ok(read_secret(&path)?);
        }
        let seed = make();
        write_secret(&path, seed.expose_secret())
            .with_context(|| format!("can't write {}", path.display()))?;
        Ok(seed)
    }
}
