//! The registry's users: what they may do, that they can do their work, and what they may not.

use futures::StreamExt as _;
use leafgate_nats_config::{LeafConfig, subjects};
use leafgate_processes::NatsServer;

use crate::client::{Client, Login, next, silence};
use crate::world::World;

const RENEWALS: &str = "device.*.renew leafgate-registry";

struct Registry {
    auth: Client,
    system: Client,
    devices: Client,
}

impl Registry {
    async fn connect(world: &World, site: &NatsServer) -> Self {
        let [auth, system, devices] = &world.keys.registry;
        let connect = async |nkey| {
            let login = Login {
                certificate: Some("callout"),
                nkey: Some(nkey),
                inbox_prefix: "_INBOX.registry-0",
            };
            world.connect(site, login).await.unwrap()
        };
        Self {
            auth: connect(auth).await,
            system: connect(system).await,
            devices: connect(devices).await,
        }
    }
}

#[tokio::test]
async fn the_registry_may_do_its_work_and_no_more() {
    let world = World::new();
    let leaf = world.keys.leaf(world.ca(), None);
    let site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    let Registry {
        mut auth,
        mut system,
        mut devices,
    } = Registry::connect(&world, &site).await;

    let own = ["leafgate.v1.log-in leafgate-registry"];
    assert_eq!(auth.refused_subscriptions(&own).await, [""; 0]);
    let others = [
        subjects::LOG_IN,
        "leafgate.v1.log-in another-queue",
        subjects::AUTH_REQUEST,
        "$SYS.REQ.USER.AUTH leafgate-callout",
        "$SYS.REQ.USER.AUTH leafgate-registry",
        subjects::EVICT,
        subjects::ALIVE_ALL,
        "_INBOX.callout-0.>",
        ">",
    ];
    assert_eq!(auth.refused_subscriptions(&others).await, others);
    let others = [
        "$SYS._INBOX.a.b",
        subjects::EVICT,
        subjects::LOG_IN,
        "leafgate.v1.alive.registry-0",
        "_INBOX.callout-0.x",
    ];
    assert_eq!(auth.refused_publishes(&others).await, others);

    let own = ["_INBOX.registry-0.>"];
    assert_eq!(system.refused_subscriptions(&own).await, [""; 0]);
    let others = [
        "$SYS.REQ.SERVER.>",
        "$SYS.REQ.SERVER.*.IDZ",
        "$SYS.ACCOUNT.*.CONNECT",
        "_INBOX.callout-0.>",
        ">",
    ];
    assert_eq!(system.refused_subscriptions(&others).await, others);
    let own = [
        "$SYS.REQ.SERVER.PING.CONNZ",
        "$SYS.REQ.SERVER.X.CONNZ",
        "$SYS.REQ.SERVER.X.KICK",
    ];
    assert_eq!(system.refused_publishes(&own).await, [""; 0]);
    let others = [
        "$SYS.REQ.SERVER.X.IDZ",
        "$SYS.REQ.SERVER.X.RELOAD",
        "$SYS.REQ.SERVER.X.LDM",
        "$SYS.REQ.SERVER.PING.VARZ",
        "$SYS.REQ.CLAIMS.UPDATE",
    ];
    assert_eq!(system.refused_publishes(&others).await, others);

    assert_eq!(devices.refused_subscriptions(&[RENEWALS]).await, [""; 0]);
    let others = [
        "device.*.renew",
        "device.*.renew another-queue",
        "device.>",
        "device.0001.cmd",
        "_INBOX.0001.>",
        ">",
    ];
    assert_eq!(devices.refused_subscriptions(&others).await, others);
    assert_eq!(devices.refused_publishes(&["_INBOX.0001.x"]).await, [""; 0]);
    let others = [
        "device.0001.cmd",
        "device.0001.cmd.now",
        "device.0001.renew",
        "device.0001.status",
        "_INBOX.0001",
    ];
    assert_eq!(devices.refused_publishes(&others).await, others);
}

#[tokio::test]
async fn the_registry_hears_of_log_ins() {
    let world = World::new();
    let leaf = world.keys.leaf(world.ca(), None);
    let site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    let registry = Registry::connect(&world, &site).await;
    let mut log_ins = registry
        .auth
        .nats
        .queue_subscribe(subjects::LOG_IN, subjects::REGISTRY_QUEUE.to_owned())
        .await
        .unwrap();
    registry.auth.nats.flush().await.unwrap();
    let login = Login {
        certificate: Some("callout"),
        nkey: Some(&world.keys.auth[0]),
        inbox_prefix: "_INBOX.callout-0",
    };
    let callout = world.connect(&site, login).await.unwrap();
    callout.publish(subjects::LOG_IN, "0001").await;
    assert_eq!(next(&mut log_ins).await.payload, "0001");
}

/// A device names the reply subject, and nats-server does not check it: that the registry's answer reaches no command
/// subject is up to the registry's own permissions, whatever it tries to answer to.
#[tokio::test]
async fn a_device_is_answered_and_can_steer_no_answer_to_a_command_subject() {
    let world = World::new();
    let leaf = LeafConfig {
        callout: world.keys.stand_in(true),
        ..world.keys.leaf(world.ca(), None)
    };
    let site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    let mut registry = Registry::connect(&world, &site).await;
    let mut renewals = registry
        .devices
        .nats
        .queue_subscribe("device.*.renew", subjects::REGISTRY_QUEUE.to_owned())
        .await
        .unwrap();
    registry.devices.nats.flush().await.unwrap();
    let device = async |number: usize, inbox_prefix| {
        let login = Login {
            certificate: Some("callout"),
            nkey: Some(&world.keys.devices[number]),
            inbox_prefix,
        };
        world.connect(&site, login).await.unwrap()
    };
    let mut first = device(0, "_INBOX.0001").await;
    let second = device(1, "_INBOX.0002").await;
    let mut commands = second.subscribe("device.0002.cmd").await;
    second.nats.flush().await.unwrap();

    let nats = registry.devices.nats.clone();
    let answering = async {
        let request = renewals.next().await.unwrap();
        nats.publish(request.reply.unwrap(), "renewed".into())
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(first.request("device.0001.renew", "please"), answering);
    assert_eq!(answer.payload, "renewed");

    first
        .nats
        .publish_with_reply("device.0001.renew", "device.0002.cmd", "please".into())
        .await
        .unwrap();
    let request = next(&mut renewals).await;
    assert_eq!(request.reply.as_deref(), Some("device.0002.cmd"));
    let refused = registry.devices.refused_publishes(&["device.0002.cmd"]);
    assert_eq!(refused.await, ["device.0002.cmd"]);
    silence(&mut commands).await;

    let others = ["device.0002.renew", "device.renew"];
    assert_eq!(first.refused_publishes(&others).await, others);
}
