//! A site of real servers, brought up from what `leafgate nats-config` writes and says.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use futures::StreamExt;
use leafgate::local::ServiceProcess;
use leafgate_processes::{NatsServer, NatsServerBinary};
use leafgate_runtime::read_secret;
use secrecy::ExposeSecret;

use crate::support::{Desk, project, runtime};

const PATIENCE: Duration = Duration::from_secs(20);

/// The address of all servers: nothing else listens there, so that a port that is free a moment
/// ago is free still.
const HOST: &str = "127.0.0.2";

/// Different ports that are free on [`HOST`].
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind((HOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Rendered files with all that they name in place, as the command said it has to be.
fn rendered(desk: &Desk, [device, hub, leafnode]: [u16; 3]) {
    fs::create_dir(desk.path("etc")).unwrap();
    let said = desk.ok(&format!(
        "nats-config --out deploy --site plant-7 --listen {HOST} --leaf-node leaf-1={HOST} --hub-node hub-1={HOST} \
         --device-port {device} --hub-port {hub} --hub-leafnode-port {leafnode} --replicas-max 1 \
         --cert-file etc/{{node}}.crt --key-file etc/{{node}}.key --ca-file etc/root.crt \
         --devices-ca-file etc/devices.crt --servers-ca-file etc/servers.crt \
         --callout-cert-file etc/callout.crt --callout-key-file etc/callout.key --policy etc/device.toml \
         --store-url sqlite:.leafgate/registry.db --health-listen 127.0.0.1:0"
    ));
    for copied in [
        "have root.crt, devices.crt and servers.crt of the CA as etc/root.crt, etc/devices.crt and etc/servers.crt\n",
        "have the policies as etc/device.toml\n",
    ] {
        assert!(said.contains(copied), "{said}");
    }
    for name in ["root", "devices", "servers"] {
        let file = format!("{name}.crt");
        let from = desk.path(".leafgate/ca").join(&file);
        fs::copy(from, desk.path("etc").join(file)).unwrap();
    }
    let policy = project().join("policies/device.toml");
    fs::copy(policy, desk.path("etc/device.toml")).unwrap();
    let commands: Vec<&str> = said
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("leafgate "))
        .collect();
    assert_eq!(commands.len(), 4, "{said}");
    for command in commands {
        let printed = desk.ok(command);
        assert!(!printed.contains("warning"), "{command}: {printed}");
    }
}

async fn start_server(desk: &Desk, name: &str) -> NatsServer {
    let binary = NatsServerBinary::pinned(NatsServerBinary::DEFAULT_VERSION, &project()).unwrap();
    let config = desk.path(format!("deploy/{name}.conf"));
    let log = desk.path(format!("{name}.log"));
    let started = NatsServer::start(name, &binary, &config, &log, &desk.path("ports")).await;
    started.unwrap_or_else(|error| panic!("{error}"))
}

async fn start_callout(desk: &Desk) -> ServiceProcess {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leafgate-callout"));
    command
        .env_clear()
        .arg("--config")
        .arg(desk.path("deploy/callout-0.toml"));
    let log = desk.path("callout-0.log");
    let started = ServiceProcess::start("callout-0", command, &log).await;
    started.unwrap_or_else(|error| panic!("{error:#}"))
}

/// An application of the hub, by the seed that was rendered for it.
async fn application(desk: &Desk, seed: &str, inbox_prefix: &str, port: u16) -> Client {
    let seed = read_secret(&desk.path(format!("deploy/keys/{seed}.seed"))).unwrap();
    ConnectOptions::with_nkey(seed.expose_secret().to_owned())
        .add_root_certificates(desk.path("etc/root.crt"))
        .require_tls(true)
        .custom_inbox_prefix(inbox_prefix)
        .connect(format!("tls://{HOST}:{port}"))
        .await
        .unwrap()
}

#[test]
fn what_is_rendered_boots_links_and_lets_a_device_in() {
    let desk = Desk::with_registry();
    let ports @ [device_port, hub_port, _] = free_ports();
    rendered(&desk, ports);
    runtime().block_on(async {
        let _hub = start_server(&desk, "hub-1").await;
        let mut leaf = start_server(&desk, "leaf-1").await;
        for account in ["TELEMETRY", "COMMANDS"] {
            let linked = format!("Leafnode connection created for account: {account}");
            let seen = leaf.wait_for_log(&linked, PATIENCE).await;
            seen.unwrap_or_else(|error| panic!("{error}"));
        }
        let mut callout = start_callout(&desk).await;

        let connect = format!("connect 0001 --cert-dir devices --url tls://{HOST}:{device_port}");
        desk.ok("device register 0001 --out devices");
        let telemetry = application(&desk, "hub-telemetry", "_INBOX", hub_port).await;
        let subject = "site.plant-7.device.0001.metrics.temperature";
        let mut metrics = telemetry.subscribe(subject).await.unwrap();
        telemetry.flush().await.unwrap();
        // The hub's interest travels to the leaf on its own time.
        let mut tries = 0;
        let message = loop {
            desk.ok(&format!(
                "{connect} --pub device.0001.metrics.temperature 21.5"
            ));
            let next = tokio::time::timeout(Duration::from_millis(500), metrics.next()).await;
            if let Ok(message) = next {
                break message.unwrap();
            }
            tries += 1;
            assert!(tries < 20, "the device's message does not reach the hub");
        };
        assert_eq!(message.payload, "21.5");

        desk.ok("device disable 0001");
        desk.fails(&connect, 5);
        let denied = "decision denied reason=device-disabled device=0001";
        let log = callout.child_mut();
        let seen = log.wait_for_log(denied, PATIENCE).await;
        seen.unwrap_or_else(|error| panic!("{error}"));
    });
}
