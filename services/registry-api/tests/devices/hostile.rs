//! Certificate requests that ask for what nobody gives, from devices: a clear 4xx, or nothing of them but the key.

use std::process::Command;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::bench::{Bench, csr_of, der_of, pem_of};

fn request(change: impl FnOnce(&mut CertificateParams)) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    change(&mut params);
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn greedy() -> String {
    let ia5 = |text: &str| Ia5String::try_from(text).unwrap();
    request(|params| {
        let name = "device-9999.device.synadia.local";
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "evil");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::Any,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.subject_alt_names = vec![
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
            SanType::URI(ia5("spiffe://evil/hub")),
            SanType::DnsName(ia5("hub.example.com")),
        ];
    })
}

fn hostile() -> Vec<(&'static str, String)> {
    let good = csr_of(&KeyPair::generate().unwrap());
    let mut broken = der_of(&good);
    *broken.last_mut().unwrap() ^= 1;
    let extensions = request(|params| {
        let extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0; 700 * 1024]);
        params.custom_extensions = vec![extension];
    });
    vec![
        ("nothing", String::new()),
        ("a broken signature", pem_of("CERTIFICATE REQUEST", &broken)),
        ("two requests", format!("{good}{good}")),
        ("700 KiB of extensions", extensions),
        (
            "RSA of 1024 bits",
            openssl_request(&["-newkey", "rsa:1024"]),
        ),
        (
            "a private key",
            KeyPair::generate().unwrap().serialize_pem(),
        ),
    ]
}

fn openssl_request(key: &[&str]) -> String {
    let made = Command::new("openssl")
        .args([
            "req",
            "-new",
            "-nodes",
            "-subj",
            "/CN=x",
            "-keyout",
            "/dev/null",
        ])
        .args(key)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    String::from_utf8(made.stdout).unwrap()
}

fn assert_is_plain(pem: &str, id: &str) {
    let der = der_of(pem);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let name = format!("device-{id}.device.synadia.local");
    let subject: Vec<_> = certificate.subject().iter_attributes().collect();
    assert_eq!(subject.len(), 1);
    assert_eq!(subject[0].as_str().unwrap(), name);
    assert!(!certificate.is_ca());
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any);
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, [GeneralName::DNSName(&name)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_devices_give_their_key_alone() {
    let bench = Bench::start().await;
    let (_, bearer) = bench.token(json!({ "ids": ["0001", "0002"] })).await;
    let body = json!({ "id": "0001", "csr": greedy() });
    let enrolled = bearer.post("/v1/enrol", body).await.expect(201);
    assert_is_plain(enrolled["certificate"].as_str().unwrap(), "0001");
    let device = bench.enrolled("0003").await;
    let body = json!({ "csr": greedy() });
    let renewed = device.api(&bench).post("/v1/renew", body).await.expect(201);
    assert_is_plain(renewed["certificate"].as_str().unwrap(), "0003");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none_or_have_no_good_key_are_refused_and_use_no_token() {
    let bench = Bench::start().await;
    let device = bench.enrolled("0003").await;
    let (token, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let before = bench.world.newest_event().await;
    for (what, csr) in hostile() {
        let body = json!({ "id": "0001", "csr": csr });
        let refused = bearer.post("/v1/enrol", body).await;
        let detail = refused.problem("certificate-request-refused");
        assert!(detail.len() > 40, "{what}: {detail}");
        let refused = device
            .api(&bench)
            .post("/v1/renew", json!({ "csr": csr }))
            .await;
        refused.problem("certificate-request-refused");
    }
    let large = "x".repeat(1024 * 1024);
    let body = json!({ "id": "0001", "csr": large });
    bearer
        .post("/v1/enrol", body)
        .await
        .problem("body-too-large");
    let refused = device
        .api(&bench)
        .post("/v1/renew", json!({ "csr": large }))
        .await;
    refused.problem("body-too-large");
    assert_eq!(bench.world.newest_event().await, before);
    let path = format!("/v1/enrolment-tokens/{token}");
    assert_eq!(bench.world.admin.get(&path).await.expect(200)["uses"], 0);
}
