use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use leafgate_identity::TrustDomainName;
use leafgate_nats_config::{Host, Name, ServerAddress, SubjectPrefix};
use leafgate_nats_jwt::UserKey;

use crate::cli::error::CliError;

/// What stands for a node's name in the paths of its certificate and key.
const NODE: &str = "{node}";

const SERVERS: &str = "Servers";
const FILES: &str = "Files, as the servers and replicas see them";
const CALLOUT: &str = "Callout";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The folder for the configuration files.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// The site's name, under which the hub sees its devices.
    #[arg(long, value_name = "NAME")]
    pub(super) site: Name,
    /// The folder of the seeds; missing ones are made [default: keys in the folder of --out].
    #[arg(long, value_name = "DIR")]
    keys_dir: Option<PathBuf>,
    /// What device subjects begin with.
    #[arg(
        long,
        value_name = "PREFIX",
        env = "DEVICE_SUBJECT_PREFIX",
        default_value = "device"
    )]
    pub(super) subject_prefix: SubjectPrefix,

    /// A server of the leaf cluster and the host that others reach it at; may be repeated.
    #[arg(long = "leaf-node", value_name = "NAME[=HOST]", default_value = "leaf-1", help_heading = SERVERS)]
    pub(super) leaf_nodes: Vec<NodeName>,
    /// A server of the hub and the host that others reach it at; may be repeated.
    #[arg(long = "hub-node", value_name = "NAME[=HOST]", default_value = "hub-1", help_heading = SERVERS)]
    hub_nodes: Vec<NodeName>,
    /// Where sites link to the hub; may be repeated [default: --hub-leafnode-port of each hub node].
    #[arg(long = "hub-address", value_name = "HOST:PORT", help_heading = SERVERS)]
    hub_addresses: Vec<ServerAddress>,
    /// A further site of the hub, by the public keys of its telemetry and its command link; may be
    /// repeated.
    #[arg(long = "further-site", value_name = "NAME=KEY,KEY", help_heading = SERVERS)]
    pub(super) further_sites: Vec<SiteName>,
    /// Leave out the hub: the site works by itself.
    #[arg(long, conflicts_with_all = ["hub_nodes", "hub_addresses", "further_sites"], help_heading = SERVERS)]
    without_hub: bool,
    /// The address that servers listen on.
    #[arg(long, value_name = "HOST", default_value = "0.0.0.0", help_heading = SERVERS)]
    pub(super) listen: Host,
    /// Where devices connect.
    #[arg(long, value_name = "PORT", default_value_t = 4222, help_heading = SERVERS)]
    pub(super) device_port: u16,
    /// Where applications connect to the hub.
    #[arg(long, value_name = "PORT", default_value_t = 4222, help_heading = SERVERS)]
    pub(super) hub_port: u16,
    /// Where sites link to the hub.
    #[arg(long, value_name = "PORT", default_value_t = 7422, help_heading = SERVERS)]
    hub_leafnode_port: u16,
    /// Where the servers of a cluster connect to each other, if there are several.
    #[arg(long, value_name = "PORT", default_value_t = 6222, help_heading = SERVERS)]
    pub(super) cluster_port: u16,
    /// Sites run nats-servers before 2.15.1, for which the hub has to allow more.
    #[arg(long, help_heading = SERVERS)]
    pub(super) servers_before_2_15_1: bool,
    /// Serve nats-server's monitoring on this port of the loopback address.
    #[arg(long, value_name = "PORT", help_heading = SERVERS)]
    pub(super) monitoring_port: Option<u16>,
    /// TLS handshakes per second that a server takes.
    #[arg(long, value_name = "N", default_value_t = 500, help_heading = SERVERS)]
    pub(super) connection_rate_limit: u32,
    /// Check devices' certificates by OCSP at the handshake too; keep the answers in this folder, in
    /// which {node} stands for the server's name.
    #[arg(long, value_name = "DIR", help_heading = SERVERS)]
    ocsp_cache_dir: Option<PathBuf>,
    /// The public key (U…) of a person's user in the system accounts, for emergencies.
    #[arg(long, value_name = "KEY", value_parser = UserKey::parse, help_heading = SERVERS)]
    pub(super) administrator: Option<UserKey>,

    /// A server's certificate with its chain; {node} stands for the server's name.
    #[arg(long, value_name = "PATH", default_value = "/etc/leafgate/{node}.crt", help_heading = FILES)]
    cert_file: PathBuf,
    /// A server's key; {node} stands for the server's name.
    #[arg(long, value_name = "PATH", default_value = "/etc/leafgate/{node}.key", help_heading = FILES)]
    key_file: PathBuf,
    /// The root, which verifies servers.
    #[arg(long, value_name = "FILE", default_value = "/etc/leafgate/root.crt", help_heading = FILES)]
    pub(super) ca_file: PathBuf,
    /// The intermediate that signs devices.
    #[arg(long, value_name = "FILE", default_value = "/etc/leafgate/devices.crt", help_heading = FILES)]
    pub(super) devices_ca_file: PathBuf,
    /// The intermediate that signs servers.
    #[arg(long, value_name = "FILE", default_value = "/etc/leafgate/servers.crt", help_heading = FILES)]
    pub(super) servers_ca_file: PathBuf,

    /// How many replicas of the callout there may ever be.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=256),
        help_heading = CALLOUT
    )]
    pub(super) replicas_max: u32,
    /// How many replicas of the registry there may ever be.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(0..=256),
        help_heading = CALLOUT
    )]
    pub(super) registry_replicas_max: u32,
    /// The replicas' certificate for the devices' listener, of profile nats-client.
    #[arg(long, value_name = "FILE", default_value = "/etc/leafgate/callout.crt", help_heading = CALLOUT)]
    pub(super) callout_cert_file: PathBuf,
    /// Its key.
    #[arg(long, value_name = "FILE", default_value = "/etc/leafgate/callout.key", help_heading = CALLOUT)]
    pub(super) callout_key_file: PathBuf,
    /// Where replicas find the seeds [default: the folder of --keys-dir].
    #[arg(long, value_name = "DIR", help_heading = CALLOUT)]
    callout_keys_dir: Option<PathBuf>,
    /// The registry.
    #[arg(
        long,
        value_name = "URL",
        default_value = "sqlite:/var/lib/leafgate/registry.db",
        help_heading = CALLOUT
    )]
    store_url: String,
    /// The trust domain's name, as device records have it.
    #[arg(long, value_name = "NAME", default_value = crate::local::TRUST_DOMAIN, help_heading = CALLOUT)]
    pub(super) trust_domain: TrustDomainName,
    /// A policy file; may be repeated, the order counts.
    #[arg(
        long = "policy",
        value_name = "FILE",
        default_value = "/etc/leafgate/policies/device.toml",
        help_heading = CALLOUT
    )]
    pub(super) policies: Vec<PathBuf>,
    /// Where a replica serves its probes and metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090", help_heading = CALLOUT)]
    pub(super) health_listen: SocketAddr,
}

