//! What the registry does over NATS, on a real nats-server with the rendered permissions of its users.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use leafgate_access::{Role, Scope};
use leafgate_api::SessionList;
use leafgate_identity::{DeviceId, Fingerprint};
use leafgate_nats_config::{
    Accounts, CalloutMode, Certificate, DeviceLimits, Host, LeafConfig, Listen, Name, Node,
    RegistryReplica, Replica, ServerLimits, StandIn, SubjectPrefix, subjects,
};
use leafgate_nats_jwt::{KeyKind, SigningKey, UserKey};
use leafgate_processes::{NatsServer, NatsServerBinary};
use leafgate_registry::{CertificateStatus, DeviceRecord, DeviceStore, EventKind};
use leafgate_registry_api::Setup;
use leafgate_sessions::LogIn;
#[expect(clippy::disallowed_types, reason = "a test is an edge")]
use rand_core::OsRng;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::certificates::issue;
use crate::support::{PATIENCE, World, at_site, config, write_secret};

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
    async fn callout(&self) -> Client {
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

/// Polls until `probe` finds something.
pub(crate) async fn eventually<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, polling).await.unwrap()
}

pub(crate) async fn record(world: &World, id: &str) -> DeviceRecord {
    let id = DeviceId::parse(id).unwrap();
    world.store.load(&id).await.unwrap().unwrap()
}

fn fingerprint(issued: &Value) -> Fingerprint {
    issued["fingerprint"].as_str().unwrap().parse().unwrap()
}

fn log_in(id: &str, fingerprint: Fingerprint) -> Vec<u8> {
    let log_in = LogIn {
        device_id: DeviceId::parse(id).unwrap(),
        fingerprint,
    };
    serde_json::to_vec(&log_in).unwrap()
}

