use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where Vault is, and how to log in to it: the section `[vault]` of a configuration file.
///
/// What it leaves out is taken from the environment, by the names of Vault's own tools: `VAULT_ADDR`,
/// `VAULT_NAMESPACE`, `VAULT_CACERT`, and for the log-in `VAULT_TOKEN`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaultConfig {
    /// Its URL, such as `https://vault.example:8200`.
    pub address: Option<String>,
    /// The namespace (Vault Enterprise, HCP).
    pub namespace: Option<String>,
    /// The certificates, in PEM, of those who may have signed Vault's; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// How to log in; without it with the token of the environment.
    pub log_in: Option<VaultLogInConfig>,
    /// How long to wait for one answer, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// The trust domain of devices that scripts registered in the key/value engine. It need not be said where there is
    /// but one.
    pub trust_domain: Option<String>,
}

/// How to log in to Vault.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    tag = "method",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case"
)]
pub enum VaultLogInConfig {
    /// With a token that somebody else looks after, such as Vault's agent.
    Token {
        /// Holds the token; read again when it is refused.
        token_file: PathBuf,
    },
    /// As a machine with a role (<https://developer.hashicorp.com/vault/docs/auth/approle>).
    AppRole {
        /// The role's id.
        role_id: String,
        /// Holds a secret id of the role; read at each log-in.
        secret_id_file: PathBuf,
        /// Where the method is mounted.
        #[serde(default = "app_role_mount")]
        mount: String,
    },
    /// As a pod's service account (<https://developer.hashicorp.com/vault/docs/auth/kubernetes>).
    Kubernetes {
        /// The role in Vault.
        role: String,
        /// Holds the service account's token; read at each log-in.
        #[serde(default = "service_account_token")]
        jwt_file: PathBuf,
        /// Where the method is mounted.
        #[serde(default = "kubernetes_mount")]
        mount: String,
    },
}

fn app_role_mount() -> String {
    "approle".to_owned()
}

fn kubernetes_mount() -> String {
    "kubernetes".to_owned()
}

fn service_account_token() -> PathBuf {
    PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount/token")
}

impl VaultConfig {
    /// Takes the paths as relative to `folder`.
    pub fn resolve_paths(&mut self, folder: &Path) {
        let log_in = self.log_in.as_mut().map(|log_in| match log_in {
            VaultLogInConfig::Token { token_file } => token_file,
            VaultLogInConfig::AppRole { secret_id_file, .. } => secret_id_file,
            VaultLogInConfig::Kubernetes { jwt_file, .. } => jwt_file,
        });
        for path in self.ca_file.iter_mut().chain(log_in) {
            *path = folder.join(&*path);
        }
    }
}

impl fmt::Display for VaultLogInConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { token_file } => write!(f, "the token in {}", token_file.display()),
            Self::AppRole { role_id, mount, .. } => write!(f, "AppRole {role_id} at {mount}"),
            Self::Kubernetes { role, mount, .. } => write!(f, "Kubernetes role {role} at {mount}"),
        }
    }
}