/// A server and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeName {
    pub(super) name: Name,
    pub(super) host: Host,
}

impl FromStr for NodeName {
    type Err = leafgate_nats_config::ParseInputError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, host) = text.split_once('=').unwrap_or((text, text));
        Ok(Self {
            name: Name::parse(name)?,
            host: Host::parse(host)?,
        })
    }
}

/// A site that is configured elsewhere, as the hub has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SiteName {
    pub(super) name: Name,
    pub(super) telemetry: UserKey,
    pub(super) commands: UserKey,
}

impl FromStr for SiteName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text
            .split_once('=')
            .and_then(|(name, keys)| Some((name, keys.split_once(',')?)));
        let (name, (telemetry, commands)) =
            parts.ok_or("write NAME=KEY,KEY: the telemetry link's key, then the command link's")?;
        let key = |text| UserKey::parse(text).map_err(|error| error.to_string());
        Ok(Self {
            name: Name::parse(name).map_err(|error| error.to_string())?,
            telemetry: key(telemetry)?,
            commands: key(commands)?,
        })
    }
}

/// Paths that mean the same wherever the files are read: servers take relative ones from where
/// they were started, replicas from where their configuration is.
pub(super) struct AbsolutePaths {
    pub(super) keys_dir: PathBuf,
    pub(super) ca_file: PathBuf,
    pub(super) devices_ca_file: PathBuf,
    pub(super) servers_ca_file: PathBuf,
    pub(super) callout_cert_file: PathBuf,
    pub(super) callout_key_file: PathBuf,
    pub(super) callout_keys_dir: PathBuf,
    pub(super) policies: Vec<PathBuf>,
    pub(super) store_url: String,
}

