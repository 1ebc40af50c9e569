use std::path::{Path, PathBuf};

use leafgate_pki::SignedList;
use leafgate_runtime::{LoadConfigError, SetUpError};

use super::Doctor;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::read_text;

const CHECK: &str = "configuration";

impl Doctor<'_> {
    /// Reads a configuration as its program would, and looks at the certificates that it names.
    pub(super) fn check_configuration(&mut self, path: &Path) {
        let target = path.display().to_string();
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => {
                return self.report.fail(
                    CHECK,
                    &target,
                    error.message(),
                    "name the file that is there",
                );
            }
        };
        // A registry has a certificate authority, a callout replica none.
        let is_registry = text
            .parse::<toml::Table>()
            .is_ok_and(|table| table.contains_key("ca"));
        match is_registry {
            true => self.check_registry_configuration(path, &target),
            false => self.check_callout_configuration(path, &target),
        }
    }

    fn check_callout_configuration(&mut self, path: &Path, target: &str) {
        use leafgate_auth_callout::{Config, Setup};
        let config = match Config::load(path, &self.context.environment) {
            Ok(config) => config,
            Err(error) => return self.unreadable(target, &error),
        };
        let issuers: Vec<PathBuf> = config
            .trust_domains
            .iter()
            .flat_map(|it| it.issuers.clone())
            .collect();
        let own = config.nats.cert_file.clone();
        match Setup::load(config) {
            Ok(setup) => {
                for warning in setup.warnings() {
                    self.report
                        .warn(CHECK, target, warning, "see docs/callout.md");
                }
                self.report
                    .ok(CHECK, target, "a callout replica's, complete");
            }
            Err(error) => self.incomplete(target, &error),
        }
        for file in own.iter().chain(&issuers) {
            self.check_certificate_file("certificate", file);
        }
    }

    fn check_registry_configuration(&mut self, path: &Path, target: &str) {
        use leafgate_registry_api::{CaConfig, Config, Setup};
        let config = match Config::load(path, &self.context.environment) {
            Ok(config) => config,
            Err(error) => return self.unreadable(target, &error),
        };
        let (own, ca) = (config.http.cert_file.clone(), config.ca.clone());
        match Setup::load(config) {
            Ok(_) => self.report.ok(CHECK, target, "a registry's, complete"),
            Err(error) => self.incomplete(target, &error),
        }
        self.check_certificate_file("certificate", &own);
        match ca {
            CaConfig::Dir(ca) => {
                for name in ["root.crt", "devices.crt", "servers.crt"] {
                    self.check_certificate_file("issuer", &ca.join(name));
                }
                self.check_root_crl(&ca.join("root.crl"));
            }
            CaConfig::Vault(vault) => {
                if let Some(root) = &vault.root_file {
                    self.check_certificate_file("issuer", root);
                }
            }
        }
    }

    fn check_root_crl(&mut self, path: &Path) {
        let target = path.display().to_string();
        let parsed = std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| SignedList::parse(&bytes).map_err(|error| error.to_string()));
        match parsed {
            Ok(list) => self.judge_list(&target, list.next_update),
            Err(error) => self.report.fail(
                "crl",
                &target,
                error,
                "put the root's last revocation list there; leafgate ca root-crl renews it",
            ),
        }
    }

    fn unreadable(&mut self, target: &str, error: &LoadConfigError) {
        let error = CliError::caused(Exit::Usage, error);
        let remedy = "mend it; the documents say what each key means";
        self.report.fail(CHECK, target, error.message(), remedy);
    }

    fn incomplete(&mut self, target: &str, error: &SetUpError) {
        for problem in error.problems() {
            self.report.fail(
                CHECK,
                target,
                problem,
                "mend it and start the program again",
            );
        }
    }
}
