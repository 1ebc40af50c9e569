//! Certificates and devices that are not renewed.

use std::sync::Arc;

use leafgate_identity::UnixMs;
use leafgate_pki::{CaDirectory, Intermediate, Issuer, Profile};
use leafgate_testkit::scratch_ca::{
    ExtendedKeyUsagePurpose, ScratchCa, ScratchCertificate, ScratchLeaf,
};
use rcgen::KeyPair;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SignatureScheme};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::bench::{Bench, Device};
use crate::support::requests::{csr_of, der_of, pem_of};
use crate::support::{Answer, Api, now, trusting};

async fn renew(api: &Api) -> Answer {
    let csr = csr_of(&KeyPair::generate().unwrap());
    api.post("/v1/renew", json!({ "csr": csr })).await
}

fn presenting(bench: &Bench, made: &ScratchCertificate) -> Api {
    bench.presenting(&made.chain_pem, &made.private_key_pem)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_renewed_without_a_certificate() {
    let bench = Bench::start().await;
    bench.enrolled("0001").await;
    let before = bench.world.newest_event().await;
    // Not even for the administrator, who has another way.
    for api in [&bench.world.admin.anonymous(), &bench.world.admin] {
        renew(api).await.problem("certificate-required");
        let refused = api.post("/v1/renew", json!({ "nonsense": 1 })).await;
        refused.problem("certificate-required");
    }
    assert_eq!(bench.world.newest_event().await, before);
    let metrics = bench.world.metrics().await;
    assert!(
        metrics.contains("reason=\"certificate-required\""),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_known_issuer_did_not_sign_is_no_devices_certificate() {
    let bench = Bench::start().await;
    let device = bench.enrolled("0001").await;
    let leaf =
        || ScratchLeaf::device(&device.common_name(), now()).with_dns_name(&device.common_name());
    let before = bench.world.newest_event().await;

    let stranger = ScratchCa::root("another root").intermediate("devices of another");
    let refused = renew(&presenting(&bench, &stranger.sign(&leaf()))).await;
    let detail = refused.problem("renewal-refused");
    assert!(detail.contains("signed by none of the issuers"), "{detail}");

    // By the name of the real issuer, and for the device's own key, with the real chain sent along.
    let ca = CaDirectory::open(&bench.world.folder.path().join("ca")).unwrap();
    let real = std::fs::read_to_string(ca.certificate(Intermediate::Devices)).unwrap();
    let namesake = ScratchCa::root(&common_name_of(&real));
    let forged = namesake
        .sign_for(&leaf(), &device.key.serialize_pem())
        .unwrap();
    for chain in [
        forged.chain_pem.clone(),
        forged.certificate_pem.clone(),
        format!("{}{real}", forged.certificate_pem),
        format!("{}{}", forged.certificate_pem, device.chain),
    ] {
        let refused = renew(&bench.presenting(&chain, &device.key.serialize_pem())).await;
        let detail = refused.problem("renewal-refused");
        assert!(detail.contains("BadSignature"), "{detail}");
    }

    // The device's own certificate with one bit of its signature turned.
    let mut der = device.certificate();
    *der.last_mut().unwrap() ^= 1;
    let turned = pem_of("CERTIFICATE", &der);
    let refused = renew(&bench.presenting(&turned, &device.key.serialize_pem())).await;
    refused.problem("renewal-refused");

    // Parts of the installation.
    let servers = ca.load(Intermediate::Servers).unwrap();
    let devices = ca.load(Intermediate::Devices).unwrap();
    for (issuer, profile, part) in [
        (
            &servers,
            Profile::nats_server(&["leaf-1"], &[], &[]).unwrap(),
            "signed by none",
        ),
        (
            &devices,
            Profile::nats_client("callout-0", &[]).unwrap(),
            "does not match",
        ),
    ] {
        let pair = leafgate_pki::KeyPairPem::generate().unwrap();
        let prepared = issuer.prepare(profile, pair.public, now()).unwrap();
        let issued = issuer.issue(prepared).await.unwrap();
        let key = secrecy::ExposeSecret::expose_secret(&pair.private_key_pem).to_owned();
        let detail = renew(&bench.presenting(&issued.chain_pem, &key))
            .await
            .problem("renewal-refused");
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(bench.world.newest_event().await, before);
    // Beside all that the device itself goes on, even without the chain.
    let alone = pem_of("CERTIFICATE", &device.certificate());
    renew(&bench.presenting(&alone, &device.key.serialize_pem()))
        .await
        .expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_issuer_signed_past_the_registry_or_for_something_else_is_refused() {
    let bench = Bench::start().await;
    let device = bench.enrolled("0001").await;
    let ca = bench.world.folder.path().join("ca");
    let issuer = ScratchCa::of_files(&ca.join("devices.crt"), &ca.join("devices.key")).unwrap();
    let name = device.common_name();
    let leaf = || ScratchLeaf::device(&name, now());
    let hour = |n: i64| UnixMs::from_secs(now().as_secs() + n * 3600);
    for (what, leaf, part) in [
        (
            "not recorded",
            leaf(),
            "not one of the device's present registration",
        ),
        (
            "an unknown device",
            ScratchLeaf::device("device-7.device.synadia.local", now()),
            "not one of the device's",
        ),
        (
            "a name that is none",
            ScratchLeaf::device("device-a.b.device.synadia.local", now()),
            "holds no device id",
        ),
        (
            "another name",
            ScratchLeaf::device("hub.example.com", now()),
            "does not match",
        ),
        (
            "a server",
            leaf().with_extended_usages(&[ExtendedKeyUsagePurpose::ServerAuth]),
            "none of a device",
        ),
        ("a CA", leaf().with_ca_flag(), "none of a device"),
        (
            "a second name",
            leaf().with_dns_name(&name).with_uri("spiffe://hub"),
            "none of a device",
        ),
        (
            "not yet valid",
            leaf().with_validity(hour(1), hour(2)),
            "not valid yet",
        ),
        (
            "expired and not recorded",
            leaf().with_validity(hour(-2), hour(-1)),
            "not one of the device's",
        ),
    ] {
        let made = issuer.sign_for(&leaf, &device.key.serialize_pem()).unwrap();
        let detail = renew(&presenting(&bench, &made))
            .await
            .problem("renewal-refused");
        assert!(detail.contains(part), "{what}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_certificates_and_devices_that_may_not_log_in_are_refused() {
    let bench = Bench::start().await;
    for (action, problem) in [("disable", "state-illegal"), ("revoke", "state-illegal")] {
        let device = bench.enrolled(action).await;
        bench.change(action, action).await;
        let refused = device.renew(&bench).await;
        let detail = refused.problem(problem);
        assert!(
            detail.contains(&format!("{action} is {action}")),
            "{detail}"
        );
    }
    bench.change("disable", "enable").await;

    let deleted = bench.enrolled("0003").await;
    let answer = bench.world.admin.delete("/v1/devices/0003").await;
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    assert!(matches!(deleted.renew(&bench).await.status, 403 | 409));
    // The same id again is another device.
    bench.world.admin.register("0003", "pump", None).await;
    deleted.renew(&bench).await.problem("renewal-refused");

    let quarantined = bench.enrolled("0004").await;
    bench.change("0004", "quarantine").await;
    quarantined
        .renew_to(&bench, &KeyPair::generate().unwrap())
        .await
        .expect(201);

    let (_, bearer) = bench.token(json!({ "unnamed": { "max_uses": 1 } })).await;
    let mut pending = Device::new("0005");
    let enrolled = pending.enrol(&bearer).await.expect(201);
    pending.hold(&enrolled);
    let detail = pending.renew(&bench).await.problem("state-illegal");
    assert!(detail.contains("0005 is pending"), "{detail}");
}

async fn revoke_certificate(bench: &Bench, serial: &str, reason: &str) {
    let path = format!("/v1/certificates/{serial}/revoke");
    let body = json!({ "reason": reason });
    bench.world.admin.post(&path, body).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_not_renewed_while_another_of_the_device_is() {
    let bench = Bench::start().await;
    let old = bench.enrolled("0001").await;
    let key = KeyPair::generate().unwrap();
    let renewed = old.renew_to(&bench, &key).await.expect(201);
    let mut new = Device::new("0001");
    new.key = key;
    new.hold(&renewed);
    let certificates = bench.device("0001").await["certificates"].clone();
    let first = certificates.as_array().unwrap().last().unwrap();
    revoke_certificate(
        &bench,
        first["serial"].as_str().unwrap(),
        "cessation-of-operation",
    )
    .await;
    let detail = old.renew(&bench).await.problem("renewal-refused");
    assert!(detail.contains("it is revoked"), "{detail}");
    new.renew(&bench).await.expect(200);
    revoke_certificate(
        &bench,
        renewed["serial"].as_str().unwrap(),
        "key-compromise",
    )
    .await;
    let refused = new.renew_to(&bench, &KeyPair::generate().unwrap()).await;
    refused.problem("renewal-refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devices_key_renews_for_nobody_else() {
    let bench = Bench::start().await;
    let (one, other) = (bench.enrolled("0001").await, bench.enrolled("0002").await);
    let detail = one
        .renew_to(&bench, &other.key)
        .await
        .problem("key-conflict");
    assert!(
        detail.contains("another device") && !detail.contains("0002"),
        "{detail}"
    );
    for id in ["0001", "0002"] {
        assert_eq!(
            bench.device(id).await["certificates"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}

fn common_name_of(pem: &str) -> String {
    let der = der_of(pem);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let name = certificate.subject().iter_common_name().next().unwrap();
    name.as_str().unwrap().to_owned()
}

/// Presents a certificate and signs with the key of another.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesClientCert for Thief {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_certificate_without_its_key_does_not_get_past_the_handshake() {
    let bench = Bench::start().await;
    let (victim, thief) = (bench.enrolled("0001").await, bench.enrolled("0002").await);
    let key = PrivateKeyDer::try_from(thief.key.serialize_der()).unwrap();
    let key = any_supported_type(&key).unwrap();
    let csr = csr_of(&KeyPair::generate().unwrap());
    let body = json!({ "csr": csr }).to_string();
    let request = format!(
        "POST /v1/renew HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    for (certificate, succeeds) in [(thief.certificate(), true), (victim.certificate(), false)] {
        for version in [&TLS12, &TLS13] {
            let presented = CertifiedKey::new(vec![certificate.clone().into()], key.clone());
            let config = ClientConfig::builder_with_protocol_versions(&[version])
                .with_root_certificates(trusting(&bench.world.server_ca))
                .with_client_cert_resolver(Arc::new(Thief(Arc::new(presented))));
            let stream = TcpStream::connect(bench.world.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connected = TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await;
            let mut answer = Vec::new();
            if let Ok(mut stream) = connected {
                let _ = stream.write_all(request.as_bytes()).await;
                let _ = stream.read_to_end(&mut answer).await;
            }
            let answer = String::from_utf8(answer).unwrap();
            assert_eq!(answer.starts_with("HTTP/1.1 20"), succeeds, "{answer}");
            assert_eq!(answer.is_empty(), !succeeds, "{answer}");
        }
    }
    assert_eq!(
        bench.device("0001").await["certificates"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
