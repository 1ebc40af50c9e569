use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leafgate_runtime::{
    Environment, LoadConfigError, LogConfig, StoreConfig, TrustDomainConfig, VaultConfig,
    load_config, subject_prefix,
};
use leafgate_sessions::SystemConfig;
use serde::Deserialize;

/// The configuration of a callout replica, as written. Paths are relative to the file's folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The site that this leaf cluster serves: `{site}` in policies, and what a device's own site
    /// must equal.
    pub site: String,
    /// This replica's name, unique in the cluster; its private inbox is `_INBOX.<replica>.>`.
    pub replica: String,
    /// `{prefix}` in policies; without it what `DEVICE_SUBJECT_PREFIX` says, or `device`.
    #[serde(default)]
    pub subject_prefix: String,
    /// The connection that requests come over, and the keys that answers are signed with.
    pub nats: NatsConfig,
    /// The connection to the system account.
    pub system: Option<SystemConfig>,
    /// The registry.
    pub store: StoreConfig,
    /// Vault, if the registry is there.
    pub vault: Option<VaultConfig>,
    /// Which issuers name devices, and how.
    #[serde(rename = "trust_domain")]
    pub trust_domains: Vec<TrustDomainConfig>,
    /// Probes and metrics.
    #[serde(default)]
    pub http: HttpConfig,
    /// Logging.
    #[serde(default)]
    pub log: LogConfig,
    /// Bounds on time, memory and work.
    #[serde(default)]
    pub limits: LimitsConfig,
}

/// `[nats]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// The leaf cluster's servers, `tls://host:4222`.
    pub urls: Vec<String>,
    /// What verifies the servers' certificates; none for plain TCP.
    pub ca_file: Option<PathBuf>,
    /// The certificate (profile `nats-client`) that the device listener asks for.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// The nkey seed (`SU…`) of this replica's user in the AUTH account.
    pub nkey_seed_file: PathBuf,
    /// The seed (`SA…`) of `auth_callout.issuer`.
    pub issuer_seed_file: PathBuf,
    /// The seed (`SX…`) of `auth_callout.xkey`; requests in the clear are then refused.
    pub xkey_seed_file: Option<PathBuf>,
    /// Worker threads, each with a connection of its own; 0 for half the cores, since a log-in
    /// costs nats-server many times what it costs the callout, and fuller batches cost less.
    #[serde(default)]
    pub workers: usize,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where `/health`, `/livez`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// From a request's receipt to its answer, in milliseconds. nats-server's own PING breaks the
    /// client's handshake from 2 s on.
    pub deadline_ms: u64,
    /// Requests that may wait in one worker; the oldest give way.
    pub waiting_requests: usize,
    /// Requests of one worker that may wait for the store or the system account at once.
    pub concurrent_lookups: usize,
    /// Device records kept in memory.
    pub cached_devices: usize,
    /// How long known devices are let in while the registry can't be read, in seconds; 0 for not
    /// at all.
    pub serve_stale_secs: u64,
    /// How often live connections are compared with the registry, in seconds.
    pub sweep_secs: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 9090)),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            deadline_ms: 1_200,
            waiting_requests: 8_192,
            concurrent_lookups: 256,
            cached_devices: 200_000,
            serve_stale_secs: 3_600,
            sweep_secs: 60,
        }
    }
}

impl Config {
    /// Reads the file and lays the environment over it.
    ///
    /// # Errors
    /// [`LoadConfigError`] with file and line.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, LoadConfigError> {
        let mut config: Self = load_config(path, environment)?;
        let configured = Some(config.subject_prefix.as_str()).filter(|text| !text.is_empty());
        config.subject_prefix = subject_prefix(configured, environment);
        config.resolve_paths(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    fn resolve_paths(&mut self, folder: &Path) {
        let nats = &mut self.nats;
        let optional = [
            &mut nats.ca_file,
            &mut nats.cert_file,
            &mut nats.key_file,
            &mut nats.xkey_seed_file,
        ];
        let plain = [&mut nats.nkey_seed_file, &mut nats.issuer_seed_file];
        optional
            .into_iter()
            .flatten()
            .chain(plain)
            .for_each(|path| *path = folder.join(&*path));
        if let Some(system) = &mut self.system {
            system.resolve_paths(folder);
        }
        for domain in &mut self.trust_domains {
            domain.resolve_paths(folder);
        }
        if let Some(vault) = &mut self.vault {
            vault.resolve_paths(folder);
        }
        self.store.resolve_paths(folder);
    }
}

impl LimitsConfig {
    /// From a request's receipt to its answer.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// How long known devices are let in while the registry can't be read.
    pub fn serve_stale(&self) -> Duration {
        Duration::from_secs(self.serve_stale_secs)
    }
    /// How often live connections are compared with the registry.
    pub fn sweep_every(&self) -> Duration {
        Duration::from_secs(self.sweep_secs)
    }
}
