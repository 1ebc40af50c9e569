use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leafgate_policy::IpNetwork;
use leafgate_registrar::IssuanceLimits;
use leafgate_runtime::{
    Environment, LoadConfigError, LogConfig, StoreConfig, TrustDomainConfig, VaultConfig,
    load_config, subject_prefix,
};
use leafgate_sessions::SystemConfig;
use serde::Deserialize;

use crate::checkpoints::AuditConfig;
use crate::clients::ClientsConfig;
use crate::nats::NatsConfig;
use crate::oidc::OidcConfig;
use crate::status::StatusSettings;

/// The configuration of a registry API, as written. Paths are relative to the file's folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The API itself, over TLS.
    pub http: HttpConfig,
    /// Revocation lists and status, over plain HTTP.
    #[serde(default)]
    pub status: StatusConfig,
    /// Probes and metrics.
    #[serde(default)]
    pub health: HealthConfig,
    /// The registry.
    pub store: StoreConfig,
    /// Vault, if the registry or the certificate authority is there.
    pub vault: Option<VaultConfig>,
    /// Which issuers name devices, and how.
    #[serde(rename = "trust_domain")]
    pub trust_domains: Vec<TrustDomainConfig>,
    /// The certificate authority.
    pub ca: CaConfig,
    /// What the callout decides by; without it nobody can ask why a device is refused.
    pub policy: Option<PolicyConfig>,
    /// Log-in of people by access tokens; without it only API keys count.
    pub oidc: Option<OidcConfig>,
    /// Log-in of scripts by certificates from a CA of its own; without it there is none.
    pub clients: Option<ClientsConfig>,
    /// Signed checkpoints of the audit trail; without it there are none.
    pub audit: Option<AuditConfig>,
    /// The leaf cluster; without it nothing is heard of log-ins.
    pub nats: Option<NatsConfig>,
    /// The connection to its system account, by which sessions are found and ended.
    pub system: Option<SystemConfig>,
    /// Rules about devices' certificates.
    #[serde(default)]
    pub certificates: CertificatesConfig,
    /// Logging.
    #[serde(default)]
    pub log: LogConfig,
    /// Bounds on time, memory and work.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What `[policy]` and the environment say together.
    #[serde(skip)]
    pub(crate) subject_prefix: String,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where the API is served.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The server's certificate with its chain. It is read again when it changes.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// A further address, for proxies that end devices' TLS.
    pub proxied: Option<ProxiedConfig>,
}

/// `[http.proxied]`: where devices' certificates are taken from the header `Client-Cert` (RFC 9440) instead of the TLS
/// connection. Only what devices ask for on their own is served there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxiedConfig {
    /// Where proxies connect, with TLS and the same certificate.
    pub listen: SocketAddr,
    /// The networks that they connect from. They have devices prove that they hold the key of their certificate, and
    /// remove the header from what comes from outside; the last address of `X-Forwarded-For` is the device's.
    pub trusted_proxies: Vec<IpNetwork>,
}

/// `[status]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusConfig {
    /// Where revocation lists and OCSP answers are served.
    pub listen: SocketAddr,
    /// What that is reached under by those who check certificates, `http://pki.example.org:8080`. It is written into
    /// every certificate; without it certificates do not say where their status is to be had.
    pub url: Option<String>,
    /// How long a revocation list is current, in seconds.
    pub crl_lifetime_secs: u64,
    /// How long an OCSP answer is current, in seconds.
    pub ocsp_lifetime_secs: u64,
}

/// `[health]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Where `/health`, `/livez`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
}

/// `[ca]`: what signs, one of the two.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "CaKeys")]
pub enum CaConfig {
    /// `dir`: the folder that `leafgate ca init` made.
    Dir(PathBuf),
    /// `[ca.vault]`: a PKI engine of Vault.
    Vault(VaultCaConfig),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaKeys {
    dir: Option<PathBuf>,
    vault: Option<VaultCaConfig>,
}

impl TryFrom<CaKeys> for CaConfig {
    type Error = &'static str;

    fn try_from(keys: CaKeys) -> Result<Self, Self::Error> {
        match keys {
            CaKeys {
                dir: Some(dir),
                vault: None,
            } => Ok(Self::Dir(dir)),
            CaKeys {
                dir: None,
                vault: Some(vault),
            } => Ok(Self::Vault(vault)),
            CaKeys { dir: Some(_), .. } => {
                Err("[ca] has dir and vault, and one authority signs: take one of them out")
            }
            CaKeys { dir: None, .. } => Err(
                "[ca] needs dir, the folder that leafgate ca init made, or [ca.vault], a PKI engine of Vault",
            ),
        }
    }
}

/// `[ca.vault]`. Where Vault is, and how to log in to it, `[vault]` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaultCaConfig {
    /// Where the engine is mounted.
    pub mount: String,
    /// Where the engine that signs nats-servers is mounted, if it is another one. Then listeners for devices need not
    /// trust servers' certificates.
    pub server_mount: Option<String>,
    /// The issuer's name or id in the engine.
    pub issuer: String,
    /// The role for devices, and clients of their listener.
    pub device_role: String,
    /// The role for nats-servers.
    pub server_role: String,
    /// The role for the key that signs OCSP answers.
    pub ocsp_role: String,
    /// The root's certificate (PEM), where the engine doesn't have the whole chain.
    pub root_file: Option<PathBuf>,
}

impl Default for VaultCaConfig {
    fn default() -> Self {
        Self {
            mount: "pki-int".to_owned(),
            server_mount: None,
            issuer: "default".to_owned(),
            device_role: "device-mtls".to_owned(),
            server_role: "nats-cluster".to_owned(),
            ocsp_role: "ocsp-responder".to_owned(),
            root_file: None,
        }
    }
}

