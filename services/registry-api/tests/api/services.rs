//! First certificates of parts of the installation.

use leafgate_access::{Role, Scope};
use reqwest::Method;
use serde_json::{Value, json};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::support::requests::{csr, der_of};
use crate::support::{Answer, Api, World, at_site};

const SERVER: &str = "/v1/services/leaf-1.example.org/certificates";
const CLIENT: &str = "/v1/services/callout-0/certificates";

fn server(csr: &str) -> Value {
    json!({
        "profile": "nats-server",
        "csr": csr,
        "dns_names": ["*.leaf.example.org"],
        "ip_addresses": ["127.0.0.1", "::1"],
    })
}

fn client(csr: &str) -> Value {
    json!({ "profile": "nats-client", "csr": csr })
}

async fn keyed(api: &Api, key: &str, path: &str, body: &Value) -> Answer {
    let request = api
        .request(Method::POST, path)
        .header("idempotency-key", key)
        .json(body);
    Answer::of(request).await
}

async fn of_service(api: &Api, name: &str) -> Vec<Value> {
    let list = api.get(&format!("/v1/certificates?service={name}")).await;
    list.expect(200)["certificates"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_gets_its_first_certificate_for_its_own_key_and_all_its_names() {
    let world = World::start().await;
    let api = &world.admin;
    let answer = api.post(SERVER, server(&csr())).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let issued = answer.expect(201);
    assert!(issued.get("private_key").is_none());
    assert!(issued["renew_after"].as_str() < issued["not_after"].as_str());
    let chain = issued["chain"].as_str().unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    let der = der_of(issued["certificate"].as_str().unwrap());
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=leaf-1.example.org");
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let names: Vec<String> = names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(octets) => format!("{} octets", octets.len()),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(
        names,
        [
            "leaf-1.example.org",
            "*.leaf.example.org",
            "4 octets",
            "16 octets"
        ]
    );
    let usages = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usages.server_auth && usages.client_auth);
    let recorded = of_service(api, "leaf-1.example.org").await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0]["fingerprint"], issued["fingerprint"]);
    assert_eq!(recorded[0]["profile"], "nats-server");

    let issued = api.post(CLIENT, client(&csr())).await.expect(201);
    let der = der_of(issued["certificate"].as_str().unwrap());
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=callout-0");
    assert!(certificate.subject_alternative_name().unwrap().is_none());
    let usages = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usages.client_auth && !usages.server_auth);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_manages_issuers_everywhere_issues_to_services() {
    let world = World::start().await;
    let before = world.newest_event().await;
    let all = [
        Role::Viewer,
        Role::Operator,
        Role::Provisioner,
        Role::Auditor,
    ];
    let (_, others) = world.key(&all, Scope::everything()).await;
    let refused = others.post(SERVER, server(&csr())).await;
    refused.problem("role-insufficient");
    let (_, north) = world.key(&[Role::Admin], at_site("north")).await;
    let refused = north.post(SERVER, server(&csr())).await;
    refused.problem("scope-exceeded");
    let nobody = world.admin.anonymous();
    let refused = nobody.post(SERVER, server(&csr())).await;
    refused.problem("credentials-invalid");
    assert_eq!(
        of_service(&world.admin, "leaf-1.example.org").await,
        [] as [Value; 0]
    );
    // The two keys, and nothing else.
    assert_eq!(world.newest_event().await, before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_is_answered_with_the_same_certificate() {
    let world = World::start().await;
    let api = &world.admin;
    let body = server(&csr());
    let first = keyed(api, "a", SERVER, &body).await.expect(201);
    assert_eq!(keyed(api, "a", SERVER, &body).await.expect(200), first);
    assert_eq!(of_service(api, "leaf-1.example.org").await.len(), 1);
    // Another act, for the same key, which takes the place of the first.
    let second = keyed(api, "b", SERVER, &body).await.expect(201);
    assert_ne!(second["serial"], first["serial"]);
    assert_eq!(keyed(api, "a", SERVER, &body).await.expect(200), first);
    assert_eq!(keyed(api, "b", SERVER, &body).await.expect(200), second);
    assert_eq!(of_service(api, "leaf-1.example.org").await.len(), 2);
    let other = server(&csr());
    let refused = keyed(api, "a", SERVER, &other).await;
    refused.problem("idempotency-key-reused");

    let body = client(&csr());
    let asks = (0..8).map(|_| keyed(api, "c", CLIENT, &body));
    let answers = futures::future::join_all(asks).await;
    let made = answers.iter().filter(|answer| answer.status == 201);
    assert!(made.count() >= 1, "{answers:?}");
    let refused = answers.iter().find(|answer| answer.status > 201);
    assert!(refused.is_none(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_service_can_be_is_refused() {
    let world = World::start().await;
    let api = &world.admin;
    let before = world.newest_event().await;
    let device = "/v1/services/device-0001.device.synadia.local/certificates";
    for (path, body, problem) in [
        // The name of a device.
        (device, server(&csr()), "value-malformed"),
        (device, client(&csr()), "value-malformed"),
        (
            "/v1/services/leaf%201/certificates",
            server(&csr()),
            "value-malformed",
        ),
        (CLIENT, server("no PEM"), "certificate-request-refused"),
        (
            CLIENT,
            json!({ "profile": "nats-client" }),
            "request-malformed",
        ),
        (
            CLIENT,
            json!({ "profile": "device", "csr": csr() }),
            "request-malformed",
        ),
        (
            CLIENT,
            json!({ "profile": "nats-client", "csr": csr(), "dns_names": ["x.example"] }),
            "request-malformed",
        ),
        (
            CLIENT,
            json!({ "profile": "nats-client", "csr": csr(), "generate_key": true }),
            "request-malformed",
        ),
        (
            SERVER,
            json!({ "profile": "nats-server", "csr": csr(), "ip_addresses": ["localhost"] }),
            "request-malformed",
        ),
    ] {
        api.post(path, body).await.problem(problem);
    }
    assert_eq!(world.newest_event().await, before);
    // The key of a device.
    api.register("0001", "pump", None).await;
    let of_device = csr();
    api.post("/v1/devices/0001/certificates", json!({ "csr": of_device }))
        .await
        .expect(201);
    let refused = api.post(CLIENT, client(&of_device)).await;
    refused.problem("key-conflict");
    let request = api.request(Method::POST, CLIENT).json(&client(&csr()));
    let refused = Answer::of(request.header("if-match", "\"1\"")).await;
    refused.problem("request-malformed");
}
