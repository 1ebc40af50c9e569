use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use leafgate_access::{ApiKeyText, Authority, NewApiKey, Role, Scope};
use leafgate_identity::UnixMs;
use leafgate_pki::{CaDirectory, Intermediate, Issuer, StatusUrl, StatusUrls};
use leafgate_registrar::Registrar;
use leafgate_registry::Act;
use leafgate_runtime::{StoreConfig, read_secret};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::files::Draft;
use super::keys::{auth_seed, devices_seed, system_seed};
use super::sections::{StoreSection, TrustDomainSection};
use super::{LocalDir, LocalKeys, ServiceProcess, TrustDomainOptions};

/// The name of the one replica of the registry.
const REPLICA: &str = "registry-0";

/// How long the administrator's key counts. A new one takes its place at the next start.
const ADMIN_KEY_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// What the registry of a site is configured with.
#[derive(Debug, Clone)]
pub(super) struct RegistryFiles {
    pub(super) program: PathBuf,
    pub(super) site: String,
    pub(super) urls: Vec<String>,
    pub(super) ca_file: PathBuf,
    pub(super) server_certificate: PathBuf,
    pub(super) server_key: PathBuf,
    pub(super) client_certificate: PathBuf,
    pub(super) client_key: PathBuf,
    pub(super) keys: LocalKeys,
    pub(super) store: StoreConfig,
    pub(super) ca: PathBuf,
    /// The certificate of Vault's root, if Vault signs instead.
    pub(super) vault_ca: Option<PathBuf>,
    pub(super) trust_domains: Vec<TrustDomainOptions>,
    pub(super) policies: Vec<PathBuf>,
    pub(super) environment: Vec<(String, String)>,
}

/// A running registry.
#[derive(Debug)]
pub struct RegistryProcess {
    /// The program.
    pub process: ServiceProcess,
    /// Where its API is, `https://localhost:…`.
    pub url: String,
    /// Where the status of devices' certificates is.
    pub device_status: StatusUrls,
}

impl RegistryFiles {
    /// Starts the registry. It takes the ports that it had before, if they are free, because certificates name one.
    pub(super) async fn start(&self, dir: &LocalDir) -> anyhow::Result<RegistryProcess> {
        let config = dir.registry_config();
        let last = LastPorts::read(&config);
        // Both are held until both are found, or they could be one.
        let held = [listen_on(last.api)?, listen_on(last.status)?];
        let [api, status] = [held[0].local_addr()?, held[1].local_addr()?];
        drop(held);
        let status_url = StatusUrl::parse(&format!("http://{status}"))?;
        let issuer = CaDirectory::open(&self.ca)?.load(Intermediate::Devices)?;
        let text = self.render(api, status, status_url.as_str())?;
        Draft::public(&config)
            .and_then(|draft| draft.publish(&text))
            .with_context(|| format!("can't write {}", config.display()))?;
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(&config)
            .envs(self.environment.iter().cloned());
        let log = dir.logs().join("registry.log");
        let process = ServiceProcess::start("registry", command, &log).await?;
        Ok(RegistryProcess {
            process,
            url: format!("https://localhost:{}", api.port()),
            device_status: StatusUrls::under(&status_url, issuer.spki()),
        })
    }

