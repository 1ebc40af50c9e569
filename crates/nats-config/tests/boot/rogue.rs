//! Sites whose servers follow a configuration of their own: what the hub alone keeps them from.

use leafgate_nats_config::subjects;
use leafgate_nats_jwt::SigningKey;
use leafgate_processes::NatsServer;
use secrecy::ExposeSecret as _;

use crate::client::{Client, next, publish_until_received, silence};
use crate::world::{World, await_links};

/// A server with the seeds of a site and everything else as it likes.
struct RogueSite {
    _server: NatsServer,
    telemetry: Client,
    commands: Client,
}

impl RogueSite {
    async fn start(world: &World, hub: &NatsServer, site: &str, links: [&SigningKey; 2]) -> Self {
        let path = world.file(&format!("{site}.conf"));
        std::fs::write(&path, Self::configuration(world, hub, site, links)).unwrap();
        let mut server = world.start_file(site, &path).await;
        await_links(&mut server).await;
        let [telemetry, commands] = [0, 1].map(|user| &world.keys.devices[user]);
        Self {
            telemetry: world.application(&server, telemetry, "_INBOX").await,
            commands: world.application(&server, commands, "_INBOX").await,
            _server: server,
        }
    }

    fn configuration(
        world: &World,
        hub: &NatsServer,
        site: &str,
        [telemetry, commands]: [&SigningKey; 2],
    ) -> String {
        let ca = world.ca().display();
        let hub = hub.ports().leafnode.unwrap();
        let certificate = format!("cert_file: \"{ca}/demo-0.crt\", key_file: \"{ca}/demo-0.key\"");
        let remote = |account: &str, seed: &SigningKey| {
            let seed = seed.seed().expose_secret();
            format!(
                "{{ urls: [\"tls://{hub}\"], account: {account}, nkey: \"{seed}\", \
                 tls {{ {certificate}, ca_file: \"{ca}/servers.crt\" }} }}"
            )
        };
        let account = |name: &str, user: &SigningKey| {
            format!("{name} {{ users: [{{ nkey: {} }}] }}", user.public())
        };
        [
            format!("server_name: {site}, host: 127.0.0.1, port: -1, tls {{ {certificate} }}"),
            "leafnodes { remotes: [".to_owned(),
            remote("TELEMETRY", telemetry),
            remote("COMMANDS", commands),
            "] }, accounts {".to_owned(),
            account("TELEMETRY", &world.keys.devices[0]),
            account("COMMANDS", &world.keys.devices[1]),
            "}".to_owned(),
        ]
        .join("\n")
    }
}

#[tokio::test]
async fn a_site_acts_and_hears_for_itself_alone() {
    let world = World::new();
    let keys = &world.keys;
    let hub = world.start_hub().await;
    let links: [&SigningKey; 2] = [&keys.telemetry_link, &keys.command_link];
    let demo = RogueSite::start(&world, &hub, "demo", links).await;
    let links: [&SigningKey; 2] = [&keys.other_telemetry_link, &keys.other_command_link];
    let other = RogueSite::start(&world, &hub, "other", links).await;
    let reader = world
        .application(&hub, &keys.telemetry_application, "_INBOX")
        .await;
    let commander = world
        .application(
            &hub,
            &keys.command_application,
            subjects::COMMAND_INBOX_PREFIX,
        )
        .await;

    // Telemetry: the other site's is not heard, and none can be published in its name. The wildcard is one that a
    // server passes on to the hub, because it covers a subject that the link may subscribe.
    let mut overheard = demo.telemetry.subscribe("site.other.>").await;
    let mut overheard_by_wildcard = demo.telemetry.subscribe("site.*.*").await;
    let mut of_demo = reader.subscribe("site.demo.>").await;
    let mut of_other = reader.subscribe("site.other.>").await;
    for subject in ["site.other.device.7.status", "site.other.nothing"] {
        publish_until_received(&other.telemetry, subject, &mut of_other).await;
    }
    silence(&mut overheard).await;
    silence(&mut overheard_by_wildcard).await;
    publish_until_received(&demo.telemetry, "site.demo.device.7.status", &mut of_demo).await;
    demo.telemetry
        .publish("site.other.device.7.status", "forged")
        .await;
    demo.telemetry
        .publish("site.demo.device.7.status", "after")
        .await;
    assert_eq!(next(&mut of_demo).await.payload, "after");
    silence(&mut of_other).await;

    // Commands: only its own are heard, and none can be given.
    let mut commands = demo.commands.subscribe("site.*.device.*.cmd").await;
    let mut commands_of_other = other.commands.subscribe("site.other.device.*.cmd").await;
    publish_until_received(&commander, "site.demo.device.7.cmd", &mut commands).await;
    publish_until_received(
        &commander,
        "site.other.device.7.cmd",
        &mut commands_of_other,
    )
    .await;
    commander.publish("site.demo.device.7.cmd", "own").await;
    assert_eq!(next(&mut commands).await.payload, "own");
    demo.commands
        .publish("site.other.device.7.cmd", "forged")
        .await;
    silence(&mut commands_of_other).await;
}
