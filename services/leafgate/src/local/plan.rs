use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use leafgate_identity::{Binding, CnPattern};
use leafgate_nats_config::{
    Accounts, CalloutMode, Certificate, Cluster, DeviceLimits, Host, HubConfig, HubSite, JetStream,
    LeafConfig, Listen, Name, Node, OcspPeer, Replica, ServerAddress, ServerLimits, SubjectPrefix,
    Uplink,
};
use leafgate_nats_jwt::{AccountKey, KeyKind, SigningKey, UserKey};
use leafgate_pki::Intermediate;
use leafgate_processes::{NatsServer, ServerVersion};
use leafgate_registrar::{CertificateKey, Registrar, Service};
use leafgate_registry::Act;

use super::callouts::CalloutFiles;
use super::keys::{
    COMMAND_APPLICATION, COMMAND_LINK, ISSUER, TELEMETRY_APPLICATION, TELEMETRY_LINK, XKEY,
};
use super::options::{ServiceOptions, SiteOptions, TrustDomainOptions};
use super::registry_api::RegistryFiles;
use super::{LocalDir, LocalKeys};

/// The policy that a new site begins with.
const SHIPPED_POLICY: &str = include_str!("../../../../policies/device.toml");

/// Service users that are rendered at least, so that replicas can be added.
pub(super) const REPLICAS_MAX: usize = 8;

/// Replicas of the registry that may log in.
const REGISTRY_REPLICAS: u32 = 1;

/// What the streams of a hub may take, in memory and in files.
const STREAM_BYTES: u64 = 64 << 20;

/// How long the links to the hub may take.
const LINK_LIMIT: Duration = Duration::from_secs(10);

const STREAM_MANAGER: &str = "hub-streams";

/// Everything that has to be known before the first server starts.
pub(super) struct Plan<'a> {
    dir: &'a LocalDir,
    options: &'a SiteOptions,
    registrar: &'a Registrar,
    act: &'a Act,
    keys: LocalKeys,
    site: Name,
    issuer: SigningKey,
    telemetry_link: Arc<SigningKey>,
    command_link: Arc<SigningKey>,
    replicas: Vec<Replica>,
}

impl<'a> Plan<'a> {
    pub(super) async fn new(
        dir: &'a LocalDir,
        options: &'a SiteOptions,
        registrar: &'a Registrar,
        act: &'a Act,
    ) -> anyhow::Result<Self> {
        let keys = LocalKeys::in_folder(&dir.keys());
        Ok(Self {
            site: Name::parse(&options.site)?,
            issuer: keys.signing(ISSUER, KeyKind::Account)?,
            telemetry_link: Arc::new(keys.signing(TELEMETRY_LINK, KeyKind::User)?),
            command_link: Arc::new(keys.signing(COMMAND_LINK, KeyKind::User)?),
            replicas: keys.replicas(u32::try_from(REPLICAS_MAX)?)?,
            keys,
            dir,
            options,
            registrar,
            act,
        })
    }

    pub(super) async fn start_hub(&self) -> anyhow::Result<NatsServer> {
        let streams = self.options.hub_streams;
        let config = HubConfig {
            prefix: SubjectPrefix::default(),
            accounts: Accounts::default(),
            limits: ServerLimits::default(),
            servers_ca_file: self.authority(Intermediate::Servers),
            sites: vec![HubSite {
                name: self.site.clone(),
                telemetry: public(&self.telemetry_link)?,
                commands: public(&self.command_link)?,
                servers_before_2_15_1: self.options.nats_server.version()
                    < ServerVersion::release(2, 15, 1),
            }],
            telemetry_applications: vec![self.keys.user(TELEMETRY_APPLICATION)?],
            command_applications: vec![self.keys.user(COMMAND_APPLICATION)?],
            stream_manager: streams
                .then(|| self.keys.user(STREAM_MANAGER))
                .transpose()?,
            administrator: None,
        };
        let mut node = self.node("hub-1", 0).await?;
        node.leafnode = Some(Listen::free_port(loopback()?));
        if streams {
            node.jetstream = Some(JetStream {
                store_dir: self.dir.nats().join("hub-streams"),
                domain: Name::parse("hub")?,
                max_memory_bytes: STREAM_BYTES,
                max_file_bytes: STREAM_BYTES,
            });
        }
        let file = config.render(&node)?.write_to(&self.dir.nats())?;
        self.start_server("hub-1", &file).await
    }

