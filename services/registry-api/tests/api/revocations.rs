//! What is revoked over the API is on the lists and in the answers by the time that the API answers.

use serde_json::{Value, json};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::certificates::issue;
use crate::support::{World, tools};

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

/// The serial numbers on the list of the issuer of devices.
async fn listed(world: &World) -> Vec<String> {
    let issuers = world.admin.get("/v1/issuers").await.expect(200);
    let issuer = text(&issuers["issuers"][0], "issuer");
    let url = format!("http://{}/crl/{issuer}.crl", world.status);
    let der = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    let (_, list) = CertificateRevocationList::from_der(&der).unwrap();
    let serials = list.iter_revoked_certificates();
    serials
        .map(|entry| entry.raw_serial_as_string().replace(':', ""))
        .map(|serial| serial.trim_start_matches("00").to_owned())
        .collect()
}

/// What openssl is told of a device's certificate.
fn ocsp(world: &World, certificate: &str) -> String {
    let folder = world.folder.path();
    let issuer = std::fs::read_to_string(folder.join("ca/devices.crt")).unwrap();
    tools::ocsp(folder, world.status, &issuer, certificate)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_served_before_it_is_acknowledged() {
    let world = World::start().await;
    let api = &world.admin;
    let mut issued = Vec::new();
    for id in ["0001", "0002", "0003", "0004"] {
        api.register(id, "pump", None).await;
        issued.push(issue(api, id).await);
    }
    let serial = |n: usize| text(&issued[n], "serial").to_owned();
    let certificate = |n: usize| text(&issued[n], "certificate").to_owned();
    assert_eq!(ocsp(&world, &certificate(0)), "good");

    api.post("/v1/devices/0001/revoke", json!({}))
        .await
        .expect(200);
    assert_eq!(listed(&world).await, [serial(0)]);
    assert_eq!(ocsp(&world, &certificate(0)), "revoked");
    let path = format!("/v1/certificates/{}/revoke", serial(1));
    api.post(&path, json!({})).await.expect(200);
    assert!(listed(&world).await.contains(&serial(1)));
    api.delete("/v1/devices/0003").await.expect(200);
    assert!(listed(&world).await.contains(&serial(2)));
    assert_eq!(ocsp(&world, &certificate(2)), "revoked");
    assert_eq!(ocsp(&world, &certificate(3)), "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_listener_serves_nothing_else() {
    let world = World::start().await;
    for path in [
        "/",
        "/v1/devices",
        "/v1/openapi.json",
        "/problems/internal",
        "/metrics",
        "/crl/x.crl",
    ] {
        let request = reqwest::Client::new().get(format!("http://{}{path}", world.status));
        let answer = request.bearer_auth(world.admin.key()).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    let root = reqwest::get(format!("http://{}/crl/root.crl", world.status))
        .await
        .unwrap();
    assert_eq!(root.status(), 200);
}
