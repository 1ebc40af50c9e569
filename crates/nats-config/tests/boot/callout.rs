//! The callout's users: what they may do, that they can do their work, and what they may not.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use leafgate_nats_config::{CalloutMode, LeafConfig, Node, subjects};
use leafgate_nats_jwt::{
    AuthorizationRequest, CurvePublicKey, Limits, Permissions, ResponseClaims, SubjectRules,
    UnverifiedRequest, UserClaims,
};
use leafgate_processes::NatsServer;
use secrecy::ExposeSecret as _;

use crate::client::{Client, Login, eventually, next, publish_until_received};
use crate::support::{Keys, user};
use crate::world::{World, await_links, leafnode_address};

async fn replica(world: &World, site: &NatsServer, number: usize) -> (Client, Client) {
    let inbox_prefix = format!("_INBOX.callout-{number}");
    let login = |nkey| Login {
        certificate: Some("callout"),
        nkey: Some(nkey),
        inbox_prefix: &inbox_prefix,
    };
    let auth = world
        .connect(site, login(&world.keys.auth[number]))
        .await
        .unwrap();
    let system = world
        .connect(site, login(&world.keys.system[number]))
        .await
        .unwrap();
    (auth, system)
}

#[tokio::test]
async fn a_replica_may_do_its_work_and_no_more() {
    let world = World::new();
    let leaf = world.keys.leaf(world.ca(), None);
    let site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    let (mut auth, mut system) = replica(&world, &site, 0).await;

    let own = [
        "$SYS.REQ.USER.AUTH leafgate-callout",
        "_INBOX.callout-0.>",
        subjects::EVICT,
        subjects::ALIVE_ALL,
    ];
    assert_eq!(auth.refused_subscriptions(&own).await, [""; 0]);
    let others = [
        "$SYS.REQ.USER.AUTH",
        "$SYS.REQ.USER.AUTH another-queue",
        "_INBOX.callout-1.>",
        "_INBOX.>",
        "$SYS._INBOX.>",
        ">",
    ];
    assert_eq!(auth.refused_subscriptions(&others).await, others);
    let own = [
        "$SYS._INBOX.a.b",
        subjects::EVICT,
        "leafgate.v1.alive.callout-0",
    ];
    assert_eq!(auth.refused_publishes(&own).await, [""; 0]);
    let others = [
        subjects::AUTH_REQUEST,
        "leafgate.v1.alive.callout-1",
        "_INBOX.callout-1.x",
    ];
    assert_eq!(auth.refused_publishes(&others).await, others);

    let own = [
        "$SYS.ACCOUNT.*.CONNECT",
        "$SYS.ACCOUNT.*.DISCONNECT",
        "_INBOX.callout-0.>",
    ];
    assert_eq!(system.refused_subscriptions(&own).await, [""; 0]);
    let others = [
        "$SYS.REQ.SERVER.*.IDZ",
        "$SYS.REQ.SERVER.>",
        "$SYS.ACCOUNT.>",
        "_INBOX.callout-1.>",
        ">",
    ];
    assert_eq!(system.refused_subscriptions(&others).await, others);
    let others = [
        "$SYS.REQ.SERVER.X.RELOAD",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.REQ.SERVER.PING.VARZ",
    ];
    assert_eq!(system.refused_publishes(&others).await, others);
}

#[tokio::test]
async fn the_administrator_needs_no_callout() {
    let world = World::new();
    let leaf = world.keys.leaf(world.ca(), None);
    let site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    let login = Login {
        certificate: Some("callout"),
        nkey: Some(&world.keys.administrator),
        inbox_prefix: "_INBOX",
    };
    let administrator = world.connect(&site, login).await.unwrap();
    let answer = administrator.request("$SYS.REQ.SERVER.PING.VARZ", "").await;
    assert!(text(&answer.payload).contains("\"demo-0\""));
}

