use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use leafgate_identity::CnPattern;
use leafgate_nats_config::{
    Accounts, CalloutMode, Certificate, Cluster, DeviceLimits, Host, HubConfig, HubSite, JetStream,
    LeafConfig, Listen, Name, Node, Replica, ServerAddress, ServerLimits, SubjectPrefix, Uplink,
};
use leafgate_nats_jwt::{AccountKey, KeyKind, SigningKey, UserKey};
use leafgate_pki::Intermediate;
use leafgate_processes::{NatsServer, NatsServerBinary, ServerVersion};
use leafgate_registrar::{CertificateKey, Registrar, Service};
use leafgate_registry::Act;

use super::callouts::{Callout, CalloutFiles};
use super::endpoints::Endpoints;
use super::registrar::open_registrar;
use super::{LocalDir, LocalKeys};

/// The policy that a new site begins with.
const SHIPPED_POLICY: &str = include_str!("../../../../policies/device.toml");

/// Service users that are rendered at least, so that replicas can be added.
const REPLICAS_MAX: usize = 8;

/// What the streams of a hub may take, in memory and in files.
const STREAM_BYTES: u64 = 64 << 20;

/// How long the links to the hub may take.
const LINK_LIMIT: Duration = Duration::from_secs(10);

/// How long a part may take to end in order before it is ended.
const GRACE: Duration = Duration::from_secs(2);

/// What a local site is made of.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// Its name: `{site}`, and what the hub sees its devices under.
    pub site: String,
    /// The nats-server to run.
    pub nats_server: NatsServerBinary,
    /// The `leafgate-callout` to run.
    pub callout_program: PathBuf,
    /// Variables of its environment, besides those of this process.
    pub callout_environment: Vec<(String, String)>,
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
    /// Whether the hub keeps streams of telemetry, with a user `hub-streams` who manages them.
    pub hub_streams: bool,
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
}

impl SiteOptions {
    /// One leaf node and one callout replica on free ports, with sealed requests.
    pub fn new(site: &str, nats_server: NatsServerBinary, callout_program: PathBuf) -> Self {
        Self {
            site: site.to_owned(),
            nats_server,
            callout_program,
            callout_environment: Vec::new(),
            device_port: 0,
            leaf_nodes: 1,
            replicas: 1,
            xkey: true,
            policies: Vec::new(),
            leafnode_listener: false,
            trust_domains: Vec::new(),
            hub_streams: false,
        }
    }
}

/// A hub, a leaf cluster linked to it, and callout replicas, all running.
#[derive(Debug)]
pub struct LocalSite {
    dir: LocalDir,
    nats_server: NatsServerBinary,
    hub: NatsServer,
    leaves: Vec<NatsServer>,
    callouts: Vec<Callout>,
    files: CalloutFiles,
}

impl LocalSite {
    /// Starts everything in `dir` and waits until devices can log in. What an earlier site left
    /// there lives on: registry, authorities and keys.
    ///
    /// # Errors
    /// Which part did not start and why, with the end of its log.
    pub async fn start(dir: LocalDir, options: &SiteOptions, act: &Act) -> anyhow::Result<Self> {
        ensure!(
            options.replicas <= REPLICAS_MAX,
            "at most {REPLICAS_MAX} callout replicas can be run here, not {}",
            options.replicas
        );
        ensure!(options.leaf_nodes >= 1, "at least one leaf node is needed");
        let registrar = open_registrar(&dir, act).await?;
        let plan = Plan::new(&dir, options, &registrar, act).await?;
        let hub = plan.start_hub().await?;
        let leaves = plan.start_leaves(&hub).await?;
        let files = plan.callout_files(&leaves).await?;
        let mut callouts = Vec::new();
        for ordinal in 0..options.replicas {
            callouts.push(files.start(&dir, ordinal).await?);
        }
        let site = Self {
            dir,
            nats_server: options.nats_server.clone(),
            hub,
            leaves,
            callouts,
            files,
        };
        site.endpoints().write(&site.dir.endpoints())?;
        Ok(site)
    }

    /// Where everything can be reached.
    pub fn endpoints(&self) -> Endpoints {
        let keys = LocalKeys::in_folder(&self.dir.keys());
        Endpoints {
            device_url: format!("tls://{}", self.leaves[0].ports().client),
            hub_url: format!("tls://{}", self.hub.ports().client),
            hub_telemetry_nkey_file: keys.path(TELEMETRY_APPLICATION),
            hub_command_nkey_file: keys.path(COMMAND_APPLICATION),
            hub_command_inbox_prefix: leafgate_nats_config::subjects::COMMAND_INBOX_PREFIX
                .to_owned(),
            ca_file: self.dir.ca().join("root.crt"),
            health_url: self
                .callouts
                .first()
                .map(|callout| format!("http://{}/health", callout.health())),
            pids: super::endpoints::Pids {
                hub: self.hub.pid(),
                leaf: self.leaves.iter().map(NatsServer::pid).collect(),
                callout: self.callouts.iter().map(Callout::pid).collect(),
            },
        }
    }

    /// Its folder.
    pub fn dir(&self) -> &LocalDir {
        &self.dir
    }

    /// The callout replicas.
    pub fn callouts(&mut self) -> &mut [Callout] {
        &mut self.callouts
    }

    /// The servers of the leaf cluster.
    pub fn leaves(&mut self) -> &mut [NatsServer] {
        &mut self.leaves
    }

