//! What crosses between devices and the hub.

use std::time::Duration;

use futures::StreamExt as _;
use leafgate_nats_config::{LeafConfig, Node, subjects};
use tokio::time;

use crate::client::{Client, Login, SILENCE, eventually, next, publish_until_received};
use crate::support::user;
use crate::world::{LIMIT, World, leafnode_address};

/// The device answers every command with its payload and its own id.
fn answer_commands(device: &Client, id: &str, mut commands: async_nats::Subscriber) {
    let (nats, id) = (device.nats.clone(), id.to_owned());
    tokio::spawn(async move {
        while let Some(command) = commands.next().await {
            if let Some(reply) = command.reply {
                let answer = format!("{id}: {}", String::from_utf8_lossy(&command.payload));
                nats.publish(reply, answer.into()).await.unwrap();
            }
        }
    });
}

#[tokio::test]
async fn telemetry_goes_up_under_the_sites_name() {
    let world = World::new();
    let (hub, site) = world.start_hub_and_site().await;
    let application = world
        .application(&hub, &world.keys.telemetry_application, "_INBOX")
        .await;
    let mut telemetry = application.subscribe("site.demo.>").await;
    let mut device = world.device(&site, 1).await;
    for (subject, on_hub) in [
        (
            "device.0001.metrics.temperature",
            "site.demo.device.0001.metrics.temperature",
        ),
        (
            "device.0001.metrics.a.b",
            "site.demo.device.0001.metrics.a.b",
        ),
        ("device.0001.status", "site.demo.device.0001.status"),
    ] {
        let message = publish_until_received(&device, subject, &mut telemetry).await;
        assert_eq!(message.subject.as_str(), on_hub);
    }

    device.publish("device.0002.status", "as another").await;
    device.publish("device.0001.cmd", "to itself").await;
    device.publish("device.0001.status", "after").await;
    assert_eq!(next(&mut telemetry).await.payload, "after");
    assert_eq!(device.complaints().await.len(), 2);
}

#[tokio::test]
async fn commands_come_down_and_answers_go_back() {
    let world = World::new();
    let (hub, site) = world.start_hub_and_site().await;
    let device = world.device(&site, 1).await;
    let other = world.device(&site, 2).await;
    for subject in ["device.0001.cmd", "device.0001.cmd.>"] {
        answer_commands(&device, "0001", device.subscribe(subject).await);
    }
    let mut others_commands = other.subscribe("device.0002.cmd").await;

    let mut application = world
        .application(
            &hub,
            &world.keys.command_application,
            subjects::COMMAND_INBOX_PREFIX,
        )
        .await;
    for subject in [
        "site.demo.device.0001.cmd",
        "site.demo.device.0001.cmd.reboot.now",
    ] {
        let answer = application.request(subject, "report").await;
        assert_eq!(answer.payload, "0001: report");
    }
    let refused = application
        .refused_publishes(&[
            "site.demo.device.0001.metrics.a",
            "device.0001.cmd",
            "_INBOX.commands.x",
        ])
        .await;
    assert_eq!(refused.len(), 3);
    assert_eq!(
        application
            .refused_subscriptions(&["_INBOX.>", "site.>"])
            .await
            .len(),
        2
    );

    // A command without answer arrives as well, and 0002 has had none of 0001's.
    application
        .publish("site.demo.device.0002.cmd", "only this")
        .await;
    assert_eq!(next(&mut others_commands).await.payload, "only this");
}

async fn create_stream(manager: &Client) {
    let stream =
        r#"{"name": "METRICS", "subjects": ["site.*.device.*.metrics.>"], "storage": "memory"}"#;
    let created = manager
        .request("$JS.API.STREAM.CREATE.METRICS", stream)
        .await;
    let created = String::from_utf8_lossy(&created.payload).into_owned();
    assert!(created.contains("did_create"), "{created}");
}

