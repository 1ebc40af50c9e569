//! Parts of the installation that renew with the certificate that they have.

use std::time::Duration;

use leafgate_registrar::{CertificateKey, Service};
use leafgate_registry::{Act, RevocationReason};
use leafgate_testkit::scratch_ca::{ScratchCa, ScratchLeaf};
use rcgen::KeyPair;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::bench::{Bench, DAY, HOUR};
use crate::support::requests::{csr_of, der_of};
use crate::support::{Answer, act, captured_log};

/// A part of the installation with its files.
struct Part {
    chain: String,
    key: String,
    issued: leafgate_pki::Issued,
}

impl Part {
    async fn issued(bench: &Bench, service: &Service) -> Self {
        let at = bench.world_now();
        let registrar = &bench.world.registrar;
        let made = registrar
            .issue_service_certificate(service, CertificateKey::New, &Act { at, ..act() })
            .await
            .unwrap();
        Self {
            chain: made.issued.chain_pem.clone(),
            key: made.private_key_pem.unwrap().expose_secret().to_owned(),
            issued: made.issued,
        }
    }

    async fn renew_to(&self, bench: &Bench, key: &KeyPair) -> Answer {
        let body = json!({ "csr": csr_of(key) });
        let api = bench.presenting(&self.chain, &self.key);
        api.post("/v1/renew", body).await
    }

    fn hold(&mut self, issued: &Value, key: &KeyPair) {
        self.chain = issued["chain"].as_str().unwrap().to_owned();
        self.key = key.serialize_pem();
    }
}

fn server() -> Service {
    Service::NatsServer {
        dns_names: vec!["leaf-1.example.org".into(), "*.leaf.example.org".into()],
        ip_addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
    }
}

fn names(pem: &str) -> (String, Vec<String>) {
    let der = der_of(pem);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let alternative = certificate.subject_alternative_name().unwrap();
    let alternative = alternative.map_or_else(Vec::new, |extension| {
        let names = extension.value.general_names.iter();
        names.map(|name| format!("{name:?}")).collect()
    });
    (certificate.subject().to_string(), alternative)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_renews_under_the_names_that_it_has() {
    let bench = Bench::start().await;
    let mut part = Part::issued(&bench, &server()).await;
    bench.clock.advance(20 * DAY);
    let next = KeyPair::generate().unwrap();
    let renewed = part.renew_to(&bench, &next).await.expect(201);
    let chain = part.chain.split_inclusive("-----END CERTIFICATE-----\n");
    let first = chain.clone().next().unwrap();
    assert_eq!(
        names(renewed["certificate"].as_str().unwrap()),
        names(first)
    );
    assert_eq!(
        renewed["chain"]
            .as_str()
            .unwrap()
            .split_inclusive("-----END CERTIFICATE-----\n")
            .nth(1),
        chain.clone().nth(1),
        "the same issuer"
    );
    assert!(renewed.get("private_key").is_none());
    assert!(renewed["renew_after"].as_str() < renewed["not_after"].as_str());
    assert!(captured_log().contains("actor=\"service:leaf-1.example.org\""));

    // The one before counts on for the overlap, should the answer have been lost.
    bench.clock.advance(23 * HOUR);
    let again = KeyPair::generate().unwrap();
    part.renew_to(&bench, &again).await.expect(201);
    bench.clock.advance(2 * HOUR);
    let refused = part.renew_to(&bench, &KeyPair::generate().unwrap()).await;
    let detail = refused.problem("renewal-refused");
    assert!(detail.contains("a newer one took its place"), "{detail}");
    part.hold(&renewed, &next);
    part.renew_to(&bench, &next).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_devices_listener_renews_with_its_key_or_another() {
    let bench = Bench::start().await;
    let service = Service::NatsClient {
        name: "callout-0".to_owned(),
    };
    let mut part = Part::issued(&bench, &service).await;
    let next = KeyPair::generate().unwrap();
    let renewed = part.renew_to(&bench, &next).await.expect(201);
    part.hold(&renewed, &next);
    let kept = part.renew_to(&bench, &next).await.expect(201);
    assert_ne!(kept["serial"], renewed["serial"]);
    let (subject, alternative) = names(kept["certificate"].as_str().unwrap());
    assert_eq!((subject.as_str(), alternative.len()), ("CN=callout-0", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_expired_renews_within_the_grace_and_what_is_revoked_never() {
    let bench = Bench::start_with("[certificates]\nrenew_grace_secs = 864000").await;
    let part = Part::issued(&bench, &server()).await;
    bench.clock.advance(39 * DAY);
    let renewed = part.renew_to(&bench, &KeyPair::generate().unwrap()).await;
    renewed.expect(201);

    let service = Service::NatsClient {
        name: "late".to_owned(),
    };
    let late = Part::issued(&bench, &service).await;
    bench.clock.advance(40 * DAY + Duration::from_secs(1));
    let refused = late.renew_to(&bench, &KeyPair::generate().unwrap()).await;
    assert!(refused.problem("renewal-refused").contains("too long ago"));

    let revoked = Part::issued(&bench, &server()).await;
    let registrar = &bench.world.registrar;
    let at = bench.world_now();
    let reason = RevocationReason::Unspecified;
    registrar
        .revoke_certificate(
            revoked.issued.serial,
            Some(revoked.issued.issuer),
            reason,
            &Act { at, ..act() },
        )
        .await
        .unwrap();
    let refused = revoked
        .renew_to(&bench, &KeyPair::generate().unwrap())
        .await;
    assert!(refused.problem("renewal-refused").contains("it is revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_gets_nothing_by_its_names_and_number() {
    let bench = Bench::start().await;
    let part = Part::issued(&bench, &server()).await;
    let forged = ScratchLeaf::device("leaf-1.example.org", bench.world_now())
        .with_dns_name("leaf-1.example.org")
        .with_serial(part.issued.serial);
    let forged = ScratchCa::root("another").sign(&forged);
    let forger = bench.presenting(&forged.chain_pem, &forged.private_key_pem);
    let csr = csr_of(&KeyPair::generate().unwrap());
    let refused = forger.post("/v1/renew", json!({ "csr": csr })).await;
    let detail = refused.problem("renewal-refused");
    assert!(detail.contains("signed by none of the issuers"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_has_no_right_but_its_own_renewal_and_not_without_end() {
    let bench = Bench::start().await;
    let part = Part::issued(&bench, &server()).await;
    let api = bench.presenting(&part.chain, &part.key);
    for path in ["/v1/devices", "/v1/issuers", "/v1/certificates"] {
        api.get(path).await.problem("credentials-invalid");
    }
    let bad = json!({ "csr": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n" });
    let refused = api.post("/v1/renew", bad).await;
    refused.problem("certificate-request-refused");
    // A device's key is no server's.
    let device = bench.enrolled("0001").await;
    let refused = part.renew_to(&bench, &device.key).await;
    refused.problem("key-conflict");
    let mut newest = part;
    for _ in 1..24 {
        let key = KeyPair::generate().unwrap();
        let renewed = newest.renew_to(&bench, &key).await.expect(201);
        newest.hold(&renewed, &key);
    }
    let refused = newest.renew_to(&bench, &KeyPair::generate().unwrap()).await;
    let detail = refused.problem("issuance-limited");
    assert!(detail.contains("24 certificates within a day"), "{detail}");
    bench.clock.advance(25 * HOUR);
    let key = KeyPair::generate().unwrap();
    newest.renew_to(&bench, &key).await.expect(201);
}