    pub(super) async fn start_leaves(&self, hub: &NatsServer) -> anyhow::Result<Vec<NatsServer>> {
        let hub_address = hub
            .ports()
            .leafnode
            .context("the hub has no leaf listener")?;
        let curve_key = self
            .options
            .xkey
            .then(|| self.keys.curve(XKEY))
            .transpose()?;
        let config = LeafConfig {
            site: self.site.clone(),
            prefix: SubjectPrefix::default(),
            accounts: Accounts::default(),
            limits: ServerLimits::default(),
            device_limits: DeviceLimits::default(),
            devices_ca_file: self.device_authorities()?,
            servers_ca_file: self.authority(Intermediate::Servers),
            callout: CalloutMode::Enabled {
                issuer: AccountKey::try_from(*self.issuer.public())?,
                xkey: curve_key.map(|key| *key.public()),
            },
            replicas: self.replicas.clone(),
            registry_users: self.keys.registry_replicas(REGISTRY_REPLICAS)?,
            uplink: Some(Uplink {
                hub: vec![hub_address.into()],
                telemetry: self.telemetry_link.clone(),
                commands: self.command_link.clone(),
            }),
            stream_manager: None,
            administrator: None,
            tester: None,
        };
        let mut leaves: Vec<NatsServer> = Vec::new();
        for number in 1..=self.options.leaf_nodes {
            let name = format!("leaf-{number}");
            let port = if number == 1 {
                self.options.device_port
            } else {
                0
            };
            let mut node = self.node(&name, port).await?;
            node.ocsp = self.options.ocsp.then(|| OcspPeer {
                cache_dir: self.dir.nats().join(format!("{name}-ocsp")),
            });
            node.leafnode = self
                .options
                .leafnode_listener
                .then(|| loopback().map(Listen::free_port))
                .transpose()?;
            if self.options.leaf_nodes > 1 {
                let known = leaves.iter().filter_map(|leaf| leaf.ports().cluster);
                node.cluster = Some(Cluster {
                    name: Name::parse(&format!("leaf-{}", self.site))?,
                    listen: Listen::free_port(loopback()?),
                    routes: known.map(ServerAddress::from).collect(),
                    secret: None,
                });
            }
            let file = config.render(&node)?.write_to(&self.dir.nats())?;
            let mut leaf = self.start_server(&name, &file).await?;
            for account in [&config.accounts.telemetry, &config.accounts.commands] {
                let linked = format!("Leafnode connection created for account: {account}");
                leaf.wait_for_log(&linked, LINK_LIMIT).await?;
            }
            leaves.push(leaf);
        }
        Ok(leaves)
    }

    pub(super) async fn callout_files(
        &self,
        leaves: &[NatsServer],
    ) -> anyhow::Result<CalloutFiles> {
        let client = self.client_certificate("callout").await?;
        let ServiceOptions {
            program,
            environment,
        } = self.options.callout.clone();
        Ok(CalloutFiles {
            program,
            environment,
            site: self.options.site.clone(),
            urls: urls(leaves),
            ca_file: self.root_certificate(),
            client_certificate: client.with_extension("crt"),
            client_key: client.with_extension("key"),
            keys: self.keys.clone(),
            xkey: self.options.xkey,
            store: self.options.store_in(self.dir),
            trust_domains: self.trust_domains(),
            policies: self.policies()?,
        })
    }

    pub(super) async fn registry_files(
        &self,
        leaves: &[NatsServer],
        options: &ServiceOptions,
    ) -> anyhow::Result<RegistryFiles> {
        let client = self.client_certificate("registry").await?;
        let server = self.dir.keys().join("registry-api");
        self.issue(server_on_this_machine("registry-api.localhost"), &server)
            .await?;
        let ServiceOptions {
            program,
            environment,
        } = options.clone();
        Ok(RegistryFiles {
            program,
            environment,
            site: self.options.site.clone(),
            urls: urls(leaves),
            ca_file: self.root_certificate(),
            server_certificate: server.with_extension("crt"),
            server_key: server.with_extension("key"),
            client_certificate: client.with_extension("crt"),
            client_key: client.with_extension("key"),
            keys: self.keys.clone(),
            store: self.options.store_in(self.dir),
            ca: self.dir.ca(),
            vault_ca: self.options.vault_ca.clone(),
            trust_domains: self.trust_domains(),
            policies: self.policies()?,
        })
    }

