use std::path::{Path, PathBuf};

use anyhow::Context;
use leafgate_nats_config::{RegistryReplica, Replica};
use leafgate_nats_jwt::{CurveKey, KeyKind, SigningKey, UserKey};
use leafgate_runtime::read_secret;
#[expect(
    clippy::disallowed_types,
    reason = "the program is an edge: it draws random numbers"
)]
use rand_core::OsRng;
use secrecy::{ExposeSecret, SecretString};

use super::files::write_secret;

/// The seed that the callout's answers are signed with.
pub(crate) const ISSUER: &str = "callout-issuer";
/// The seed that opens what is sealed for the callout.
pub(crate) const XKEY: &str = "callout-xkey";
/// The seed of a site's telemetry link to the hub.
pub(crate) const TELEMETRY_LINK: &str = "uplink-telemetry";
/// The seed of a site's command link to the hub.
pub(crate) const COMMAND_LINK: &str = "uplink-commands";
/// The seed of an application of the hub that reads telemetry.
pub(crate) const TELEMETRY_APPLICATION: &str = "hub-telemetry";
/// The seed of an application of the hub that sends commands.
pub(crate) const COMMAND_APPLICATION: &str = "hub-command";

/// The seed of a replica in the callout's account.
pub(crate) fn auth_seed(replica: &str) -> String {
    format!("{replica}-auth")
}

/// The seed of a replica in the system account.
pub(crate) fn system_seed(replica: &str) -> String {
    format!("{replica}-system")
}

/// The seed of a replica of the registry in the devices' account.
pub(crate) fn devices_seed(replica: &str) -> String {
    format!("{replica}-devices")
}

/// The seeds of a site, one a file, made on first use and kept.
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

    /// The public half of the user key of this name.
    ///
    /// # Errors
    /// As [`signing`](Self::signing).
    pub(crate) fn user(&self, name: &str) -> anyhow::Result<UserKey> {
        Ok(UserKey::try_from(
            *self.signing(name, KeyKind::User)?.public(),
        )?)
    }

    /// The service users of as many callout replicas, by their default names.
    ///
    /// # Errors
    /// As [`signing`](Self::signing).
    pub(crate) fn replicas(&self, count: u32) -> anyhow::Result<Vec<Replica>> {
        let replica = |ordinal| {
            let name = Replica::default_name(ordinal);
            Ok(Replica {
                auth: self.user(&auth_seed(name.as_str()))?,
                system: self.user(&system_seed(name.as_str()))?,
                name,
            })
        };
        (0..count).map(replica).collect()
    }

    /// The service users of as many replicas of the registry, by their default names.
    ///
    /// # Errors
    /// As [`signing`](Self::signing).
    pub(crate) fn registry_replicas(&self, count: u32) -> anyhow::Result<Vec<RegistryReplica>> {
        let replica = |ordinal| {
            let name = RegistryReplica::default_name(ordinal);
            Ok(RegistryReplica {
                auth: self.user(&auth_seed(name.as_str()))?,
                system: self.user(&system_seed(name.as_str()))?,
                devices: self.user(&devices_seed(name.as_str()))?,
                name,
            })
        };
        (0..count).map(replica).collect()
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