    /// Writes the configuration of the replica with this ordinal, for one that is started by other
    /// means, and returns its path.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write_callout_config(&self, ordinal: usize) -> anyhow::Result<PathBuf> {
        self.files.write(&self.dir, ordinal)
    }

    /// Starts the replica with this ordinal again, after it has ended.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn restart_callout(&mut self, ordinal: usize) -> anyhow::Result<()> {
        self.callouts[ordinal] = self.files.start(&self.dir, ordinal).await?;
        Ok(())
    }

    /// Starts a server of the leaf cluster again, after it has ended. Where it listened on a free
    /// port it takes another one.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn restart_leaf(&mut self, ordinal: usize) -> anyhow::Result<()> {
        let name = self.leaves[ordinal].child().name().to_owned();
        let nats = self.dir.nats();
        let config = nats.join(format!("{name}.conf"));
        let log = self.dir.logs().join(format!("{name}.log"));
        self.leaves[ordinal] =
            NatsServer::start(&name, &self.nats_server, &config, &log, &nats).await?;
        Ok(())
    }

    /// Ends everything in order: callouts drain, then the servers leave.
    ///
    /// # Errors
    /// What could not be ended.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for callout in &mut self.callouts {
            callout.stop(GRACE).await?;
        }
        for leaf in &mut self.leaves {
            leaf.stop(GRACE).await?;
        }
        self.hub.stop(GRACE).await?;
        fs::remove_file(self.dir.endpoints()).context("endpoints.json")
    }

    /// Returns when a part has ended by itself, with what its log says last.
    pub async fn watch(&mut self) -> anyhow::Error {
        let hub = std::iter::once(self.hub.child_mut());
        let leaves = self.leaves.iter_mut().map(NatsServer::child_mut);
        let callouts = self.callouts.iter_mut().map(Callout::child_mut);
        let ends = hub.chain(leaves).chain(callouts).map(|child| {
            Box::pin(async move {
                let status = child.wait().await;
                let said = child.log().tail(5);
                anyhow::anyhow!("{} ended by itself ({status:?}):\n{said}", child.name())
            })
        });
        futures::future::select_all(ends).await.0
    }
}

const TELEMETRY_APPLICATION: &str = "hub-telemetry";
const COMMAND_APPLICATION: &str = "hub-command";
const STREAM_MANAGER: &str = "hub-streams";

/// Everything that has to be known before the first server starts.
struct Plan<'a> {
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
    async fn new(
        dir: &'a LocalDir,
        options: &'a SiteOptions,
        registrar: &'a Registrar,
        act: &'a Act,
    ) -> anyhow::Result<Self> {
        let keys = LocalKeys::in_folder(&dir.keys());
        let replicas = (0..REPLICAS_MAX)
            .map(|ordinal| {
                let name = Replica::default_name(u32::try_from(ordinal)?);
                Ok(Replica {
                    auth: user_key(&keys, &format!("{name}-auth"))?,
                    system: user_key(&keys, &format!("{name}-system"))?,
                    name,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            site: Name::parse(&options.site)?,
            issuer: keys.signing("callout-issuer", KeyKind::Account)?,
            telemetry_link: Arc::new(keys.signing("uplink-telemetry", KeyKind::User)?),
            command_link: Arc::new(keys.signing("uplink-commands", KeyKind::User)?),
            replicas,
            keys,
            dir,
            options,
            registrar,
            act,
        })
    }

    async fn start_hub(&self) -> anyhow::Result<NatsServer> {
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
            telemetry_applications: vec![user_key(&self.keys, TELEMETRY_APPLICATION)?],
            command_applications: vec![user_key(&self.keys, COMMAND_APPLICATION)?],
            stream_manager: streams
                .then(|| user_key(&self.keys, STREAM_MANAGER))
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

    async fn start_leaves(&self, hub: &NatsServer) -> anyhow::Result<Vec<NatsServer>> {
        let hub_address = hub
            .ports()
            .leafnode
            .context("the hub has no leaf listener")?;
        let curve_key = self
            .options
            .xkey
            .then(|| self.keys.curve("callout-xkey"))
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

    async fn callout_files(&self, leaves: &[NatsServer]) -> anyhow::Result<CalloutFiles> {
        let client = self.dir.keys().join("callout");
        let name = "leafgate-callout".to_owned();
        self.issue(Service::NatsClient { name }, &client).await?;
        let policies = if self.options.policies.is_empty() {
            vec![own_policy(self.dir)?]
        } else {
            self.options.policies.clone()
        };
        Ok(CalloutFiles {
            program: self.options.callout_program.clone(),
            site: self.options.site.clone(),
            urls: leaves
                .iter()
                .map(|leaf| format!("tls://{}", leaf.ports().client))
                .collect(),
            ca_file: self.dir.ca().join("root.crt"),
            client_certificate: client.with_extension("crt"),
            client_key: client.with_extension("key"),
            keys: self.keys.clone(),
            xkey: self.options.xkey,
            store: self.dir.registry(),
            trust_domains: self.trust_domains(),
            policies,
            environment: self.options.callout_environment.clone(),
        })
    }

    async fn node(&self, name: &str, port: u16) -> anyhow::Result<Node> {
        let stem = self.dir.nats().join(name);
        let service = Service::NatsServer {
            dns_names: vec![
                format!("{name}.{}.localhost", self.site),
                "localhost".to_owned(),
            ],
            ip_addresses: vec![Ipv4Addr::LOCALHOST.into()],
        };
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

    async fn start_server(&self, name: &str, config: &Path) -> anyhow::Result<NatsServer> {
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

fn user_key(keys: &LocalKeys, name: &str) -> anyhow::Result<UserKey> {
    public(&keys.signing(name, KeyKind::User)?)
}

fn public(key: &SigningKey) -> anyhow::Result<UserKey> {
    Ok(UserKey::try_from(*key.public())?)
}

fn loopback() -> anyhow::Result<Host> {
    Ok(Host::parse(&Ipv4Addr::LOCALHOST.to_string())?)
}