/// Tells of the log-in again and again until the registry has heard of it.
async fn tell_until_superseded(world: &World, callout: &Client, id: &str, newer: &Value) {
    let body = log_in(id, fingerprint(newer));
    eventually(async || {
        let payload = body.clone().into();
        callout.publish(subjects::LOG_IN, payload).await.unwrap();
        let record = record(world, id).await;
        (!record.begins_overlap(&fingerprint(newer))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_log_in_of_a_new_certificate_starts_the_overlap() {
    let cluster = Cluster::start().await;
    let world = World::start_with(&cluster.sections()).await;
    world.admin.register("0001", "pump", None).await;
    let older = issue(&world.admin, "0001").await;
    let newer = issue(&world.admin, "0001").await;
    let callout = cluster.callout().await;
    tell_until_superseded(&world, &callout, "0001", &newer).await;

    let record = record(&world, "0001").await;
    let of = |issued: &Value| {
        record
            .certificate_by_fingerprint(&fingerprint(issued))
            .unwrap()
    };
    assert!(matches!(
        of(&older).status,
        CertificateStatus::Superseded { at } if at > record.device.updated_at_ms
    ));
    assert_eq!(of(&newer).status, CertificateStatus::Issued);
    let events = world.store.events_after(0, 1_000).await.unwrap();
    let superseded = events
        .iter()
        .filter(|event| event.kind == EventKind::CertificateSuperseded);
    let actors: Vec<&str> = superseded.map(|event| event.actor.as_str()).collect();
    assert_eq!(actors, ["callout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_log_ins_do_nothing_and_stop_nobody() {
    let cluster = Cluster::start().await;
    let world = World::start_with(&cluster.sections()).await;
    let mut newest = Vec::new();
    for id in ["0001", "0002"] {
        world.admin.register(id, "pump", None).await;
        let older = issue(&world.admin, id).await;
        newest.push((older, issue(&world.admin, id).await));
    }
    let callout = cluster.callout().await;
    let [(older, _), (_, newer_of_other)] = &newest[..] else {
        panic!("{newest:?}")
    };
    let made_up = Fingerprint::of_certificate_der(b"made up");
    for payload in [
        b"{".to_vec(),
        vec![b'x'; 50_000],
        log_in("0009", made_up),
        log_in("0001", made_up),
        log_in("0001", fingerprint(older)),
        log_in("0001", fingerprint(newer_of_other)),
        json!({ "device_id": "a.b", "fingerprint": made_up })
            .to_string()
            .into(),
    ] {
        callout
            .publish(subjects::LOG_IN, payload.into())
            .await
            .unwrap();
    }
    tell_until_superseded(&world, &callout, "0002", newer_of_other).await;
    let untouched = record(&world, "0001").await;
    let statuses = untouched.certificates.iter().map(|it| it.status);
    assert!(statuses.eq([CertificateStatus::Issued; 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sessions_of_a_device_are_listed_and_ended() {
    let cluster = Cluster::start().await;
    let world = World::start_with(&cluster.sections()).await;
    for id in ["0001", "0002"] {
        world.admin.register(id, "pump", None).await;
    }
    let sessions = async |id: &str| {
        let answer = world.admin.get(&format!("/v1/devices/{id}/sessions")).await;
        let list: SessionList = serde_json::from_value(answer.expect(200)).unwrap();
        list.sessions
    };
    assert_eq!(sessions("0001").await, []);
    let (first, mut first_leaves) = cluster.device("0001").await;
    let (second, mut second_leaves) = cluster.device("0001").await;
    let (other, mut other_leaves) = cluster.device("0002").await;
    first
        .publish("device.0001.status", "up".into())
        .await
        .unwrap();
    first.flush().await.unwrap();

    let found = sessions("0001").await;
    let infos = [&first, &second].map(async_nats::Client::server_info);
    let places = infos.map(|info| (info.server_id, info.client_id));
    let listed = found.iter().map(|it| (it.server_id.clone(), it.cid));
    assert!(listed.eq(places));
    assert_eq!(found[0].messages_in, 1);
    assert_eq!(found[0].source.unwrap().to_string(), "127.0.0.1");
    assert_eq!(found[0].server_name, "leaf-1");
    assert_eq!(found[0].account, "DEVICES");
    assert!(found[0].started_at.is_some());

    let disconnect = async || {
        let answer = world
            .admin
            .post("/v1/devices/0001/disconnect", json!({}))
            .await;
        answer.expect(200)["ended"].as_u64().unwrap()
    };
    assert_eq!(disconnect().await, 2);
    let newest = world.newest_event().await;
    let [event] = &world.store.events_after(newest - 1, 1).await.unwrap()[..] else {
        panic!()
    };
    assert_eq!(event.kind, EventKind::DeviceDisconnected);
    assert_eq!(event.device.as_ref().unwrap().as_str(), "0001");
    assert_eq!(event.detail, json!({ "sessions": 2 }));
    assert!(event.actor.starts_with("api-key:"), "{}", event.actor);
    for leaves in [&mut first_leaves, &mut second_leaves] {
        tokio::time::timeout(PATIENCE, leaves.recv()).await.unwrap();
    }
    // async-nats tries once to come back.
    other.flush().await.unwrap();
    assert!(other_leaves.try_recv().is_err());
    assert_eq!(sessions("0002").await.len(), 1);
    assert_eq!(
        world
            .admin
            .post("/v1/devices/0002/disconnect", json!({}))
            .await
            .expect(200)["ended"],
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_for_those_whose_role_and_scope_reach_them() {
    let cluster = Cluster::start().await;
    let world = World::start_with(&cluster.sections()).await;
    world.admin.register("0001", "pump", Some("cph1")).await;
    let (_device, mut leaves) = cluster.device("0001").await;
    let (_, viewer) = world.key(&[Role::Viewer], Scope::everything()).await;
    let (_, elsewhere) = world.key(&[Role::Operator], at_site("ams1")).await;
    let list = "/v1/devices/0001/sessions";
    let disconnect = "/v1/devices/0001/disconnect";
    viewer.get(list).await.expect(200);
    viewer
        .post(disconnect, json!({}))
        .await
        .problem("role-insufficient");
    elsewhere.get(list).await.problem("device-unknown");
    elsewhere
        .post(disconnect, json!({}))
        .await
        .problem("device-unknown");
    let conditional = world
        .admin
        .request(reqwest::Method::POST, disconnect)
        .header("If-Match", "\"1\"")
        .json(&json!({}));
    let conditional = crate::support::Answer::of(conditional).await;
    conditional.problem("request-malformed");
    assert!(leaves.try_recv().is_err());

    let (_, operator) = world.key(&[Role::Operator], at_site("cph1")).await;
    operator.post(disconnect, json!({})).await.expect(200);
    tokio::time::timeout(PATIENCE, leaves.recv()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_system_account_sessions_are_not_supported() {
    let world = World::start().await;
    world.admin.register("0001", "pump", None).await;
    let list = world.admin.get("/v1/devices/0001/sessions").await;
    assert!(list.problem("not-supported").contains("[system]"));
    let disconnect = world
        .admin
        .post("/v1/devices/0001/disconnect", json!({}))
        .await;
    disconnect.problem("not-supported");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_nats_is_told_and_the_rest_goes_on() {
    let mut cluster = Cluster::start().await;
    let world = World::start_with(&cluster.sections()).await;
    world.admin.register("0001", "pump", None).await;
    let list = "/v1/devices/0001/sessions";
    world.admin.get(list).await.expect(200);
    let readiness = async || {
        let url = format!("http://{}/readyz", world.health);
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), 200, "whoever asks for REST is answered");
        answer.text().await.unwrap()
    };
    assert!(!readiness().await.contains("leaf cluster"));
    cluster.server.kill9().await.unwrap();
    world.admin.get(list).await.problem("sessions-unavailable");
    let disconnect = world
        .admin
        .post("/v1/devices/0001/disconnect", json!({}))
        .await;
    disconnect.problem("sessions-unavailable");
    world.admin.get("/v1/devices/0001").await.expect(200);
    for connection in ["log-ins", "sessions", "renewals"] {
        let text = format!("the connection to the leaf cluster for {connection} is lost");
        eventually(async || readiness().await.contains(&text).then_some(())).await;
        let text = format!("leafgate_registry_nats_connected{{connection=\"{connection}\"}} 0");
        eventually(async || world.metrics().await.contains(&text).then_some(())).await;
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let problems = |sections: &str| {
        let error = Setup::load(config(&folder, sections)).unwrap_err();
        error.problems().join("\n")
    };
    assert!(
        problems("[system]\nnkey_seed_file = \"none.seed\"").contains("[system]: needs [nats]")
    );
    let account = SigningKey::generate(KeyKind::Account, &mut OsRng);
    write_secret(
        &folder.path().join("account.seed"),
        account.seed().expose_secret(),
    );
    let found = problems(
        "[nats]\nurls = []\nreplica = \"a.b\"\ncert_file = \"a\"\nnkey_seed_file = \"account.seed\"\n\
         [system]\nnkey_seed_file = \"missing.seed\"",
    );
    for part in [
        "[nats] urls: at least one",
        "[nats] cert_file and key_file: give both",
        "replica: ",
        "[nats] nkey_seed_file: ",
        "[system] nkey_seed_file: ",
    ] {
        assert!(found.contains(part), "{part} in {found}");
    }
    assert!(!found.contains(account.seed().expose_secret()));
}