impl Arguments {
    pub(super) fn hub_nodes(&self) -> &[NodeName] {
        if self.without_hub {
            &[]
        } else {
            &self.hub_nodes
        }
    }

    /// Where the site links to; nothing without a hub.
    pub(super) fn hub_addresses(&self) -> Vec<ServerAddress> {
        if !self.hub_addresses.is_empty() {
            return self.hub_addresses.clone();
        }
        let address =
            |node: &NodeName| ServerAddress::new(node.host.clone(), self.hub_leafnode_port);
        self.hub_nodes().iter().map(address).collect()
    }

    pub(super) fn hub_leafnode_port(&self) -> u16 {
        self.hub_leafnode_port
    }

    pub(super) fn certificate_of(&self, node: &str) -> PathBuf {
        of_node(&self.cert_file, node)
    }

    pub(super) fn ocsp_cache_of(&self, node: &str) -> Option<PathBuf> {
        self.ocsp_cache_dir.as_ref().map(|dir| of_node(dir, node))
    }

    pub(super) fn key_of(&self, node: &str) -> PathBuf {
        of_node(&self.key_file, node)
    }

    pub(super) fn absolute_paths(&self) -> Result<AbsolutePaths, CliError> {
        let keys_dir = match &self.keys_dir {
            Some(dir) => absolute(dir)?,
            None => absolute(&self.out.join("keys"))?,
        };
        let policies = self.policies.iter().map(|path| absolute(path));
        Ok(AbsolutePaths {
            ca_file: absolute(&self.ca_file)?,
            devices_ca_file: absolute(&self.devices_ca_file)?,
            servers_ca_file: absolute(&self.servers_ca_file)?,
            callout_cert_file: absolute(&self.callout_cert_file)?,
            callout_key_file: absolute(&self.callout_key_file)?,
            callout_keys_dir: match &self.callout_keys_dir {
                Some(dir) => absolute(dir)?,
                None => keys_dir.clone(),
            },
            policies: policies.collect::<Result<_, _>>()?,
            store_url: match self.store_url.strip_prefix("sqlite:") {
                Some(path) => format!("sqlite:{}", absolute(Path::new(path))?.display()),
                None => self.store_url.clone(),
            },
            keys_dir,
        })
    }
}

/// Configuration files name paths in UTF-8.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    if path.to_str().is_none() {
        let error = format!("the path {path:?} is not UTF-8: rename it");
        return Err(CliError::usage(error));
    }
    std::path::absolute(path).map_err(|error| CliError::file("use", path, &error))
}

fn of_node(path: &Path, node: &str) -> PathBuf {
    let named = path.to_str().map(|text| text.replace(NODE, node).into());
    named.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_reached_under_its_name_unless_a_host_is_given() {
        let node: NodeName = "leaf-1".parse().unwrap();
        assert_eq!(
            (node.name.as_str(), node.host.as_str()),
            ("leaf-1", "leaf-1")
        );
        let node: NodeName = "leaf-1=10.0.0.7".parse().unwrap();
        assert_eq!(
            (node.name.as_str(), node.host.as_str()),
            ("leaf-1", "10.0.0.7")
        );
        for wrong in ["", "=host", "leaf.1", "leaf-1=", "leaf-1=a b", "leaf_1"] {
            assert!(wrong.parse::<NodeName>().is_err(), "{wrong}");
        }
    }
}
