//! The site of docker-compose.yml, on a real Docker engine.

mod engine;
mod images;
mod root_fs;
mod site;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_nats::ConnectOptions;
use futures::StreamExt as _;
use leafgate::local::{Credentials, Device, LogInError, write_credentials};
use leafgate_runtime::read_secret;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::time::timeout;

use self::engine::succeed;
use self::site::{ComposeSite, Container};
use crate::support::{PATIENCE, eventually, machine, project};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_registers_logs_in_and_is_revoked_in_containers() {
    let _machine = machine().await;
    let site = ComposeSite::prepare();
    let [bring_up, renew, start_vault] = site.commands("docs/compose.md");
    site.run(&bring_up);
    site.run(&start_vault);
    let containers = site.healthy();

    let api = Api::of(&site, &containers);
    let credentials = api.register("0001", site.folder());
    let url = address(&containers, "leaf");
    let mut device = Device::log_in(&url, "0001", &credentials).await.unwrap();
    assert_reaches_hub(&device, &site, &containers).await;

    api.ask("devices/0001/revoke", &json!({"reason": "key-compromise"}));
    device.ended(PATIENCE).await.unwrap();
    let refused = Device::log_in(&url, "0001", &credentials).await;
    assert!(matches!(refused, Err(LogInError::Refused)));
    let denied = "decision denied reason=device-revoked device=0001";
    let logs = eventually("the denial's line in a callout's log", async || {
        Some(site.logs()).filter(|logs| logs.contains(denied))
    })
    .await;

    let services: Vec<&str> = containers.iter().map(assert_confined).collect();
    for service in [
        "callout-0",
        "callout-1",
        "hub",
        "leaf",
        "postgres",
        "registry",
        "vault",
    ] {
        assert!(services.contains(&service), "{services:?}");
    }
    let secrets = secrets_below(&site.state(""));
    assert!(secrets.len() > 20, "{} secrets", secrets.len());
    let facts: String = containers.iter().map(|it| it.facts.to_string()).collect();
    let told = logs + &facts + &site.resolved() + &site.image();
    for (path, secret) in &secrets {
        assert!(!told.contains(secret), "{} shows", path.display());
    }

    site.run(&renew);
    let containers = site.healthy();
    let credentials = Api::of(&site, &containers).register("0002", site.folder());
    let url = address(&containers, "leaf");
    Device::log_in(&url, "0002", &credentials).await.unwrap();
    // All but the keys of the renewed certificates.
    for (path, secret) in secrets {
        let renewed = path.extension().is_some_and(|kind| kind == "key");
        let kept = !renewed || path.starts_with(site.state("pki"));
        assert!(
            !kept || read(&path).contains(&secret),
            "{} has changed",
            path.display()
        );
    }
}

#[test]
fn what_prepare_makes_is_ignored_by_git() {
    for path in [".env", "deploy/compose/state/pki/ca/devices.key"] {
        let mut git = Command::new("git");
        git.args(["check-ignore", path]).current_dir(project());
        succeed(git);
    }
}

/// The registry's API, for the bearer of its first key.
struct Api {
    url: String,
    ca: PathBuf,
    authorization: PathBuf,
}

impl Api {
    fn of(site: &ComposeSite, containers: &[Container]) -> Self {
        let key = read_secret(&site.state("admin/admin.key")).unwrap();
        let authorization = site.folder().join("authorization");
        let header = format!("Authorization: Bearer {}", key.expose_secret());
        fs::write(&authorization, header).unwrap();
        Self {
            url: format!(
                "https://localhost:{}",
                find(containers, "registry").port(8443)
            ),
            ca: site.state("admin/root.crt"),
            authorization,
        }
    }

    /// Registers a device, and puts its certificate and key, both made by the registry, into a folder.
    fn register(&self, id: &str, folder: &Path) -> Credentials {
        let device = json!({"id": id, "device_type": "thermostat"});
        assert_eq!(self.ask("devices", &device)["state"], "active");
        let asked = json!({"generate_key": true});
        let issued = self.ask(&format!("devices/{id}/certificates"), &asked);
        let text = |name: &str| issued[name].as_str().unwrap();
        let key = SecretString::from(text("private_key"));
        write_credentials(&folder.join(id), text("chain"), &key).unwrap();
        fs::copy(&self.ca, folder.join("ca.crt")).unwrap();
        Credentials::in_folder(folder, id)
    }

    /// Posts a body below `/v1/`, which must succeed; the answer.
    fn ask(&self, path: &str, body: &Value) -> Value {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--noproxy",
            "*",
        ])
        .arg("--cacert")
        .arg(&self.ca)
        .arg("--header")
        .arg(format!("@{}", self.authorization.display()))
        .args(["--json", &body.to_string()])
        .arg(format!("{}/v1/{path}", self.url));
        serde_json::from_str(&succeed(curl)).unwrap()
    }
}

/// That what the device publishes arrives at an application of the hub.
async fn assert_reaches_hub(device: &Device, site: &ComposeSite, containers: &[Container]) {
    let seed = read_secret(&site.state("rendered/keys/hub-telemetry.seed")).unwrap();
    let application = ConnectOptions::with_nkey(seed.expose_secret().to_owned())
        .add_root_certificates(site.state("admin/root.crt"))
        .require_tls(true)
        .connect(address(containers, "hub"))
        .await
        .unwrap();
    let subject = "site.compose.device.0001.metrics.temperature";
    let mut metrics = application.subscribe(subject).await.unwrap();
    application.flush().await.unwrap();
    // The hub's interest travels to the leaf on its own time.
    let message = eventually("the device's message at the hub", async || {
        let subject = "device.0001.metrics.temperature";
        device.client.publish(subject, "21.5".into()).await.unwrap();
        let next = timeout(Duration::from_millis(200), metrics.next()).await;
        next.ok().flatten()
    })
    .await;
    assert_eq!(message.payload, "21.5");
}

/// That a container could do little to the machine, were it taken over; its service.
fn assert_confined(container: &Container) -> &str {
    let Container { service, facts } = container;
    let user = facts["Config"]["User"].as_str().unwrap();
    assert!(
        !user.is_empty() && !user.starts_with('0') && !user.starts_with("root"),
        "{service}: {user:?}"
    );
    let host = &facts["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true, "{service}");
    assert_eq!(host["Privileged"], false, "{service}");
    assert_eq!(host["CapDrop"], json!(["ALL"]), "{service}");
    assert_eq!(host["CapAdd"], Value::Null, "{service}");
    assert_eq!(
        host["SecurityOpt"],
        json!(["no-new-privileges:true"]),
        "{service}"
    );
    service
}

/// The secrets in a folder, each as it would show in a text.
fn secrets_below(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut secrets = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.extension().and_then(|kind| kind.to_str());
        if path.is_dir() {
            secrets.extend(secrets_below(&path));
        } else if path.ends_with("passphrase")
            || matches!(kind, Some("key" | "password" | "secret" | "seed"))
        {
            let text = read(&path);
            let mut lines = text.lines().filter(|line| !line.starts_with("-----"));
            secrets.push((path, lines.next().unwrap().to_owned()));
        }
    }
    secrets
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where clients on this machine reach a nats-server.
fn address(containers: &[Container], service: &str) -> String {
    format!("tls://127.0.0.1:{}", find(containers, service).port(4222))
}

fn find<'a>(containers: &'a [Container], service: &str) -> &'a Container {
    let mut containers = containers.iter();
    containers
        .find(|container| container.service == service)
        .unwrap_or_else(|| panic!("no {service} runs"))
}
