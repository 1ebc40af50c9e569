use std::collections::BTreeMap;
use std::path::PathBuf;

use leafgate_registry::StoreError;
use leafgate_runtime::{VaultConfig, VaultLogInConfig};
use secrecy::SecretString;

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

    /// What to do, with the environment in place of what the section leaves out.
    pub(crate) fn new(
        config: &VaultConfig,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, StoreError> {
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let or_variable = |value: &Option<String>, name| value.as_ref().or(variable(name)).cloned();
        let address = or_variable(&config.address, "VAULT_ADDR").ok_or_else(|| {
            let what = "it is not said where Vault is: set address in [vault], or VAULT_ADDR";
            StoreError::Unsupported {
                what: what.to_owned(),
            }
        })?;
        let log_in = match &config.log_in {
            Some(log_in) => LogIn::As(log_in.clone()),
            None => {
                let token = variable("VAULT_TOKEN").ok_or_else(|| {
                    let what = "it is not said how to log in to Vault: set log_in in [vault], or VAULT_TOKEN";
                    StoreError::Unsupported { what: what.to_owned() }
                })?;
                LogIn::With(SecretString::from(token.as_str()))
            }
        };
        Ok(Self {
            address,
            namespace: or_variable(&config.namespace, "VAULT_NAMESPACE"),
            ca_file: config
                .ca_file
                .clone()
                .or_else(|| variable("VAULT_CACERT").map(PathBuf::from)),
            log_in,
            timeout_ms: config.timeout_ms.unwrap_or(Self::TIMEOUT_MS),
        })
    }
}

/// How to get a token.
#[derive(Debug)]
pub(crate) enum LogIn {
    /// It is given, and there is no other.
    With(SecretString),
    As(VaultLogInConfig),
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
        let settings = Settings::new(&VaultConfig::default(), &environment).unwrap();
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
            log_in: Some(VaultLogInConfig::Kubernetes {
                role: "leafgate".to_owned(),
                jwt_file: PathBuf::from("token"),
                mount: "kubernetes".to_owned(),
            }),
            ..VaultConfig::default()
        };
        let settings = Settings::new(&config, &environment).unwrap();
        assert_eq!(settings.address, "https://vault:8200");
        assert_eq!(settings.namespace, None);
        assert!(matches!(settings.log_in, LogIn::As(_)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = |variables: &[(&str, &str)]| {
            let settings = Settings::new(&VaultConfig::default(), &environment(variables));
            settings.unwrap_err().to_string()
        };
        assert!(refused(&[("VAULT_TOKEN", "t")]).contains("VAULT_ADDR"));
        assert!(refused(&[("VAULT_ADDR", "http://localhost:8200")]).contains("VAULT_TOKEN"));
    }
}