#[tokio::test]
async fn the_stream_manager_needs_no_callout() {
    let world = World::new();
    let hub = world.start_hub().await;
    let leaf = LeafConfig {
        stream_manager: Some(user(&world.keys.stream_manager)),
        ..world.keys.leaf(world.ca(), Some(leafnode_address(&hub)))
    };
    let node = Node {
        jetstream: Some(world.jetstream("demo")),
        ..world.leaf_node()
    };
    let site = world.start(&leaf.render(&node).unwrap()).await;
    let login = Login {
        certificate: Some("callout"),
        nkey: Some(&world.keys.stream_manager),
        inbox_prefix: subjects::STREAM_INBOX_PREFIX,
    };
    let manager = world.connect(&site, login).await.unwrap();
    let info = manager.request("$JS.API.INFO", "").await;
    assert!(text(&info.payload).contains("\"domain\":\"demo\""));
}

#[tokio::test]
async fn a_replica_hears_the_others() {
    let world = World::new();
    let leaf = world.keys.leaf(world.ca(), None);
    let site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    let ((first, _), (second, _)) = (
        replica(&world, &site, 0).await,
        replica(&world, &site, 1).await,
    );
    let mut evicted = second.subscribe(subjects::EVICT).await;
    let mut alive = second.subscribe(subjects::ALIVE_ALL).await;
    publish_until_received(&first, subjects::EVICT, &mut evicted).await;
    publish_until_received(&first, "leafgate.v1.alive.callout-0", &mut alive).await;
}

#[tokio::test]
async fn a_device_is_let_in_seen_and_ended() {
    let world = World::new();
    let hub = world.start_hub().await;
    let leaf = world.keys.leaf(world.ca(), Some(leafnode_address(&hub)));
    let mut site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    await_links(&mut site).await;
    let (auth, system) = replica(&world, &site, 0).await;
    let mut connects = system.subscribe("$SYS.ACCOUNT.*.CONNECT").await;
    let mut disconnects = system.subscribe("$SYS.ACCOUNT.*.DISCONNECT").await;
    let mut requests = auth
        .nats
        .queue_subscribe(subjects::AUTH_REQUEST, subjects::CALLOUT_QUEUE.to_owned())
        .await
        .unwrap();
    let answering = async {
        let request = next(&mut requests).await;
        let answer = admit(&world.keys, &request);
        auth.nats
            .publish(request.reply.unwrap(), answer.into())
            .await
            .unwrap();
    };
    let login = Login {
        certificate: Some("device-0001"),
        nkey: None,
        inbox_prefix: "_INBOX.0001",
    };
    let (device, ()) = tokio::join!(world.connect(&site, login), answering);
    let device = device.unwrap();

    let reader = world
        .application(&hub, &world.keys.telemetry_application, "_INBOX")
        .await;
    let mut telemetry = reader.subscribe("site.demo.>").await;
    publish_until_received(&device, "device.0001.status", &mut telemetry).await;

    let connected = eventually(async || {
        let event = connects.next().await?;
        text(&event.payload).contains("\"0001\"").then_some(event)
    })
    .await;
    assert_eq!(connected.subject.as_str(), "$SYS.ACCOUNT.DEVICES.CONNECT");
    let query = r#"{"user": "0001", "auth": true, "acc": "DEVICES"}"#;
    let found = text(
        &system
            .request("$SYS.REQ.SERVER.PING.CONNZ", query)
            .await
            .payload,
    );
    let server = between(&found, "\"server_id\":\"", '"');
    let cid = between(&found, "\"cid\":", ',');
    let who = system
        .request(&format!("$SYS.REQ.SERVER.{server}.IDZ"), "")
        .await;
    assert!(text(&who.payload).contains("\"demo-0\""));
    let page = format!("$SYS.REQ.SERVER.{server}.CONNZ");
    assert!(text(&system.request(&page, query).await.payload).contains("\"0001\""));

    let kick = format!("{{\"cid\": {cid}}}");
    system
        .request(&format!("$SYS.REQ.SERVER.{server}.KICK"), &kick)
        .await;
    let ended = eventually(async || {
        let event = disconnects.next().await?;
        text(&event.payload).contains("\"0001\"").then_some(event)
    })
    .await;
    assert!(text(&ended.payload).contains("Kicked"));
}

