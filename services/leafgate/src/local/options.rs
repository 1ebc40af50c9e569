use std::path::PathBuf;

use leafgate_identity::Binding;
use leafgate_processes::NatsServerBinary;
use leafgate_runtime::{Environment, StoreConfig};

use super::LocalDir;

/// What a local site is made of.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// Its name: `{site}`, and what the hub sees its devices under.
    pub site: String,
    /// The nats-server to run.
    pub nats_server: NatsServerBinary,
    /// The `leafgate-callout` to run.
    pub callout: ServiceOptions,
    /// The `leafgate-registry` to run; none for a site that is administered past it.
    pub registry: Option<ServiceOptions>,
    /// The registry; none for the folder's own, in SQLite.
    pub store: Option<StoreConfig>,
    /// Whether Vault's PKI engine signs what the registry API issues, and where its root's certificate is; the site's own
    /// certificates are always its own authorities'.
    pub vault_ca: Option<PathBuf>,
    /// Where devices connect; 0 for any free port.
    pub device_port: u16,
    /// Servers of the leaf cluster.
    pub leaf_nodes: usize,
    /// Callout replicas.
    pub replicas: usize,
    /// Whether requests to the callout are sealed.
    pub xkey: bool,
    /// Policy files in order; none for the folder's own, which begins as the shipped one.
    pub policies: Vec<PathBuf>,
    /// A listener for leaf nodes that trusts what the device listener trusts, so that leaf nodes
    /// of devices are refused by policy, not by TLS.
    pub leafnode_listener: bool,
    /// Further trust domains.
    pub trust_domains: Vec<TrustDomainOptions>,
    /// Whether devices' certificates are checked by OCSP at the handshake.
    pub ocsp: bool,
    /// Whether the hub keeps streams of telemetry, with a user `hub-streams` who manages them.
    pub hub_streams: bool,
}

/// One of leafgate's services, to be run.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// The program.
    pub program: PathBuf,
    /// Variables of its environment, besides those of this process.
    pub environment: Vec<(String, String)>,
}

/// A trust domain beside the site's own. Domains of one name are one, with several issuers.
#[derive(Debug, Clone)]
pub struct TrustDomainOptions {
    /// Its name.
    pub name: String,
    /// The certificate of its issuer; the device listener trusts it too.
    pub issuer: PathBuf,
    /// The form of its devices' names.
    pub cn_pattern: String,
    /// What ties its devices to their certificates.
    pub binding: Binding,
}

impl SiteOptions {
    /// One leaf node and one callout replica on free ports, with sealed requests and without registry API.
    pub fn new(site: &str, nats_server: NatsServerBinary, callout_program: PathBuf) -> Self {
        Self {
            site: site.to_owned(),
            nats_server,
            callout: ServiceOptions::new(callout_program),
            registry: None,
            store: None,
            vault_ca: None,
            device_port: 0,
            leaf_nodes: 1,
            replicas: 1,
            xkey: true,
            policies: Vec::new(),
            leafnode_listener: false,
            trust_domains: Vec::new(),
            ocsp: false,
            hub_streams: false,
        }
    }
}

impl SiteOptions {
    /// What the registry finds in its environment besides that of this process.
    pub(super) fn registry_environment(&self) -> Environment {
        let variables = self
            .registry
            .iter()
            .flat_map(|registry| &registry.environment);
        variables.cloned().collect()
    }

    pub(super) fn store_in(&self, dir: &LocalDir) -> StoreConfig {
        self.store.clone().unwrap_or_else(|| StoreConfig {
            url: format!("sqlite:{}", dir.registry().display()),
            password_file: None,
            ca_file: None,
        })
    }
}

impl ServiceOptions {
    /// The program with the environment of this process.
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            environment: Vec::new(),
        }
    }
}
