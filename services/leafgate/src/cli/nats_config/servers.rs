use leafgate_nats_config::{
    Accounts, CalloutMode, Certificate, Cluster, DeviceLimits, Host, HubConfig, HubSite,
    LeafConfig, Listen, Name, NatsConfigFiles, Node, OcspPeer, RenderNatsConfigError, RouteSecret,
    ServerAddress, ServerLimits, Uplink,
};
use leafgate_nats_jwt::UserKey;

use super::arguments::{AbsolutePaths, Arguments, NodeName, absolute};
use super::secrets::Secrets;
use crate::cli::error::{CliError, Exit};

/// The configuration of every server, the hub's first.
pub(super) fn render(
    arguments: &Arguments,
    paths: &AbsolutePaths,
    secrets: &Secrets,
) -> Result<NatsConfigFiles, CliError> {
    let plan = Plan {
        arguments,
        paths,
        secrets,
    };
    let hub = plan.hub()?;
    let hub_nodes = plan.hub_nodes()?;
    let leaf = plan.leaf()?;
    let leaf_nodes = plan.leaf_nodes()?;
    let hub = (!hub_nodes.is_empty()).then_some((&hub, &hub_nodes[..]));
    NatsConfigFiles::render(hub, &[(&leaf, &leaf_nodes)]).map_err(|error| refused(&error))
}

struct Plan<'a> {
    arguments: &'a Arguments,
    paths: &'a AbsolutePaths,
    secrets: &'a Secrets,
}

impl Plan<'_> {
    fn hub(&self) -> Result<HubConfig, CliError> {
        let Self {
            arguments,
            paths,
            secrets,
        } = self;
        let servers_before_2_15_1 = arguments.servers_before_2_15_1;
        let own = [HubSite {
            name: arguments.site.clone(),
            telemetry: public(&secrets.telemetry_link)?,
            commands: public(&secrets.command_link)?,
            servers_before_2_15_1,
        }];
        let further = arguments.further_sites.iter().map(|site| HubSite {
            name: site.name.clone(),
            telemetry: site.telemetry,
            commands: site.commands,
            servers_before_2_15_1,
        });
        Ok(HubConfig {
            prefix: arguments.subject_prefix.clone(),
            accounts: Accounts::default(),
            limits: self.limits(),
            servers_ca_file: paths.servers_ca_file.clone(),
            sites: own.into_iter().chain(further).collect(),
            telemetry_applications: vec![secrets.telemetry_application],
            command_applications: vec![secrets.command_application],
            stream_manager: None,
            administrator: arguments.administrator,
        })
    }

    fn leaf(&self) -> Result<LeafConfig, CliError> {
        let Self {
            arguments,
            paths,
            secrets,
        } = self;
        let hub = arguments.hub_addresses();
        Ok(LeafConfig {
            site: arguments.site.clone(),
            prefix: arguments.subject_prefix.clone(),
            accounts: Accounts::default(),
            limits: self.limits(),
            device_limits: DeviceLimits::default(),
            devices_ca_file: paths.devices_ca_file.clone(),
            servers_ca_file: paths.servers_ca_file.clone(),
            callout: CalloutMode::Enabled {
                issuer: secrets.issuer,
                xkey: Some(secrets.xkey),
            },
            replicas: secrets.replicas.clone(),
            registry_users: secrets.registry_replicas.clone(),
            uplink: (!hub.is_empty()).then(|| Uplink {
                hub,
                telemetry: secrets.telemetry_link.clone(),
                commands: secrets.command_link.clone(),
            }),
            stream_manager: None,
            administrator: arguments.administrator,
            tester: None,
        })
    }

    fn limits(&self) -> ServerLimits {
        ServerLimits {
            connection_rate_limit: self.arguments.connection_rate_limit,
            ..ServerLimits::default()
        }
    }

    fn hub_nodes(&self) -> Result<Vec<Node>, CliError> {
        let nodes = self.arguments.hub_nodes();
        let cluster = name("hub")?;
        nodes
            .iter()
            .map(|node| {
                let mut rendered = self.node(node, self.arguments.hub_port)?;
                rendered.leafnode = Some(self.listen(self.arguments.hub_leafnode_port()));
                rendered.cluster = self.cluster(&cluster, nodes, &self.secrets.hub_routes);
                Ok(rendered)
            })
            .collect()
    }

    fn leaf_nodes(&self) -> Result<Vec<Node>, CliError> {
        let nodes = &self.arguments.leaf_nodes;
        let cluster = name(&format!("leaf-{}", self.arguments.site))?;
        nodes
            .iter()
            .map(|node| {
                let mut rendered = self.node(node, self.arguments.device_port)?;
                rendered.cluster = self.cluster(&cluster, nodes, &self.secrets.leaf_routes);
                let cache_dir = self.arguments.ocsp_cache_of(node.name.as_str());
                let cache_dir = cache_dir.map(|dir| absolute(&dir)).transpose()?;
                rendered.ocsp = cache_dir.map(|cache_dir| OcspPeer { cache_dir });
                Ok(rendered)
            })
            .collect()
    }

    fn node(&self, node: &NodeName, port: u16) -> Result<Node, CliError> {
        let loopback = |port| Ok::<_, CliError>(Listen::on(host("127.0.0.1")?, port));
        Ok(Node {
            server_name: node.name.clone(),
            client: self.listen(port),
            leafnode: None,
            monitoring: self.arguments.monitoring_port.map(loopback).transpose()?,
            ports_file_dir: None,
            certificate: Certificate {
                cert_file: absolute(&self.arguments.certificate_of(node.name.as_str()))?,
                key_file: absolute(&self.arguments.key_of(node.name.as_str()))?,
            },
            cluster: None,
            jetstream: None,
            ocsp: None,
        })
    }

    /// The routes of one server to all, if there is more than one.
    fn cluster(&self, name: &Name, nodes: &[NodeName], secret: &RouteSecret) -> Option<Cluster> {
        let port = self.arguments.cluster_port;
        let route = |node: &NodeName| ServerAddress::new(node.host.clone(), port);
        (nodes.len() > 1).then(|| Cluster {
            name: name.clone(),
            listen: self.listen(port),
            routes: nodes.iter().map(route).collect(),
            secret: Some(secret.clone()),
        })
    }

    fn listen(&self, port: u16) -> Listen {
        Listen::on(self.arguments.listen.clone(), port)
    }
}

fn name(text: &str) -> Result<Name, CliError> {
    Name::parse(text).map_err(|error| CliError::caused(Exit::Usage, &error))
}

fn host(text: &str) -> Result<Host, CliError> {
    Host::parse(text).map_err(|error| CliError::caused(Exit::Usage, &error))
}

pub(super) fn public(key: &leafgate_nats_jwt::SigningKey) -> Result<UserKey, CliError> {
    UserKey::try_from(*key.public()).map_err(|error| CliError::caused(Exit::Usage, &error))
}

fn refused(error: &RenderNatsConfigError) -> CliError {
    CliError::caused(Exit::Usage, error)
}
