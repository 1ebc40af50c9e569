//! A real nats-server with the rendered permissions of the registry's users.

use std::path::{Path, PathBuf};

use async_nats::{Client, ConnectOptions, Event};
use leafgate_nats_config::{
    Accounts, CalloutMode, Certificate, DeviceLimits, Host, LeafConfig, Listen, Name, Node,
    RegistryReplica, Replica, ServerLimits, StandIn, SubjectPrefix,
};
use leafgate_nats_jwt::{KeyKind, SigningKey, UserKey};
use leafgate_processes::{NatsServer, NatsServerBinary};
#[expect(clippy::disallowed_types, reason = "a test is an edge")]
use rand_core::OsRng;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::{World, until, write_secret};

/// A nats-server without TLS, whose devices log in under their id with a password.
pub(crate) struct Cluster {
    pub(crate) server: NatsServer,
    folder: TempDir,
    callout: SigningKey,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user = || SigningKey::generate(KeyKind::User, &mut OsRng);
        let callout = user();
        let registry = [user(), user(), user()];
        for (name, key) in ["auth", "system", "devices"].into_iter().zip(&registry) {
            let path = folder.path().join(format!("{name}.seed"));
            write_secret(&path, key.seed().expose_secret());
        }
        let [auth, system, devices] = registry.each_ref().map(public);
        let leaf = LeafConfig {
            site: name("demo"),
            prefix: SubjectPrefix::default(),
            accounts: Accounts::default(),
            limits: ServerLimits::default(),
            device_limits: DeviceLimits::default(),
            devices_ca_file: PathBuf::from("none"),
            servers_ca_file: PathBuf::from("none"),
            callout: CalloutMode::AbsentForTesting(StandIn {
                requester: public(&user()),
                devices: Vec::new(),
                tls: false,
            }),
            replicas: vec![Replica {
                name: Replica::default_name(0),
                auth: public(&callout),
                system: public(&user()),
            }],
            registry_users: vec![RegistryReplica {
                name: RegistryReplica::default_name(0),
                auth,
                system,
                devices,
            }],
            uplink: None,
            stream_manager: None,
            administrator: None,
            tester: None,
        };
        let node = Node {
            server_name: name("leaf-1"),
            client: Listen::free_port(Host::parse("127.0.0.1").unwrap()),
            leafnode: None,
            monitoring: None,
            ports_file_dir: None,
            certificate: Certificate {
                cert_file: PathBuf::from("none"),
                key_file: PathBuf::from("none"),
            },
            cluster: None,
            jetstream: None,
            ocsp: None,
        };
        let rendered = leaf.render(&node).unwrap();
        let path = folder.path().join("nats.conf");
        let text = with_devices(rendered.text().expose_secret(), &["0001", "0002"]);
        std::fs::write(&path, text).unwrap();
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let binary = NatsServerBinary::pinned(NatsServerBinary::DEFAULT_VERSION, root)
            .unwrap_or_else(|error| panic!("{error}"));
        let (log, ports) = (folder.path().join("nats.log"), folder.path().join("ports"));
        let server = NatsServer::start("leaf-1", &binary, &path, &log, &ports)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        Self {
            server,
            folder,
            callout,
        }
    }

    /// What a registry that looks after this cluster is configured with.
    pub(crate) fn sections(&self) -> String {
        let seed = |name: &str| self.folder.path().join(format!("{name}.seed"));
        format!(
            "[nats]\nurls = [\"{}\"]\nnkey_seed_file = {:?}\ndevices_nkey_seed_file = {:?}\n\
             [system]\nnkey_seed_file = {:?}\n",
            self.url(),
            seed("auth"),
            seed("devices"),
            seed("system"),
        )
    }

    /// A registry that looks after this cluster, once it is connected.
    pub(crate) async fn world(&self) -> World {
        let world = World::start_with(&self.sections()).await;
        let readiness = format!("http://{}/readyz", world.health);
        until(async || {
            let answer = reqwest::get(&readiness).await.unwrap();
            !answer.text().await.unwrap().contains("leaf cluster")
        })
        .await;
        world
    }

    fn url(&self) -> String {
        format!("nats://{}", self.server.ports().client)
    }

    /// A device with its own inbox, that stays away once it was disconnected, and tells of that.
    pub(crate) async fn device(&self, id: &str) -> (Client, mpsc::UnboundedReceiver<()>) {
        let (left, leaves) = mpsc::unbounded_channel();
        let client = ConnectOptions::with_user_and_password(id.to_owned(), "-".to_owned())
            .custom_inbox_prefix(format!("_INBOX.{id}"))
            .max_reconnects(1)
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected) {
                    let _ = left.send(());
                }
                std::future::ready(())
            })
            .connect(self.url())
            .await
            .unwrap();
        (client, leaves)
    }

    /// The registry's own user in the devices' account.
    pub(crate) async fn devices_user(&self) -> Client {
        let seed = std::fs::read_to_string(self.folder.path().join("devices.seed")).unwrap();
        let options = ConnectOptions::with_nkey(seed);
        options.connect(self.url()).await.unwrap()
    }

    /// The callout's user.
    pub(crate) async fn callout(&self) -> Client {
        let seed = self.callout.seed().expose_secret().to_owned();
        let options = ConnectOptions::with_nkey(seed);
        options.connect(self.url()).await.unwrap()
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn public(key: &SigningKey) -> UserKey {
    UserKey::try_from(*key.public()).unwrap()
}

/// The configuration with devices whose user bears their id, as the callout names them.
fn with_devices(configuration: &str, ids: &[&str]) -> String {
    let (before, rest) = configuration.split_once("  DEVICES {").unwrap();
    let (between, after) = rest.split_once("users: [").unwrap();
    let users: String = ids
        .iter()
        .map(|id| {
            format!(
                "{{ user: \"{id}\", password: \"-\", permissions {{ \
                 publish: [\"device.{id}.renew\", \"device.{id}.status\"], \
                 subscribe: [\"device.{id}.cmd\", \"_INBOX.{id}.>\"] }} }}\n"
            )
        })
        .collect();
    format!("{before}  DEVICES {{{between}users: [\n{users}{after}")
}