#[tokio::test]
async fn a_site_can_keep_its_telemetry() {
    let world = World::new();
    let hub = world.start_hub().await;
    let leaf = LeafConfig {
        callout: world.keys.stand_in(true),
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
    create_stream(&manager).await;
    let device = world.device(&site, 1).await;
    device.publish("device.0001.metrics.a", "kept").await;
    eventually(async || {
        let info = manager.request("$JS.API.STREAM.INFO.METRICS", "").await;
        String::from_utf8_lossy(&info.payload)
            .contains("\"messages\":1,")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_device_gets_no_more_than_the_accounts_limits() {
    let world = World::new();
    let leaf = LeafConfig {
        callout: world.keys.stand_in(true),
        ..world.keys.leaf(world.ca(), None)
    };
    let mut site = world.start(&leaf.render(&world.leaf_node()).unwrap()).await;
    let mut device = world.device(&site, 1).await;
    let mut subscribers = Vec::new();
    for number in 0..100 {
        subscribers.push(device.subscribe(&format!("device.0001.cmd.{number}")).await);
    }
    assert_eq!(device.complaints().await, [""; 0]);
    subscribers.push(device.subscribe("device.0001.cmd.one-more").await);
    let complaints = device.complaints().await;
    assert!(
        complaints.join(" ").contains("maximum subscriptions"),
        "{complaints:?}"
    );

    let mut other = world.device(&site, 2).await;
    other
        .publish("device.0002.status", &"x".repeat(64 << 10))
        .await;
    assert_eq!(other.complaints().await, [""; 0]);
    other
        .publish("device.0002.status", &"x".repeat((64 << 10) + 1))
        .await;
    // The connection ends before the client reads why.
    site.wait_for_log("65537 vs 65536", LIMIT).await.unwrap();
}

#[tokio::test]
async fn an_acknowledgement_on_the_hub_reaches_no_other_device() {
    let world = World::new();
    // The hub stores telemetry, so it acknowledges every message to the reply subject of its publisher.
    let node = Node {
        jetstream: Some(world.jetstream("hub")),
        ..world.hub_node()
    };
    let hub = world.start(&world.hub().render(&node).unwrap()).await;
    let manager = world
        .application(
            &hub,
            &world.keys.stream_manager,
            subjects::STREAM_INBOX_PREFIX,
        )
        .await;
    create_stream(&manager).await;
    let site = world.start_site(&hub).await;

    let observer = world
        .application(&hub, &world.keys.telemetry_application, "_INBOX")
        .await;
    let mut acknowledged = observer.subscribe("site.demo.device.0002.>").await;
    let attacker = world.device(&site, 1).await;
    let victim = world.device(&site, 2).await;
    let mut commands = victim.subscribe("device.0002.cmd").await;

    // Replies in the hub's words and in the site's, both ways that a command has.
    let replies = [
        "site.demo.device.0002.cmd",
        "site.demo.device.0002.cmd.now",
        "device.0002.cmd",
    ];
    eventually(async || {
        attacker
            .publish_with_reply("device.0001.metrics.a", replies[0], "")
            .await;
        time::timeout(Duration::from_millis(20), acknowledged.next())
            .await
            .ok()
    })
    .await;
    for reply in replies {
        attacker
            .publish_with_reply("device.0001.metrics.a", reply, "")
            .await;
    }
    // The acknowledgement is real: on the hub it stands on the victim's command subject.
    while next(&mut acknowledged).await.subject.as_str() != replies[1] {}

    let application = world
        .application(
            &hub,
            &world.keys.command_application,
            subjects::COMMAND_INBOX_PREFIX,
        )
        .await;
    eventually(async || {
        application
            .publish("site.demo.device.0002.cmd", "a command")
            .await;
        time::timeout(Duration::from_millis(20), commands.next())
            .await
            .ok()
            .flatten()
            .map(|first| assert_eq!(first.payload, "a command"))
    })
    .await;
    while let Ok(Some(message)) = time::timeout(SILENCE, commands.next()).await {
        assert_eq!(message.payload, "a command");
    }
}
