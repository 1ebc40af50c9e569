//! Renewal over NATS, on a real nats-server with the rendered permissions of the registry's user.

use async_nats::{Client, Request};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use futures::StreamExt;
use leafgate_api::ProblemDocument;
use leafgate_registry::{CertificateStatus, DeviceStore, EventKind};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::nats::record;
use crate::support::requests::{csr_named, csr_of, der_of};
use crate::support::{PATIENCE, World, eventually};

/// A registry with a device that holds a certificate and a session.
struct Stage {
    cluster: Cluster,
    world: World,
    device: Client,
    key: KeyPair,
    issued: Value,
}

impl Stage {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let world = cluster.world().await;
        world.admin.register("0001", "pump", None).await;
        let key = KeyPair::generate().unwrap();
        let path = "/v1/devices/0001/certificates";
        let issued = world.admin.post(path, json!({ "csr": csr_of(&key) })).await;
        let (device, _) = cluster.device("0001").await;
        Self {
            issued: issued.expect(201),
            cluster,
            world,
            device,
            key,
        }
    }

    /// Asks until the request falls into no other one's second, and the registry listens.
    async fn ask(&self, body: &Value) -> Value {
        eventually(async || {
            let request = Request::new()
                .payload(body.to_string().into())
                .timeout(Some(std::time::Duration::from_secs(2)));
            let answer = self.device.send_request("device.0001.renew", request).await;
            answer
                .ok()
                .map(|it| serde_json::from_slice(&it.payload).unwrap())
        })
        .await
    }

    /// The type and detail of the problem that a request is answered with.
    async fn refused(&self, body: &Value) -> (String, String) {
        let answer = self.ask(body).await;
        let document: ProblemDocument = serde_json::from_value(answer).unwrap();
        assert_eq!(document.instance, "device.0001.renew");
        assert_eq!(document.problem_type().unwrap().status(), document.status);
        let kind = document.type_uri.strip_prefix("/problems/").unwrap();
        (kind.to_owned(), document.detail)
    }

    async fn certificates(&self) -> usize {
        record(&self.world, "0001").await.certificates.len()
    }
}

