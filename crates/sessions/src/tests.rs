//! The system account of real nats-servers.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use futures::StreamExt as _;
use leafgate_processes::{NatsServer, NatsServerBinary, ServerVersion};

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

const CONFIG: &str = r#"
host: 127.0.0.1, port: -1
system_account: SYS
accounts {
  SYS { users: [{ user: system, password: "-" }] }
  DEVICES { users: [{ user: "0001", password: "-" }, { user: "0002", password: "-" }] }
  OTHERS { users: [{ user: "0003", password: "-" }] }
}
"#;

const VERSIONS: [ServerVersion; 4] = [
    ServerVersion::release(2, 11, 11),
    ServerVersion::release(2, 12, 8),
    ServerVersion::release(2, 14, 6),
    ServerVersion::release(2, 15, 1),
];

/// A server, and a user of its system account.
struct World {
    server: NatsServer,
    system: SystemAccount,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start(version: ServerVersion) -> Self {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let binary =
            NatsServerBinary::pinned(version, root).unwrap_or_else(|error| panic!("{error}"));
        let folder = tempfile::tempdir().unwrap();
        let file = |name| folder.path().join(name);
        fs::write(file("nats.conf"), CONFIG).unwrap();
        let (config, log, ports) = (file("nats.conf"), file("nats.log"), file("ports"));
        let server = NatsServer::start("nats-server", &binary, &config, &log, &ports)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let client = connect(&server, "system").await;
        Self {
            server,
            system: SystemAccount::new(client, LIMIT),
            _folder: folder,
        }
    }

    async fn default() -> Self {
        Self::start(NatsServerBinary::DEFAULT_VERSION).await
    }

    /// Connects a user that does not come back once it was kicked.
    async fn connect(&self, user: &str) -> Client {
        connect(&self.server, user).await
    }

    async fn list(&self, account: &str, user: Option<&str>) -> Vec<Connection> {
        let filter = ConnectionFilter { account, user };
        self.system.connections(filter).await.unwrap()
    }
}

async fn connect(server: &NatsServer, user: &str) -> Client {
    ConnectOptions::with_user_and_password(user.to_owned(), "-".to_owned())
        .max_reconnects(1)
        .connect(format!("nats://{}", server.ports().client))
        .await
        .unwrap()
}

fn server_id(client: &Client) -> String {
    client.server_info().server_id
}

fn users(mut connections: Vec<Connection>) -> Vec<String> {
    connections.sort_by(|a, b| a.user.cmp(&b.user));
    connections.into_iter().map(|found| found.user).collect()
}

#[tokio::test]
async fn a_server_is_known_by_its_own_id_alone() {
    let world = World::default().await;
    let id = server_id(&world.system.client);
    let status = world.system.identify(&id).await.unwrap();
    assert_eq!(status.map(|status| status.id), Some(id.clone()));
    let stranger = id.replacen(&id[1..2], if &id[1..2] == "A" { "B" } else { "A" }, 1);
    assert_eq!(world.system.identify(&stranger).await.unwrap(), None);
}

#[tokio::test]
async fn a_kick_ends_one_connection_and_says_so_on_every_version() {
    for version in VERSIONS {
        let world = World::start(version).await;
        let accounts = ["DEVICES"];
        let events = world.system.session_events(accounts).await.unwrap();
        let mut events = std::pin::pin!(events.into_stream());
        let device = world.connect("0001").await;
        let other = world.connect("0002").await;
        let (id, number) = (server_id(&device), device.server_info().client_id);

        let kick = async || world.system.kick(&id, number).await.unwrap();
        assert_eq!(kick().await, KickOutcome::Kicked, "{version}");
        let left = loop {
            let event = tokio::time::timeout(LIMIT, events.next()).await;
            let event = event.expect("no such event came").unwrap();
            if event.kind != SessionEventKind::Connected {
                break event;
            }
        };
        let kind = SessionEventKind::Disconnected("Kicked".to_owned());
        assert_eq!(
            (left.kind, left.user),
            (kind, "0001".to_owned()),
            "{version}"
        );
        assert_eq!((left.server_id, left.client_id), (id.clone(), number));
        assert_eq!(kick().await, KickOutcome::Gone, "{version}");
        other.flush().await.unwrap();
        assert_eq!(users(world.list("DEVICES", Some("0002")).await), ["0002"]);

        let nowhere = world.system.kick("NOWHERE", number).await.unwrap();
        assert_eq!(nowhere, KickOutcome::Gone, "{version}");
    }
}

#[tokio::test]
async fn connections_are_listed_by_account_and_user() {
    let world = World::default().await;
    let device = world.connect("0001").await;
    let _others = [world.connect("0002").await, world.connect("0003").await];

    assert_eq!(users(world.list("DEVICES", None).await), ["0001", "0002"]);
    assert_eq!(users(world.list("OTHERS", None).await), ["0003"]);
    let found = world.list("DEVICES", Some("0001")).await;
    let [found] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(found.server_id, server_id(&device));
    assert_eq!(found.client_id, device.server_info().client_id);
    assert!(!found.server_name.is_empty());
    assert_eq!(found.source, Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(found.certificate_sha256, None);
    assert_eq!(found.common_name(), None);
    assert_eq!(world.list("DEVICES", Some("0003")).await, []);
}

#[tokio::test]
async fn a_connection_tells_of_its_traffic() {
    let world = World::default().await;
    let device = world.connect("0001").await;
    let mut own = device.subscribe("echo").await.unwrap();
    for _ in 0..3 {
        device.publish("echo", "".into()).await.unwrap();
        own.next().await.unwrap();
    }
    let found = world.list("DEVICES", Some("0001")).await;
    assert_eq!((found[0].messages_in, found[0].messages_out), (3, 3));
    assert!(found[0].round_trip.is_some());
}

#[tokio::test]
async fn an_account_that_a_server_does_not_have_holds_no_connections() {
    for version in VERSIONS {
        let world = World::start(version).await;
        assert_eq!(world.list("NOWHERE", None).await, [], "{version}");
        assert_eq!(world.list("NOWHERE", Some("0001")).await, [], "{version}");
    }
}

#[tokio::test]
async fn every_page_is_read() {
    let world = World::default().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(world.connect("0001").await);
    }
    for limit in 1..=6 {
        let filter = ConnectionFilter {
            account: "DEVICES",
            user: None,
        };
        let found = world.system.connections_by(filter, limit).await.unwrap();
        let mut found: Vec<u64> = found.into_iter().map(|found| found.client_id).collect();
        found.sort_unstable();
        let expected: Vec<u64> = clients.iter().map(|c| c.server_info().client_id).collect();
        assert_eq!(found, expected, "pages of {limit}");
    }
}

#[tokio::test]
async fn a_lost_system_account_is_told_from_an_empty_one() {
    let mut world = World::default().await;
    world.server.kill9().await.unwrap();
    let system = SystemAccount::new(world.system.client.clone(), Duration::from_millis(200));
    let filter = ConnectionFilter {
        account: "DEVICES",
        user: None,
    };
    assert!(system.connections(filter).await.is_err());
    assert!(system.identify("NOWHERE").await.is_err());
    assert!(system.kick("NOWHERE", 1).await.is_err());
}