    /// What a service shows to the device listener, as `keys/NAME.{crt,key}`.
    async fn client_certificate(&self, name: &str) -> anyhow::Result<PathBuf> {
        let stem = self.dir.keys().join(name);
        let name = format!("leafgate-{name}");
        self.issue(Service::NatsClient { name }, &stem).await?;
        Ok(stem)
    }

    fn policies(&self) -> anyhow::Result<Vec<PathBuf>> {
        Ok(if self.options.policies.is_empty() {
            vec![own_policy(self.dir)?]
        } else {
            self.options.policies.clone()
        })
    }

    async fn node(&self, name: &str, port: u16) -> anyhow::Result<Node> {
        let stem = self.dir.nats().join(name);
        let service = server_on_this_machine(&format!("{name}.{}.localhost", self.site));
        self.issue(service, &stem).await?;
        Ok(Node {
            server_name: Name::parse(name)?,
            client: match port {
                0 => Listen::free_port(loopback()?),
                port => Listen::on(loopback()?, port),
            },
            leafnode: None,
            monitoring: None,
            ports_file_dir: Some(self.dir.nats()),
            certificate: Certificate {
                cert_file: stem.with_extension("crt"),
                key_file: stem.with_extension("key"),
            },
            cluster: None,
            jetstream: None,
            ocsp: None,
        })
    }

    /// Writes a new certificate with its chain, and its key, to `stem.crt` and `stem.key`.
    async fn issue(&self, service: Service, stem: &Path) -> anyhow::Result<()> {
        let credentials = self
            .registrar
            .issue_service_certificate(&service, CertificateKey::New, self.act)
            .await?;
        let key = credentials.private_key_pem.context("no key was made")?;
        super::write_credentials(stem, &credentials.issued.chain_pem, &key)
    }

    pub(super) async fn start_server(
        &self,
        name: &str,
        config: &Path,
    ) -> anyhow::Result<NatsServer> {
        let log = self.dir.logs().join(format!("{name}.log"));
        let binary = &self.options.nats_server;
        Ok(NatsServer::start(name, binary, config, &log, &self.dir.nats()).await?)
    }

    /// The site's own trust domain, then the others.
    fn trust_domains(&self) -> Vec<TrustDomainOptions> {
        let own = TrustDomainOptions {
            name: super::TRUST_DOMAIN.to_owned(),
            issuer: self.authority(Intermediate::Devices),
            cn_pattern: CnPattern::DEFAULT.to_owned(),
            binding: Binding::Issued,
        };
        std::iter::once(own)
            .chain(self.options.trust_domains.iter().cloned())
            .collect()
    }

    /// What the device listener trusts: the issuers of every trust domain in one file.
    fn device_authorities(&self) -> anyhow::Result<PathBuf> {
        if self.options.trust_domains.is_empty() {
            return Ok(self.authority(Intermediate::Devices));
        }
        let mut bundle = String::new();
        for domain in self.trust_domains() {
            bundle += &fs::read_to_string(&domain.issuer)
                .with_context(|| format!("can't read {}", domain.issuer.display()))?;
        }
        let path = self.dir.nats().join("devices-ca.crt");
        fs::write(&path, bundle).with_context(|| format!("can't write {}", path.display()))?;
        Ok(path)
    }

    fn root_certificate(&self) -> PathBuf {
        self.dir.ca().join("root.crt")
    }

    fn authority(&self, intermediate: Intermediate) -> PathBuf {
        self.dir.ca().join(format!("{intermediate}.crt"))
    }
}

fn own_policy(dir: &LocalDir) -> anyhow::Result<PathBuf> {
    let path = dir.root().join("policy.toml");
    if !path.exists() {
        fs::write(&path, SHIPPED_POLICY)
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(path)
}

fn urls(leaves: &[NatsServer]) -> Vec<String> {
    let url = |leaf: &NatsServer| format!("tls://{}", leaf.ports().client);
    leaves.iter().map(url).collect()
}

fn server_on_this_machine(name: &str) -> Service {
    Service::NatsServer {
        dns_names: vec![name.to_owned(), "localhost".to_owned()],
        ip_addresses: vec![Ipv4Addr::LOCALHOST.into()],
    }
}

fn public(key: &SigningKey) -> anyhow::Result<UserKey> {
    Ok(UserKey::try_from(*key.public())?)
}

fn loopback() -> anyhow::Result<Host> {
    Ok(Host::parse(&Ipv4Addr::LOCALHOST.to_string())?)
}
