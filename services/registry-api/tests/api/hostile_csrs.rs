//! Certificate requests that ask for what nobody gives: a clear 4xx, or nothing of them but the key.

use std::process::Command;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::certificates::{csr, der_of};
use crate::support::{Answer, World};

fn request(change: impl FnOnce(&mut CertificateParams)) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    change(&mut params);
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn ia5(text: &str) -> Ia5String {
    text.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_asks_for_beside_its_key_is_not_given() {
    let world = World::start().await;
    let api = &world.admin;
    let requests = [
        (
            "CA:TRUE",
            request(|params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            }),
        ),
        (
            "a foreign common name",
            request(|params| {
                let name = "device-9999.device.synadia.local";
                params.distinguished_name.push(DnType::CommonName, name);
                params
                    .distinguished_name
                    .push(DnType::OrganizationName, "evil");
            }),
        ),
        (
            "alternative names",
            request(|params| {
                params.subject_alt_names = vec![
                    SanType::IpAddress("10.0.0.1".parse().unwrap()),
                    SanType::URI(ia5("spiffe://evil/hub")),
                    SanType::DnsName(ia5("hub.example.com")),
                    SanType::Rfc822Name(ia5("root@example.com")),
                ];
            }),
        ),
        (
            "usages",
            request(|params| {
                params.extended_key_usages = vec![
                    ExtendedKeyUsagePurpose::Any,
                    ExtendedKeyUsagePurpose::ServerAuth,
                    ExtendedKeyUsagePurpose::CodeSigning,
                ];
            }),
        ),
    ];
    for (n, (what, csr)) in requests.into_iter().enumerate() {
        let id = format!("{n:04}");
        api.register(&id, "pump", None).await;
        let path = format!("/v1/devices/{id}/certificates");
        let issued = api.post(&path, json!({ "csr": csr })).await.expect(201);
        let der = der_of(issued["certificate"].as_str().unwrap());
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert_is_plain(&certificate, &id, what);
    }
}

/// Nothing in the certificate but what the profile of devices says.
fn assert_is_plain(certificate: &X509Certificate<'_>, id: &str, what: &str) {
    let name = format!("device-{id}.device.synadia.local");
    let subject: Vec<_> = certificate.subject().iter_attributes().collect();
    assert_eq!(subject.len(), 1, "{what}");
    assert_eq!(subject[0].as_str().unwrap(), name, "{what}");
    assert!(!certificate.is_ca(), "{what}");
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(
        usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign(),
        "{what}"
    );
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(
        extended.client_auth && !extended.server_auth && !extended.any && !extended.code_signing,
        "{what}"
    );
    let names = certificate.subject_alternative_name().unwrap();
    for other in names.iter().flat_map(|names| &names.value.general_names) {
        assert_eq!(other, &GeneralName::DNSName(&name), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_or_has_no_good_key_is_refused() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    let good = csr();
    let broken = {
        let mut der = der_of(&good);
        *der.last_mut().unwrap() ^= 1;
        pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der))
    };
    let extensions = request(|params| {
        let extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0; 700 * 1024]);
        params.custom_extensions = vec![extension];
    });
    let hostile = [
        ("nothing", String::new()),
        ("no PEM", "hello".to_owned()),
        (
            "a certificate",
            world.server_ca.certificate_pem().to_owned(),
        ),
        ("a broken signature", broken),
        ("two requests", format!("{good}{}", csr())),
        ("700 KiB of extensions", extensions),
        (
            "RSA of 1024 bits",
            openssl_request(&["-newkey", "rsa:1024"]),
        ),
        (
            "RSA of 4224 bits",
            openssl_request(&["-newkey", "rsa:4224"]),
        ),
        (
            "an odd curve",
            openssl_request(&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"]),
        ),
    ];
    for (what, csr) in hostile {
        let answer = api
            .post("/v1/devices/0001/certificates", json!({ "csr": csr }))
            .await;
        let detail = answer.problem("certificate-request-refused");
        assert!(detail.len() > 40, "{what}: {detail}");
    }
    let device = api.get("/v1/devices/0001").await.expect(200);
    assert_eq!(device["certificates"], json!([]));
    let large = format!("{good}{}", "x".repeat(1024 * 1024));
    let answer = api
        .post("/v1/devices/0001/certificates", json!({ "csr": large }))
        .await;
    answer.problem("body-too-large");
    let null = api.request(reqwest::Method::POST, "/v1/devices/0001/certificates");
    let answer = Answer::of(null.json(&json!({ "csr": 5 }))).await;
    assert!(answer.problem("request-malformed").starts_with("csr: "));
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