impl CaConfig {
    /// The engine of Vault, if one signs.
    pub fn as_vault(&self) -> Option<&VaultCaConfig> {
        match self {
            Self::Dir(_) => None,
            Self::Vault(vault) => Some(vault),
        }
    }
}

/// `[policy]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The site that a device is thought to log in at, where who asks names none.
    pub site: String,
    /// `{prefix}` in policies; without it what `DEVICE_SUBJECT_PREFIX` says, or `device`.
    pub subject_prefix: Option<String>,
}

/// `[certificates]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CertificatesConfig {
    /// How long an older certificate counts beside a newer one, in seconds.
    pub overlap_secs: u64,
    /// How long after its end a device can renew a certificate with it, in seconds.
    pub renew_grace_secs: u64,
    /// How many certificates of one device may be in use at a time.
    pub max_in_use: usize,
    /// How many certificates one device gets within 24 hours.
    pub max_per_day: usize,
    /// How long an issuer must have been prepared before it is activated, in seconds: for all listeners and callouts to
    /// come to know it.
    pub activate_after_secs: u64,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// Requests that are worked on at a time; more are refused with 503.
    pub requests: usize,
    /// Streams of events at a time; more are refused with 503.
    pub event_streams: usize,
    /// Imports, exports and changes of many devices at a time; more are refused with 503.
    pub bulk_requests: usize,
    /// How long the TLS handshake and each request's head may take, in seconds.
    pub header_timeout_secs: u64,
    /// How long a request's body may take, in seconds.
    pub body_timeout_secs: u64,
    /// How long requests may go on when the service is to end, in seconds.
    pub drain_secs: u64,
}

impl Default for StatusConfig {
    fn default() -> Self {
        Self {
            listen: any_address(8080),
            url: None,
            crl_lifetime_secs: 24 * 3600,
            ocsp_lifetime_secs: 600,
        }
    }
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            listen: any_address(9091),
        }
    }
}

impl Default for CertificatesConfig {
    fn default() -> Self {
        Self {
            overlap_secs: 24 * 3600,
            renew_grace_secs: 90 * 24 * 3600,
            max_in_use: IssuanceLimits::default().in_use,
            max_per_day: IssuanceLimits::default().per_day,
            activate_after_secs: 24 * 3600,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 4_096,
            requests: 256,
            event_streams: 64,
            bulk_requests: 8,
            header_timeout_secs: 10,
            body_timeout_secs: 30,
            drain_secs: 20,
        }
    }
}

fn default_listen() -> SocketAddr {
    any_address(8443)
}

fn any_address(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

impl Config {
    /// Reads the file and lays the environment over it.
    ///
    /// # Errors
    /// [`LoadConfigError`] with file and line.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, LoadConfigError> {
        let mut config: Self = load_config(path, environment)?;
        let policy = config.policy.as_ref();
        let configured = policy.and_then(|policy| policy.subject_prefix.as_deref());
        config.subject_prefix = subject_prefix(configured, environment);
        config.resolve_paths(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    /// `{prefix}` in policies.
    pub fn subject_prefix(&self) -> &str {
        &self.subject_prefix
    }

    pub(crate) fn status_settings(&self) -> StatusSettings {
        StatusSettings {
            crl_lifetime: Duration::from_secs(self.status.crl_lifetime_secs),
            ocsp_lifetime: Duration::from_secs(self.status.ocsp_lifetime_secs),
            body_timeout: self.limits.body_timeout(),
            ..StatusSettings::default()
        }
    }

    fn resolve_paths(&mut self, folder: &Path) {
        let Self { http, ca, .. } = self;
        let of_ca = match ca {
            CaConfig::Dir(dir) => Some(dir),
            CaConfig::Vault(vault) => vault.root_file.as_mut(),
        };
        let of_http = [&mut http.cert_file, &mut http.key_file];
        for path in of_http.into_iter().chain(of_ca) {
            *path = folder.join(&*path);
        }
        for domain in &mut self.trust_domains {
            domain.resolve_paths(folder);
        }
        if let Some(nats) = &mut self.nats {
            nats.resolve_paths(folder);
        }
        if let Some(system) = &mut self.system {
            system.resolve_paths(folder);
        }
        if let Some(oidc) = &mut self.oidc {
            oidc.resolve_paths(folder);
        }
        if let Some(clients) = &mut self.clients {
            clients.resolve_paths(folder);
        }
        if let Some(audit) = &mut self.audit {
            audit.resolve_paths(folder);
        }
        if let Some(vault) = &mut self.vault {
            vault.resolve_paths(folder);
        }
        self.store.resolve_paths(folder);
    }
}

impl CertificatesConfig {
    /// How long an older certificate counts beside a newer one.
    pub fn overlap(&self) -> Duration {
        Duration::from_secs(self.overlap_secs)
    }

    /// How long after its end a device can renew a certificate with it.
    pub fn renew_grace(&self) -> Duration {
        Duration::from_secs(self.renew_grace_secs)
    }

    /// How long an issuer must have been prepared before it is activated.
    pub fn activate_after(&self) -> Duration {
        Duration::from_secs(self.activate_after_secs)
    }
}

impl CertificatesConfig {
    pub(crate) fn limits(&self) -> IssuanceLimits {
        IssuanceLimits {
            in_use: self.max_in_use,
            per_day: self.max_per_day,
        }
    }
}

impl LimitsConfig {
    /// How long the TLS handshake and each request's head may take.
    pub fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_secs)
    }

    /// How long a request's body may take.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_secs)
    }

    /// How long requests may go on when the service is to end.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_secs)
    }
}
