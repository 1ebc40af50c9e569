//! The registry beside a site: what it hears of devices over NATS, and what they ask of it there.

use std::fs;
use std::time::Duration;

use async_nats::Request;
use leafgate::local::{Credentials, Device, LogInError, write_credentials};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::registry_client::{hears_log_ins, openssl, openssl_request, with_registry};
use crate::support::{TestSite, eventually};

/// The whole of it: a device with a session and nothing else renews, logs in with the new certificate, and the old one
/// ends after its overlap. With openssl alone, as a device's script would.
#[tokio::test]
async fn a_device_that_reaches_only_nats_renews_and_its_old_certificate_ends() {
    let mut site = TestSite::start(&with_registry()).await;
    site.register("0001").await;
    hears_log_ins(&mut site.site).await;
    let device = site.log_in("0001").await.unwrap();
    let devices = &site.devices;
    let csr = openssl_request(devices, "next");
    openssl(devices, "req -in next.csr -outform DER -out next.der");
    let hash = openssl(devices, "dgst -sha256 -r next.der");
    let hash = hash.split_whitespace().next().unwrap();
    openssl(
        devices,
        &format!("req -new -key 0001.key -subj /CN={hash} -out proof.csr"),
    );

    let read = |name: &str| fs::read_to_string(devices.join(name)).unwrap();
    let body = json!({ "csr": csr, "proof": read("proof.csr") });
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
