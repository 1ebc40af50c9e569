use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use leafgate_runtime::StoreConfig;
use serde::Serialize;

use super::keys::{ISSUER, XKEY, auth_seed, system_seed};
use super::sections::{StoreSection, TrustDomainSection};
use super::{LocalDir, LocalKeys, ServiceProcess, TrustDomainOptions};

/// What every callout replica of a site is configured with.
#[derive(Debug, Clone)]
pub(super) struct CalloutFiles {
    pub(super) program: PathBuf,
    pub(super) site: String,
    pub(super) urls: Vec<String>,
    pub(super) ca_file: PathBuf,
    pub(super) client_certificate: PathBuf,
    pub(super) client_key: PathBuf,
    pub(super) keys: LocalKeys,
    pub(super) xkey: bool,
    pub(super) store: StoreConfig,
    pub(super) trust_domains: Vec<TrustDomainOptions>,
    pub(super) policies: Vec<PathBuf>,
    pub(super) environment: Vec<(String, String)>,
}

impl CalloutFiles {
    /// Starts the replica with this ordinal.
    pub(super) async fn start(
        &self,
        dir: &LocalDir,
        ordinal: usize,
    ) -> anyhow::Result<ServiceProcess> {
        let name = format!("callout-{ordinal}");
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(self.write(dir, ordinal)?)
            .envs(self.environment.iter().cloned());
        ServiceProcess::start(&name, command, &dir.logs().join(format!("{name}.log"))).await
    }

    pub(super) fn write(&self, dir: &LocalDir, ordinal: usize) -> anyhow::Result<PathBuf> {
        let name = format!("callout-{ordinal}");
        let path = dir.callout().join(format!("{name}.toml"));
        fs::write(&path, self.render(&name)?)
            .with_context(|| format!("can't write {}", path.display()))?;
        Ok(path)
    }

    fn render(&self, name: &str) -> anyhow::Result<String> {
        #[derive(Serialize)]
        struct File<'a> {
            site: &'a str,
            replica: &'a str,
            nats: Nats<'a>,
            system: System,
            store: StoreSection<'a>,
            trust_domain: Vec<TrustDomainSection<'a>>,
            http: Http,
        }
        #[derive(Serialize)]
        struct Nats<'a> {
            urls: &'a [String],
            ca_file: &'a PathBuf,
            cert_file: &'a PathBuf,
            key_file: &'a PathBuf,
            nkey_seed_file: PathBuf,
            issuer_seed_file: PathBuf,
            #[serde(skip_serializing_if = "Option::is_none")]
            xkey_seed_file: Option<PathBuf>,
        }
        #[derive(Serialize)]
        struct System {
            nkey_seed_file: PathBuf,
        }
        #[derive(Serialize)]
        struct Http {
            listen: &'static str,
        }
        let file = File {
            site: &self.site,
            replica: name,
            nats: Nats {
                urls: &self.urls,
                ca_file: &self.ca_file,
                cert_file: &self.client_certificate,
                key_file: &self.client_key,
                nkey_seed_file: self.keys.path(&auth_seed(name)),
                issuer_seed_file: self.keys.path(ISSUER),
                xkey_seed_file: self.xkey.then(|| self.keys.path(XKEY)),
            },
            system: System {
                nkey_seed_file: self.keys.path(&system_seed(name)),
            },
            store: StoreSection::of(&self.store),
            trust_domain: TrustDomainSection::of(&self.trust_domains, &self.policies),
            http: Http {
                listen: "127.0.0.1:0",
            },
        };
        Ok(toml::to_string(&file)?)
    }
}