    fn render(
        &self,
        api: SocketAddr,
        status: SocketAddr,
        status_url: &str,
    ) -> anyhow::Result<String> {
        #[derive(Serialize)]
        struct File<'a> {
            http: Http<'a>,
            status: Status<'a>,
            health: Health,
            store: StoreSection<'a>,
            ca: Ca<'a>,
            policy: Policy<'a>,
            nats: Nats<'a>,
            system: System,
            trust_domain: Vec<TrustDomainSection<'a>>,
        }
        #[derive(Serialize)]
        struct Http<'a> {
            listen: SocketAddr,
            cert_file: &'a PathBuf,
            key_file: &'a PathBuf,
        }
        #[derive(Serialize)]
        struct Status<'a> {
            listen: SocketAddr,
            url: &'a str,
        }
        #[derive(Serialize)]
        struct Health {
            listen: &'static str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "snake_case")]
        enum Ca<'a> {
            Dir(&'a PathBuf),
            Vault { root_file: &'a PathBuf },
        }
        #[derive(Serialize)]
        struct Policy<'a> {
            site: &'a str,
        }
        #[derive(Serialize)]
        struct Nats<'a> {
            replica: &'a str,
            urls: &'a [String],
            ca_file: &'a PathBuf,
            cert_file: &'a PathBuf,
            key_file: &'a PathBuf,
            nkey_seed_file: PathBuf,
            devices_nkey_seed_file: PathBuf,
        }
        #[derive(Serialize)]
        struct System {
            nkey_seed_file: PathBuf,
        }
        let file = File {
            http: Http {
                listen: api,
                cert_file: &self.server_certificate,
                key_file: &self.server_key,
            },
            status: Status {
                listen: status,
                url: status_url,
            },
            health: Health {
                listen: "127.0.0.1:0",
            },
            store: StoreSection::of(&self.store),
            ca: match &self.vault_ca {
                Some(root_file) => Ca::Vault { root_file },
                None => Ca::Dir(&self.ca),
            },
            policy: Policy { site: &self.site },
            nats: Nats {
                replica: REPLICA,
                urls: &self.urls,
                ca_file: &self.ca_file,
                cert_file: &self.client_certificate,
                key_file: &self.client_key,
                nkey_seed_file: self.keys.path(&auth_seed(REPLICA)),
                devices_nkey_seed_file: self.keys.path(&devices_seed(REPLICA)),
            },
            system: System {
                nkey_seed_file: self.keys.path(&system_seed(REPLICA)),
            },
            trust_domain: TrustDomainSection::of(&self.trust_domains, &self.policies),
        };
        Ok(toml::to_string(&file)?)
    }
}

/// The ports of the configuration that an earlier start has left.
#[derive(Default)]
struct LastPorts {
    api: u16,
    status: u16,
}

impl LastPorts {
    /// Whatever can't be read leaves the choice of the ports to the system.
    fn read(config: &Path) -> Self {
        let text = fs::read_to_string(config).unwrap_or_default();
        let file: toml::Table = toml::from_str(&text).unwrap_or_default();
        let port = |section: &str| {
            let listen = file.get(section)?.get("listen")?.as_str()?;
            Some(listen.parse::<SocketAddr>().ok()?.port())
        };
        Self {
            api: port("http").unwrap_or(0),
            status: port("status").unwrap_or(0),
        }
    }
}

/// On this port of this machine if it is free, else on another.
fn listen_on(port: u16) -> anyhow::Result<TcpListener> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    bind(port)
        .or_else(|_| bind(0))
        .context("no free port on this machine")
}

/// Sees to it that `path` holds a key for the API that may do everything.
pub(super) async fn keep_admin_key(
    registrar: &Registrar,
    path: &Path,
    act: &Act,
) -> anyhow::Result<()> {
    if path.exists() && counts(registrar, path, act.at).await? {
        return Ok(());
    }
    let unwritable = || format!("can't write {}", path.display());
    let draft = Draft::private(path).with_context(unwritable)?;
    let new = NewApiKey {
        name: "local-site".to_owned(),
        authority: Authority {
            roles: [Role::Admin].into_iter().collect(),
            scope: Scope::everything(),
        },
        created_by: act.actor.to_string(),
        expires_at: act.at.saturating_add(ADMIN_KEY_LIFETIME),
    };
    let (_, text) = registrar.create_api_key(new, act).await?;
    let text = text.expose();
    draft
        .publish(&format!("{}\n", text.expose_secret()))
        .with_context(unwritable)
}

async fn counts(registrar: &Registrar, path: &Path, now: UnixMs) -> anyhow::Result<bool> {
    let text = read_secret(path)?;
    let Ok(presented) = ApiKeyText::parse(text.expose_secret().trim()) else {
        return Ok(false);
    };
    let key = registrar.api_key(&presented.id).await?;
    Ok(key.is_some_and(|key| key.is(&presented) && key.counts(now)))
}
