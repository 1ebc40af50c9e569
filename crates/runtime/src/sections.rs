//! Sections of configuration files that services have in common.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use leafgate_identity::{
    Binding, CnPattern, SpkiHash, TrustDomain, TrustDomainName, spki_hashes_of_certificates_pem,
};
use serde::Deserialize;

use crate::{Environment, LogFormat};

/// `[store]`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// `sqlite:PATH`, `postgres://USER@HOST/DATABASE`, or `vault:MOUNT` (a KV engine, version 2).
    pub url: String,
    /// The database's password, read anew for every connection.
    pub password_file: Option<PathBuf>,
    /// What verifies the database's certificate.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for StoreConfig {
    /// Without the URL, which some write a password into before they are told not to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url.split(':').next().unwrap_or_default();
        f.debug_struct("StoreConfig")
            .field("url", &format_args!("{scheme}:…"))
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

impl StoreConfig {
    /// Takes paths as relative to `folder`.
    pub fn resolve_paths(&mut self, folder: &Path) {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            self.url = format!("sqlite:{}", folder.join(path).display());
        }
        for path in self.password_file.iter_mut().chain(&mut self.ca_file) {
            *path = folder.join(&*path);
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// What is logged: `info`, `leafgate_feed=debug,info`, …
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            filter: "info,async_nats=warn".to_owned(),
        }
    }
}

/// `[[trust_domain]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustDomainConfig {
    /// Its name, as device records have it.
    pub name: String,
    /// Files with the certificates of its issuing authorities, PEM, one or more in each.
    pub issuers: Vec<PathBuf>,
    /// The form of its devices' common names.
    #[serde(default = "default_cn_pattern")]
    pub cn_pattern: String,
    /// How certificates bind to devices.
    #[serde(default = "default_binding")]
    pub binding: Binding,
    /// Policy files, in order. Whoever decides log-ins needs one at least.
    #[serde(default)]
    pub policies: Vec<PathBuf>,
}

impl TrustDomainConfig {
    /// Takes the paths as relative to `folder`.
    pub fn resolve_paths(&mut self, folder: &Path) {
        self.issuers
            .iter_mut()
            .chain(&mut self.policies)
            .for_each(|path| *path = folder.join(&*path));
    }

    /// Reads the certificates of the issuers, and checks the rest.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file or key.
    pub fn load(&self) -> Result<TrustDomain, Box<dyn std::error::Error + Send + Sync>> {
        let issuers = self.issuers.iter().map(|path| issuers_in(path));
        Ok(TrustDomain {
            name: TrustDomainName::parse(&self.name)?,
            issuers: issuers.collect::<Result<Vec<_>, _>>()?.concat(),
            cn_pattern: CnPattern::parse(&self.cn_pattern)?,
            binding: self.binding,
        })
    }
}

fn issuers_in(path: &Path) -> Result<Vec<SpkiHash>, Box<dyn std::error::Error + Send + Sync>> {
    let pem = read_text(path)?;
    spki_hashes_of_certificates_pem(&pem)
        .map_err(|error| format!("issuer {}: {error}", path.display()).into())
}

/// `{prefix}` in policies: as configured, else as `DEVICE_SUBJECT_PREFIX` says, else `device`.
pub fn subject_prefix(configured: Option<&str>, environment: &Environment) -> String {
    let variable = environment.get("DEVICE_SUBJECT_PREFIX");
    let variable = variable.map(String::as_str).filter(|text| !text.is_empty());
    configured.or(variable).unwrap_or("device").to_owned()
}

fn default_cn_pattern() -> String {
    CnPattern::DEFAULT.to_owned()
}

fn default_binding() -> Binding {
    Binding::Issued
}

/// Reads a file of text that is no secret.
///
/// # Errors
/// [`ReadTextError`] names the file.
pub fn read_text(path: &Path) -> Result<String, ReadTextError> {
    std::fs::read_to_string(path).map_err(|source| ReadTextError {
        path: path.to_owned(),
        source,
    })
}

/// A file can't be read.
#[derive(Debug, thiserror::Error)]
#[error("can't read {}", path.display())]
pub struct ReadTextError {
    /// The file.
    pub path: PathBuf,
    #[source]
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_store_is_not_shown() {
        let store = StoreConfig {
            url: "postgres://leafgate:hunter2@db/leafgate".to_owned(),
            password_file: None,
            ca_file: None,
        };
        let shown = format!("{store:?}");
        assert!(shown.contains("postgres:…"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
