//! A site of two nodes: whatever crosses to the hub or back crosses once.

use futures::StreamExt as _;
use leafgate_nats_config::{Cluster, LeafConfig, Node, RouteSecret, subjects};
use leafgate_processes::NatsServer;

use crate::client::{next, publish_until_received, silence};
use crate::support::{any_port, certificate_files, name};
use crate::world::{LIMIT, World, await_links, leafnode_address};

async fn start_cluster(world: &World, hub: &NatsServer) -> [NatsServer; 2] {
    let leaf = LeafConfig {
        callout: world.keys.stand_in(true),
        ..world.keys.leaf(world.ca(), Some(leafnode_address(hub)))
    };
    let node = |server_name, routes| Node {
        server_name: name(server_name),
        certificate: certificate_files(world.ca(), server_name),
        cluster: Some(Cluster {
            name: name("demo"),
            listen: any_port(),
            routes,
            secret: Some(RouteSecret::parse("0123456789abcdefghijkl".to_owned().into()).unwrap()),
        }),
        ..world.leaf_node()
    };
    let mut first = world
        .start(&leaf.render(&node("demo-0", Vec::new())).unwrap())
        .await;
    let route = first.ports().cluster.unwrap().into();
    let mut second = world
        .start(&leaf.render(&node("demo-1", vec![route])).unwrap())
        .await;
    for server in [&mut first, &mut second] {
        await_links(server).await;
        server
            .wait_for_log("Route connection created", LIMIT)
            .await
            .unwrap();
    }
    [first, second]
}

#[tokio::test]
async fn nothing_crosses_twice() {
    let world = World::new();
    let hub = world.start_hub().await;
    let nodes = start_cluster(&world, &hub).await;
    let reader = world
        .application(&hub, &world.keys.telemetry_application, "_INBOX")
        .await;
    let commander = world
        .application(
            &hub,
            &world.keys.command_application,
            subjects::COMMAND_INBOX_PREFIX,
        )
        .await;
    for (number, node) in [(1, &nodes[0]), (2, &nodes[1])] {
        let device = world.device(node, number).await;
        let mut telemetry = reader
            .subscribe(&format!("site.demo.device.{number:04}.>"))
            .await;
        let status = format!("device.{number:04}.status");
        publish_until_received(&device, &status, &mut telemetry).await;
        // Interest of the other node may still be on its way.
        silence(&mut telemetry).await;
        for count in 0..20 {
            device.publish(&status, &count.to_string()).await;
        }
        for count in 0..20 {
            assert_eq!(next(&mut telemetry).await.payload, count.to_string());
        }
        silence(&mut telemetry).await;

        let mut commands = device.subscribe(&format!("device.{number:04}.cmd")).await;
        let subject = format!("site.demo.device.{number:04}.cmd");
        publish_until_received(&commander, &subject, &mut commands).await;
        silence(&mut commands).await;
        for count in 0..20 {
            commander.publish(&subject, &count.to_string()).await;
        }
        for count in 0..20 {
            assert_eq!(next(&mut commands).await.payload, count.to_string());
        }
        silence(&mut commands).await;

        let nats = device.nats.clone();
        let answering = async {
            let command = commands.next().await.unwrap();
            nats.publish(command.reply.unwrap(), "done".into())
                .await
                .unwrap();
        };
        let (answer, ()) = tokio::join!(commander.request(&subject, "do"), answering);
        assert_eq!(answer.payload, "done");
    }
}