/// A certificate request by `key` that names the new request.
fn proof(key: &KeyPair, csr: &str) -> String {
    let named = HEXLOWER.encode(digest(&SHA256, &der_of(csr)).as_ref());
    csr_named(key, &named, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_renews_with_its_present_key() {
    let stage = Stage::start().await;
    let request = json!({ "csr": csr_of(&stage.key) });
    let answer = stage.ask(&request).await;
    let without_key = |mut it: Value| {
        it.as_object_mut().unwrap().remove("private_key");
        it
    };
    // It is not due yet.
    assert_eq!(without_key(answer), without_key(stage.issued.clone()));
    assert_eq!(stage.certificates().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_renews_with_a_new_key_that_its_present_key_names() {
    let stage = Stage::start().await;
    let next = KeyPair::generate().unwrap();
    let csr = csr_of(&next);
    let request = json!({ "csr": csr, "proof": proof(&stage.key, &csr) });
    let answer = stage.ask(&request).await;
    assert_ne!(answer["serial"], stage.issued["serial"]);
    assert!(
        answer["certificate"]
            .as_str()
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
    assert!(answer["renew_after"].as_str() < answer["not_after"].as_str());

    // The request again, as who saw it would repeat it: the same certificate.
    assert_eq!(stage.ask(&request).await, answer);
    let device = record(&stage.world, "0001").await;
    let statuses = device.certificates.iter().map(|it| it.status);
    assert!(statuses.eq([CertificateStatus::Issued; 2]));
    let events = stage.world.store.events_after(0, 100).await.unwrap();
    let mut issued = events
        .iter()
        .filter(|it| it.kind == EventKind::CertificateIssued);
    assert_eq!(issued.next_back().unwrap().actor.as_str(), "device:0001");

    // The new key is a present key from now on, and may name the one after it.
    let csr = csr_of(&KeyPair::generate().unwrap());
    stage
        .ask(&json!({ "csr": csr, "proof": proof(&next, &csr) }))
        .await["serial"]
        .as_str()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_the_key_gets_nothing() {
    let stage = Stage::start().await;
    stage.world.admin.register("0002", "pump", None).await;
    let key_of_other = KeyPair::generate().unwrap();
    let body = json!({ "csr": csr_of(&key_of_other) });
    let issued = stage
        .world
        .admin
        .post("/v1/devices/0002/certificates", body)
        .await;
    issued.expect(201);
    let thief = KeyPair::generate().unwrap();
    let csr = csr_of(&thief);
    let another = csr_of(&KeyPair::generate().unwrap());
    for request in [
        json!({ "csr": csr }),
        json!({ "csr": csr, "proof": proof(&thief, &csr) }),
        json!({ "csr": csr, "proof": proof(&key_of_other, &csr) }),
        json!({ "csr": csr_of(&key_of_other) }),
        // What the device's key has signed for something else.
        json!({ "csr": csr, "proof": csr_of(&stage.key) }),
        json!({ "csr": csr, "proof": proof(&stage.key, &another) }),
        json!({ "csr": csr, "proof": csr_named(&stage.key, "device-0001.device.synadia.local", None) }),
    ] {
        let (kind, _) = stage.refused(&request).await;
        assert_eq!(kind, "renewal-refused", "{request}");
    }
    assert_eq!(stage.certificates().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_count_renews_nothing() {
    let stage = Stage::start().await;
    let request = json!({ "csr": csr_of(&stage.key) });
    let admin = &stage.world.admin;
    admin
        .post("/v1/devices/0001/disable", json!({}))
        .await
        .expect(200);
    let (kind, _) = stage.refused(&request).await;
    assert_eq!(kind, "state-illegal");
    admin
        .post("/v1/devices/0001/enable", json!({}))
        .await
        .expect(200);
    let serial = stage.issued["serial"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/revoke");
    admin.post(&path, json!({})).await.expect(200);
    let (kind, _) = stage.refused(&request).await;
    assert_eq!(kind, "renewal-refused");
    assert_eq!(stage.certificates().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_payloads_are_refused() {
    let stage = Stage::start().await;
    let csr = csr_of(&stage.key);
    let (broken, other) = (
        csr.replace("MI", "MA"),
        csr_of(&KeyPair::generate().unwrap()),
    );
    for (request, expected) in [
        (json!(7), "request-malformed"),
        (json!({}), "request-malformed"),
        (json!({ "csr": csr, "id": "0002" }), "request-malformed"),
        (json!({ "csr": "" }), "certificate-request-refused"),
        (json!({ "csr": broken }), "certificate-request-refused"),
        // The proof is about the first, and what is signed may be neither.
        (
            json!({ "csr": format!("{csr}{other}"), "proof": proof(&stage.key, &csr) }),
            "certificate-request-refused",
        ),
        (
            json!({ "csr": csr, "proof": "x" }),
            "certificate-request-refused",
        ),
        (
            json!({ "csr": "x".repeat(60_000) }),
            "certificate-request-refused",
        ),
    ] {
        let (kind, detail) = stage.refused(&request).await;
        assert_eq!(kind, expected, "{detail}");
    }
    assert_eq!(stage.certificates().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_to_no_inbox_but_that_of_the_device_that_asks() {
    let stage = Stage::start().await;
    let (other, _) = stage.cluster.device("0002").await;
    let mut commands = other.subscribe("device.0002.cmd").await.unwrap();
    let mut inbox = other.subscribe("_INBOX.0002.>").await.unwrap();
    other.flush().await.unwrap();
    let body = json!({ "csr": csr_of(&stage.key) });
    for reply in ["device.0002.cmd", "_INBOX.0002.x", "_INBOX.00012.x"] {
        let payload = body.to_string().into();
        stage
            .device
            .publish_with_reply("device.0001.renew", reply, payload)
            .await
            .unwrap();
    }
    // Answered after the others were dropped; had they been answered, the answers were on their way before.
    stage.ask(&body).await;
    stage.device.flush().await.unwrap();
    let (marker, mark) = ("_INBOX.0002.mark", "mark");
    other.flush().await.unwrap();
    let sender = stage.cluster.devices_user().await;
    sender.publish(marker, mark.into()).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, inbox.next()).await.unwrap();
    assert_eq!(first.unwrap().payload, mark);
    assert!(futures::FutureExt::now_or_never(commands.next()).is_none());
}