/// The answer that lets the device of a request in as 0001.
fn admit(keys: &Keys, message: &async_nats::Message) -> String {
    let headers = message.headers.as_ref().expect("requests are encrypted");
    let xkey = headers.get("Nats-Server-Xkey").unwrap().as_str();
    let shared = keys
        .xkey
        .shared(&CurvePublicKey::parse(xkey).unwrap())
        .unwrap();
    let request: AuthorizationRequest = UnverifiedRequest::open(&message.payload, &shared)
        .unwrap()
        .verify()
        .unwrap();
    let chain = &request.tls.as_ref().unwrap().verified_chains;
    assert_eq!(chain.iter().map(Vec::len).collect::<Vec<_>>(), [2]);

    #[expect(clippy::disallowed_methods, reason = "a test is an edge")]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let issued_at_secs = i64::try_from(now).unwrap();
    let publish = ["device.0001.>".to_owned()];
    let user = UserClaims {
        subject: &request.user_nkey,
        name: "0001",
        audience: "DEVICES",
        issued_at_secs,
        expires_at_secs: Some(issued_at_secs + 60),
        permissions: Permissions {
            publish: SubjectRules {
                allow: &publish,
                deny: &[],
            },
            subscribe: SubjectRules {
                allow: &publish,
                deny: &[],
            },
            responses: None,
        },
        allowed_connection_types: &[],
        source_networks: &[],
        limits: Limits::default(),
        issuer_account: None,
    }
    .encode(&keys.issuer)
    .unwrap();
    ResponseClaims {
        subject: &request.user_nkey,
        audience: &request.server.id,
        issued_at_secs,
        outcome: Ok(&user),
        issuer_account: None,
    }
    .encode(&keys.issuer)
    .unwrap()
}

#[tokio::test]
async fn stand_ins_reach_a_callout_without_a_device() {
    let world = World::new();
    let leaf = LeafConfig {
        callout: world.keys.stand_in(true),
        tester: Some(user(&world.keys.tester)),
        ..world.keys.leaf(world.ca(), None)
    };
    let site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    let (auth, system) = replica(&world, &site, 0).await;
    let login = |nkey, inbox_prefix| Login {
        certificate: Some("callout"),
        nkey: Some(nkey),
        inbox_prefix,
    };
    let requester = world
        .connect(&site, login(&world.keys.requester, "$SYS._INBOX"))
        .await
        .unwrap();
    let mut requests = auth
        .nats
        .queue_subscribe(subjects::AUTH_REQUEST, subjects::CALLOUT_QUEUE.to_owned())
        .await
        .unwrap();
    let nats = auth.nats.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            nats.publish(request.reply.unwrap(), "decided".into())
                .await
                .unwrap();
        }
    });
    assert_eq!(
        requester
            .request(subjects::AUTH_REQUEST, "who?")
            .await
            .payload,
        "decided"
    );

    let tester = world
        .connect(&site, login(&world.keys.tester, "_INBOX.tester"))
        .await
        .unwrap();
    let mut asked = tester.subscribe("$SYS.REQ.SERVER.*.IDZ").await;
    let vouching = async {
        loop {
            let question = next(&mut asked).await;
            if question.subject.contains("NOSUCHSERVER") {
                tester
                    .nats
                    .publish(question.reply.unwrap(), "here".into())
                    .await
                    .unwrap();
                return;
            }
        }
    };
    let (answer, ()) = tokio::join!(
        system.request("$SYS.REQ.SERVER.NOSUCHSERVER.IDZ", ""),
        vouching
    );
    assert_eq!(answer.payload, "here");
}

#[tokio::test]
async fn load_tests_may_leave_tls_out() {
    let world = World::new();
    let mut callout = world.keys.stand_in(false);
    let CalloutMode::AbsentForTesting(stand_in) = &mut callout else {
        unreachable!("a stand-in was asked for")
    };
    stand_in.devices.clear();
    let leaf = LeafConfig {
        callout,
        ..world.keys.leaf(world.ca(), None)
    };
    let site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    let seed = world.keys.requester.seed().expose_secret().to_owned();
    let address = format!("nats://{}", site.ports().client);
    async_nats::ConnectOptions::with_nkey(seed)
        .connect(address)
        .await
        .unwrap();
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

fn between<'a>(text: &'a str, start: &str, end: char) -> &'a str {
    let (_, rest) = text
        .split_once(start)
        .unwrap_or_else(|| panic!("{start} is missing in {text}"));
    rest.split(end).next().unwrap()
}
