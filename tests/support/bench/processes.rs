//! What a bench runs, and the keys of all who log in there.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use leafgate::local::{LocalDir, LocalKeys, ServiceProcess};
use leafgate_nats_config::{
    Accounts, CalloutMode, Certificate, DeviceLimits, Host, LeafConfig, Listen, Name, Node,
    Replica, ServerLimits, StandIn, SubjectPrefix,
};
use leafgate_nats_jwt::{AccountKey, CurvePublicKey, KeyKind, SigningKey, UserKey};
use leafgate_processes::{NatsServer, NatsServerBinary};

use super::BenchOptions;
use crate::support::nats_server;

/// Messages of twice the size of the largest token get through nats-server.
const MAX_PAYLOAD_BYTES: u32 = 2 << 20;

const SHIPPED_POLICY: &str = include_str!("../../../policies/device.toml");

/// The keys of all who log in to the nats-server, and of the callout.
pub(super) struct Keys(LocalKeys);

impl Keys {
    pub(super) fn in_folder(dir: &LocalDir) -> Self {
        Self(LocalKeys::in_folder(&dir.keys()))
    }

    pub(super) fn user(&self, name: &str) -> SigningKey {
        self.0.signing(name, KeyKind::User).unwrap()
    }

    fn public_user(&self, name: &str) -> UserKey {
        UserKey::try_from(*self.user(name).public()).unwrap()
    }

    pub(super) fn issuer(&self) -> AccountKey {
        let key = self.0.signing("issuer", KeyKind::Account).unwrap();
        AccountKey::try_from(*key.public()).unwrap()
    }

    pub(super) fn xkey(&self) -> CurvePublicKey {
        *self.0.curve("xkey").unwrap().public()
    }

    pub(super) async fn start_nats_server(&self, dir: &LocalDir) -> NatsServer {
        let name = |text| Name::parse(text).unwrap();
        let replicas = [0, 1].map(|ordinal| {
            let name = Replica::default_name(ordinal);
            Replica {
                auth: self.public_user(&format!("{name}-auth")),
                system: self.public_user(&format!("{name}-system")),
                name,
            }
        });
        let config = LeafConfig {
            site: name("demo"),
            prefix: SubjectPrefix::default(),
            accounts: Accounts::default(),
            limits: ServerLimits {
                max_payload_bytes: MAX_PAYLOAD_BYTES,
                ..ServerLimits::default()
            },
            device_limits: DeviceLimits::default(),
            devices_ca_file: dir.ca().join("devices.crt"),
            servers_ca_file: dir.ca().join("servers.crt"),
            callout: CalloutMode::AbsentForTesting(StandIn {
                requester: self.public_user("requester"),
                devices: Vec::new(),
                tls: false,
            }),
            replicas: replicas.to_vec(),
            registry_users: Vec::new(),
            uplink: None,
            stream_manager: None,
            administrator: None,
            tester: Some(self.public_user("tester")),
        };
        let node = Node {
            server_name: name("leaf-1"),
            client: Listen::free_port(Host::parse(&Ipv4Addr::LOCALHOST.to_string()).unwrap()),
            leafnode: None,
            monitoring: None,
            ports_file_dir: Some(dir.nats()),
            // Not used without TLS.
            certificate: Certificate {
                cert_file: dir.nats().join("leaf-1.crt"),
                key_file: dir.nats().join("leaf-1.key"),
            },
            cluster: None,
            jetstream: None,
            ocsp: None,
        };
        let file = config.render(&node).unwrap().write_to(&dir.nats()).unwrap();
        let binary = nats_server(&NatsServerBinary::DEFAULT_VERSION.to_string());
        let log = dir.logs().join("leaf-1.log");
        let server = NatsServer::start("leaf-1", &binary, &file, &log, &dir.nats()).await;
        server.unwrap_or_else(|error| panic!("{error}"))
    }

    /// With one worker, which takes messages in order.
    pub(super) async fn start_callout(
        &self,
        dir: &LocalDir,
        url: &str,
        options: &BenchOptions,
    ) -> ServiceProcess {
        fs::write(
            dir.root().join("policy.toml"),
            options.policy.unwrap_or(SHIPPED_POLICY),
        )
        .unwrap();
        // Make the seed files.
        self.issuer();
        self.xkey();
        let xkey = match options.xkey {
            true => "xkey_seed_file = \"keys/xkey.seed\"",
            false => "",
        };
        let config = format!(
            r#"
site = "demo"
replica = "callout-0"

[nats]
urls = ["{url}"]
nkey_seed_file = "keys/callout-0-auth.seed"
issuer_seed_file = "keys/issuer.seed"
{xkey}
workers = 1

[system]
nkey_seed_file = "keys/callout-0-system.seed"

[store]
url = "sqlite:registry.db"

[[trust_domain]]
name = "default"
issuers = ["ca/devices.crt"]
policies = ["policy.toml"]

[http]
listen = "127.0.0.1:0"

[limits]
{limits}
"#,
            limits = options.limits
        );
        let path = dir.root().join("callout.toml");
        fs::write(&path, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_leafgate-callout"));
        command
            .arg("--config")
            .arg(&path)
            .envs(options.environment.iter().cloned());
        let log = dir.logs().join("callout-0.log");
        let callout = ServiceProcess::start("callout-0", command, &log).await;
        callout.unwrap_or_else(|error| panic!("{error:#}"))
    }
}
