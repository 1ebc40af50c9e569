use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use leafgate_registry::StoreError;
use secrecy::SecretString;
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
    pub log_in: Option<LogInConfig>,
    /// How long to wait for one answer, in milliseconds.
    pub timeout_ms: Option<u32>,
}

/// How to log in to Vault.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    tag = "method",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case"
)]
pub enum LogInConfig {
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
            LogInConfig::Token { token_file } => token_file,
            LogInConfig::AppRole { secret_id_file, .. } => secret_id_file,
            LogInConfig::Kubernetes { jwt_file, .. } => jwt_file,
        });
        for path in self.ca_file.iter_mut().chain(log_in) {
            *path = folder.join(&*path);
        }
    }

    /// What to do, with the environment in place of what this leaves out.
    pub(crate) fn settings(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Result<Settings, StoreError> {
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let or_variable = |value: &Option<String>, name| value.as_ref().or(variable(name)).cloned();
        let address = or_variable(&self.address, "VAULT_ADDR").ok_or_else(|| {
            let what = "it is not said where Vault is: set address in [vault], or VAULT_ADDR";
            StoreError::Unsupported {
                what: what.to_owned(),
            }
        })?;
        let log_in = match &self.log_in {
            Some(log_in) => LogIn::As(log_in.clone()),
            None => {
                let token = variable("VAULT_TOKEN").ok_or_else(|| {
                    let what = "it is not said how to log in to Vault: set log_in in [vault], or VAULT_TOKEN";
                    StoreError::Unsupported { what: what.to_owned() }
                })?;
                LogIn::With(SecretString::from(token.as_str()))
            }
        };
        Ok(Settings {
            address,
            namespace: or_variable(&self.namespace, "VAULT_NAMESPACE"),
            ca_file: self
                .ca_file
                .clone()
                .or_else(|| variable("VAULT_CACERT").map(PathBuf::from)),
            log_in,
            timeout_ms: self.timeout_ms.unwrap_or(Settings::TIMEOUT_MS),
        })
    }
}

/// A [`VaultConfig`] and an environment together.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) address: String,
    pub(crate) namespace: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) log_in: LogIn,
    pub(crate) timeout_ms: u32,
}

impl Settings {
    const TIMEOUT_MS: u32 = 10_000;
}

/// How to get a token.
#[derive(Debug)]
pub(crate) enum LogIn {
    /// It is given, and there is no other.
    With(SecretString),
    As(LogInConfig),
}

impl fmt::Display for LogInConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { token_file } => write!(f, "the token in {}", token_file.display()),
            Self::AppRole { role_id, mount, .. } => write!(f, "AppRole {role_id} at {mount}"),
            Self::Kubernetes { role, mount, .. } => write!(f, "Kubernetes role {role} at {mount}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        variables.iter().map(owned).collect()
    }

    #[test]
    fn the_environment_of_vaults_own_tools_is_enough() {
        let environment = environment(&[
            ("VAULT_ADDR", "https://vault:8200"),
            ("VAULT_TOKEN", "hvs.secret"),
            ("VAULT_NAMESPACE", "team"),
            ("VAULT_CACERT", "/etc/vault/ca.pem"),
        ]);
        let settings = VaultConfig::default().settings(&environment).unwrap();
        assert_eq!(settings.address, "https://vault:8200");
        assert_eq!(settings.namespace.as_deref(), Some("team"));
        assert_eq!(
            settings.ca_file.as_deref(),
            Some(Path::new("/etc/vault/ca.pem"))
        );
        let LogIn::With(token) = &settings.log_in else {
            panic!("{:?}", settings.log_in)
        };
        assert_eq!(token.expose_secret(), "hvs.secret");
        assert!(!format!("{settings:?}").contains("hvs.secret"));
    }

    #[test]
    fn what_is_configured_comes_first() {
        let environment = environment(&[
            ("VAULT_ADDR", "https://elsewhere:8200"),
            ("VAULT_TOKEN", "hvs.secret"),
            ("VAULT_NAMESPACE", ""),
        ]);
        let config = VaultConfig {
            address: Some("https://vault:8200".to_owned()),
            log_in: Some(LogInConfig::Kubernetes {
                role: "leafgate".to_owned(),
                jwt_file: service_account_token(),
                mount: kubernetes_mount(),
            }),
            ..VaultConfig::default()
        };
        let settings = config.settings(&environment).unwrap();
        assert_eq!(settings.address, "https://vault:8200");
        assert_eq!(settings.namespace, None);
        assert!(matches!(settings.log_in, LogIn::As(_)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = |variables: &[(&str, &str)]| {
            let settings = VaultConfig::default().settings(&environment(variables));
            settings.unwrap_err().to_string()
        };
        assert!(refused(&[("VAULT_TOKEN", "t")]).contains("VAULT_ADDR"));
        assert!(refused(&[("VAULT_ADDR", "http://localhost:8200")]).contains("VAULT_TOKEN"));
    }
}
