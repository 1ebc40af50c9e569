//! Devices that renew with the certificate that they have.

use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Version};
use hyper_util::rt::TokioExecutor;
use leafgate_identity::UnixMs;
use rcgen::KeyPair;
use reqwest::Method;
use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::bench::{Bench, DAY, HOUR};
use crate::support::requests::{csr_of, der_of};
use crate::support::{Answer, act, captured_log, connect, trusting};

fn time(issued: &Value, field: &str) -> UnixMs {
    issued[field].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_renews_with_another_key_and_then_with_that() {
    let bench = Bench::start().await;
    let mut device = bench.enrolled("0001").await;
    let next = KeyPair::generate().unwrap();
    let renewed = device.renew_to(&bench, &next).await.expect(201);
    let der = der_of(renewed["certificate"].as_str().unwrap());
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let key = certificate.public_key().subject_public_key.data.as_ref();
    assert_eq!(key, next.public_key_raw());
    let name = certificate.subject().iter_common_name().next().unwrap();
    assert_eq!(name.as_str().unwrap(), device.common_name());
    assert!(renewed.get("private_key").is_none());
    let (renew_after, not_after) = (time(&renewed, "renew_after"), time(&renewed, "not_after"));
    assert!(bench.world_now() < renew_after && renew_after < not_after);

    // The answer may have been lost: the same key again gets the same certificate.
    assert_eq!(device.renew_to(&bench, &next).await.expect(200), renewed);
    device.key = next;
    device.hold(&renewed);
    assert_eq!(device.renew(&bench).await.expect(200), renewed);
    bench.clock.advance(6 * DAY);
    let later = device.renew(&bench).await.expect(201);
    assert_ne!(later["serial"], renewed["serial"]);

    let actors = bench.actors("0001").await;
    assert_eq!(actors[3..], ["device:0001"; 4]);
    assert!(captured_log().contains("actor=\"device:0001\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_are_spread() {
    let bench = Bench::start().await;
    let mut times = std::collections::BTreeSet::new();
    for n in 0..5 {
        let device = bench.enrolled(&format!("{n}")).await;
        let renewed = device.renew(&bench).await.expect(200);
        let (renew_after, not_after) = (time(&renewed, "renew_after"), time(&renewed, "not_after"));
        let left = not_after.as_secs() - renew_after.as_secs();
        assert!((40 * 3600..75 * 3600).contains(&left), "{left}");
        times.insert(left);
    }
    assert_eq!(times.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_certificate_renews_until_its_overlap_with_the_new_one_ends() {
    let bench = Bench::start().await;
    let mut device = bench.enrolled("0001").await;
    let renewed = device
        .renew_to(&bench, &KeyPair::generate().unwrap())
        .await
        .expect(201);
    bench.clock.advance(2 * DAY);
    // The device has not logged in with its successor: it may have been lost.
    let old = device.renew_to(&bench, &KeyPair::generate().unwrap()).await;
    old.expect(201);
    let fingerprint = renewed["fingerprint"].as_str().unwrap().parse().unwrap();
    let at = bench.world_now();
    let act = leafgate_registry::Act { at, ..act() };
    let registrar = &bench.world.registrar;
    let noted = registrar
        .note_log_in(&device.id, &fingerprint, &act)
        .await
        .unwrap();
    assert!(noted.is_some());
    bench.clock.advance(23 * HOUR);
    let another = KeyPair::generate().unwrap();
    let third = device.renew_to(&bench, &another).await.expect(201);
    bench.clock.advance(2 * HOUR);
    let refused = device.renew_to(&bench, &KeyPair::generate().unwrap()).await;
    let detail = refused.problem("renewal-refused");
    assert!(detail.contains("a newer one took its place"), "{detail}");
    device.key = another;
    device.hold(&third);
    device.renew(&bench).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_renews_within_the_grace_and_at_no_other_endpoint() {
    let bench = Bench::start_with("[certificates]\nrenew_grace_secs = 864000").await;
    let device = bench.enrolled("0001").await;
    let late = bench.enrolled("0002").await;
    bench.clock.advance(8 * DAY);
    for (method, path) in [
        (Method::GET, "/v1/devices"),
        (Method::GET, "/v1/devices/0001"),
        (Method::POST, "/v1/devices/0001/certificates"),
        (Method::POST, "/v1/enrolment-tokens"),
        (Method::GET, "/v1/issuers"),
    ] {
        let refused = Answer::of(device.api(&bench).request(method, path)).await;
        refused.problem("credentials-invalid");
    }
    let renewed = device
        .renew_to(&bench, &KeyPair::generate().unwrap())
        .await
        .expect(201);
    assert!(time(&renewed, "not_after") > bench.world_now());
    bench
        .clock
        .advance(8 * DAY + 23 * HOUR + Duration::from_secs(3500));
    late.renew_to(&bench, &KeyPair::generate().unwrap())
        .await
        .expect(201);
    bench.clock.advance(HOUR);
    let refused = late.renew_to(&bench, &KeyPair::generate().unwrap()).await;
    let detail = refused.problem("renewal-refused");
    assert!(detail.contains("too long ago"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_grace_is_90_days() {
    let bench = Bench::start().await;
    let (one, other) = (bench.enrolled("0001").await, bench.enrolled("0002").await);
    bench.clock.advance(96 * DAY);
    one.renew_to(&bench, &KeyPair::generate().unwrap())
        .await
        .expect(201);
    bench.clock.advance(2 * DAY);
    let refused = other.renew_to(&bench, &KeyPair::generate().unwrap()).await;
    refused.problem("renewal-refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_renewals_have_to_wait() {
    let bench = Bench::start().await;
    let device = bench.enrolled("0001").await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(device.renew_to(&bench, &KeyPair::generate().unwrap()).await);
    }
    answers.last().unwrap().problem("issuance-limited");
    assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_tls_and_http_renew() {
    let bench = Bench::start().await;
    let device = bench.enrolled("0001").await;
    let body = json!({ "csr": csr_of(&device.key) }).to_string();
    for tls in [&TLS12, &TLS13] {
        for http in [Version::HTTP_11, Version::HTTP_2] {
            let key = PrivateKeyDer::try_from(device.key.serialize_der()).unwrap();
            let mut config = ClientConfig::builder_with_protocol_versions(&[tls])
                .with_root_certificates(trusting(&bench.world.server_ca))
                .with_client_auth_cert(vec![device.certificate().into()], key)
                .unwrap();
            let protocol: &[u8] = match http {
                Version::HTTP_2 => b"h2",
                _ => b"http/1.1",
            };
            config.alpn_protocols = vec![protocol.to_vec()];
            let stream = TcpStream::connect(bench.world.address).await.unwrap();
            let stream = connect(stream, config).await;
            let request = Request::post("https://localhost/v1/renew")
                .header("host", "localhost")
                .header("content-type", "application/json")
                .body(Body::from(body.clone()))
                .unwrap();
            let answer = match http {
                Version::HTTP_2 => {
                    let executor = TokioExecutor::new();
                    let (mut sender, running) = http2::handshake(executor, stream).await.unwrap();
                    tokio::spawn(running);
                    sender.send_request(request).await
                }
                _ => {
                    let (mut sender, running) = http1::handshake(stream).await.unwrap();
                    tokio::spawn(running);
                    sender.send_request(request).await
                }
            };
            let answer = answer.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, http));
        }
    }
}

impl Bench {
    pub(crate) fn world_now(&self) -> UnixMs {
        leafgate_runtime::Clock::now(&*self.clock)
    }
}
