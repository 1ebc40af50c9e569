//! The registry beside a site: what it hears of devices over NATS, and what they ask of it there.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::Request;
use leafgate::local::{Credentials, Device, LogInError, write_credentials};
use leafgate_registrar::{CertificateKey, Service};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::{TestSite, act, eventually, options};

/// The whole of it: a device with a session and nothing else renews, logs in with the new certificate, and the old one
/// ends after its overlap. With openssl alone, as a device's script would.
#[tokio::test]
async fn a_device_that_reaches_only_nats_renews_and_its_old_certificate_ends() {
    let site = TestSite::start(&options()).await;
    site.register("0001").await;
    let _registry = start_registry(&site).await;
    let device = site.log_in("0001").await.unwrap();
    let devices = &site.devices;
    openssl(
        devices,
        "ecparam -name prime256v1 -genkey -noout -out next.key",
    );
    openssl(
        devices,
        "req -new -key next.key -subj /CN=next -out next.csr",
    );
    openssl(devices, "req -in next.csr -outform DER -out next.der");
    let hash = openssl(devices, "dgst -sha256 -r next.der");
    let hash = hash.split_whitespace().next().unwrap();
    openssl(
        devices,
        &format!("req -new -key 0001.key -subj /CN={hash} -out proof.csr"),
    );

    let read = |name: &str| fs::read_to_string(devices.join(name)).unwrap();
    let body = json!({ "csr": read("next.csr"), "proof": read("proof.csr") });
    let issued = renewed(&device, &body).await;
    let key = SecretString::from(read("next.key"));
    let chain = issued["chain"].as_str().unwrap();
    write_credentials(&devices.join("0001-next"), chain, &key).unwrap();

    // It counts beside the new one until that has been used.
    let used = site.log_in("0001").await.unwrap();
    drop(used);
    let credentials = Credentials::in_folder(devices, "0001-next");
    let next = Device::log_in(&site.url, "0001", &credentials)
        .await
        .unwrap();
    eventually("the end of the old certificate", async || {
        let again = site.log_in("0001").await;
        matches!(again, Err(LogInError::Refused)).then_some(())
    })
    .await;
    drop(next);
    let latest = Device::log_in(&site.url, "0001", &credentials)
        .await
        .unwrap();

    // The old key shows nothing any more.
    openssl(devices, "req -new -key 0001.key -subj /CN=old -out old.csr");
    let refused = renewed(&latest, &json!({ "csr": read("old.csr") })).await;
    assert_eq!(refused["type"], "/problems/renewal-refused", "{refused}");
}

/// The answer to a renewal, asked for again while nobody listens and when asked too soon.
async fn renewed(device: &Device, body: &Value) -> Value {
    eventually("an answer to a renewal", async || {
        let request = Request::new()
            .payload(body.to_string().into())
            .timeout(Some(Duration::from_secs(1)));
        let answer = device
            .client
            .send_request("device.0001.renew", request)
            .await;
        answer
            .ok()
            .map(|it| serde_json::from_slice(&it.payload).unwrap())
    })
    .await
}

fn openssl(folder: &Path, arguments: &str) -> String {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The program, with an overlap that a test can wait for. It ends with the test.
async fn start_registry(site: &TestSite) -> tokio::process::Child {
    let dir = site.site.dir();
    let service = Service::NatsServer {
        dns_names: vec!["localhost".to_owned()],
        ip_addresses: Vec::new(),
    };
    let made = site
        .registrar
        .issue_service_certificate(&service, CertificateKey::New, &act())
        .await
        .unwrap();
    let stem = dir.root().join("api");
    write_credentials(
        &stem,
        &made.issued.chain_pem,
        &made.private_key_pem.unwrap(),
    )
    .unwrap();
    let config = dir.root().join("registry.toml");
    let text = format!(
        r#"
        [http]
        listen = "127.0.0.1:0"
        cert_file = "api.crt"
        key_file = "api.key"
        [status]
        listen = "127.0.0.1:0"
        [health]
        listen = "127.0.0.1:0"
        [store]
        url = "sqlite:registry.db"
        [ca]
        dir = "ca"
        [[trust_domain]]
        name = "default"
        issuers = ["ca/devices.crt"]
        [certificates]
        overlap_secs = 2
        [nats]
        urls = ["{url}"]
        ca_file = "ca/root.crt"
        cert_file = "keys/callout.crt"
        key_file = "keys/callout.key"
        nkey_seed_file = "keys/registry-0-auth.seed"
        devices_nkey_seed_file = "keys/registry-0-devices.seed"
        [system]
        nkey_seed_file = "keys/registry-0-system.seed"
        "#,
        url = site.url,
    );
    fs::write(&config, text).unwrap();
    let log_path = dir.logs().join("registry.log");
    let log = fs::File::create(&log_path).unwrap();
    let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_leafgate-registry"))
        .env_clear()
        .arg("--config")
        .arg(config)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // A log-in that nobody hears of is told of again half a minute later.
    eventually("the registry's connection", async || {
        let log = fs::read_to_string(&log_path).unwrap();
        let mut lines = log.lines();
        lines
            .any(|line| line.contains("log-ins") && line.contains("connected to NATS"))
            .then_some(())
    })
    .await;
    child
}
