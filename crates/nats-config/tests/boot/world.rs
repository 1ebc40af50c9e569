//! Servers of one test, in a folder of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leafgate_nats_config::{ConfigFile, HubConfig, JetStream, LeafConfig, Node, ServerAddress};
use leafgate_processes::{NatsServer, NatsServerBinary, ServerVersion};
use tempfile::TempDir;

use crate::pki;
use crate::support::{Keys, any_port, name, node};

/// No event of these tests takes longer on a machine that is not stuck.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct World {
    folder: TempDir,
    pub(crate) keys: Keys,
    binary: NatsServerBinary,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        pki::write(folder.path());
        let version = std::env::var_os("LEAFGATE_TEST_NATS_SERVER")
            .map_or(NatsServerBinary::DEFAULT_VERSION, |version| {
                version.to_str().unwrap().parse().unwrap()
            });
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        Self {
            folder,
            keys: Keys::new(),
            binary: NatsServerBinary::pinned(version, root)
                .unwrap_or_else(|error| panic!("{error}")),
        }
    }

    pub(crate) fn ca(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn start(&self, config: &ConfigFile) -> NatsServer {
        let path = config.write_to(self.folder.path()).unwrap();
        self.start_file(config.name(), &path).await
    }

    pub(crate) async fn start_file(&self, name: &str, path: &Path) -> NatsServer {
        let log = self.file(&format!("{name}.log"));
        NatsServer::start(name, &self.binary, path, &log, &self.file("ports"))
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn hub_node(&self) -> Node {
        Node {
            leafnode: Some(any_port()),
            ..node("hub", self.ca(), "hub")
        }
    }

    pub(crate) fn leaf_node(&self) -> Node {
        node("demo-0", self.ca(), "demo-0")
    }

    pub(crate) fn hub(&self) -> HubConfig {
        let mut hub = self.keys.hub(self.ca());
        for site in &mut hub.sites {
            site.servers_before_2_15_1 = self.binary.version() < ServerVersion::release(2, 15, 1);
        }
        hub
    }

    /// A hub of one server.
    pub(crate) async fn start_hub(&self) -> NatsServer {
        self.start(&self.hub().render(&self.hub_node()).unwrap())
            .await
    }

    /// JetStream of the domain, in a folder of this test.
    pub(crate) fn jetstream(&self, domain: &str) -> JetStream {
        JetStream {
            store_dir: self.file(&format!("jetstream-{domain}")),
            domain: name(domain),
            max_memory_bytes: 1 << 24,
            max_file_bytes: 1 << 24,
        }
    }

    /// The site `demo`: one server without callout, whose devices log in by nkey, linked to the hub.
    pub(crate) async fn start_site(&self, hub: &NatsServer) -> NatsServer {
        let leaf = LeafConfig {
            callout: self.keys.stand_in(true),
            ..self.keys.leaf(self.ca(), Some(leafnode_address(hub)))
        };
        let mut site = self.start(&leaf.render(&self.leaf_node()).unwrap()).await;
        await_links(&mut site).await;
        site
    }

    pub(crate) async fn start_hub_and_site(&self) -> (NatsServer, NatsServer) {
        let hub = self.start_hub().await;
        let site = self.start_site(&hub).await;
        (hub, site)
    }
}

pub(crate) fn leafnode_address(hub: &NatsServer) -> ServerAddress {
    hub.ports().leafnode.unwrap().into()
}

/// Both links to the hub are up.
pub(crate) async fn await_links(site: &mut NatsServer) {
    for account in ["TELEMETRY", "COMMANDS"] {
        let line = format!("Leafnode connection created for account: {account}");
        site.wait_for_log(&line, LIMIT).await.unwrap();
    }
}
