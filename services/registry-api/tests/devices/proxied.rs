//! Certificates in a header: believed of trusted proxies on their own listener, and nowhere else.

use data_encoding::BASE64;
use rcgen::KeyPair;
use reqwest::{Client, Method};
use serde_json::json;

use leafgate_registry_api::{Config, Setup};
use leafgate_runtime::Environment;

use crate::bench::{Bench, Device};
use crate::support::requests::csr_of;
use crate::support::{Answer, captured_log, client, config};

const TRUSTED: &str =
    "[http.proxied]\nlisten = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]";
const STRANGERS: &str = "[http.proxied]\nlisten = \"127.0.0.1:0\"\ntrusted_proxies = [\"192.0.2.0/24\", \"2001:db8::/32\"]";

fn header(device: &Device) -> String {
    format!(":{}:", BASE64.encode(&device.certificate()))
}

fn proxied(bench: &Bench, path: &str) -> String {
    let port = bench.addresses.proxied.unwrap().port();
    format!("https://localhost:{port}{path}")
}

async fn renew(client: &Client, url: &str, headers: &[(&str, &str)]) -> Answer {
    let csr = csr_of(&KeyPair::generate().unwrap());
    let request = client.post(url).json(&json!({ "csr": csr }));
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    Answer::of(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_passes_a_certificate_on() {
    let bench = Bench::start_with(TRUSTED).await;
    let device = bench.enrolled("0001").await;
    let proxy = client(&bench.world.server_ca);
    let url = proxied(&bench, "/v1/renew");
    let certificate = header(&device);
    let headers = [
        ("client-cert", certificate.as_str()),
        ("client-cert-chain", ":AQID:"),
        ("x-forwarded-for", "203.0.113.9, 198.51.100.77"),
    ];
    renew(&proxy, &url, &headers).await.expect(201);
    assert!(captured_log().contains("source=\"198.51.100.77\""));
    renew(&proxy, &url, &[])
        .await
        .problem("certificate-required");
    for wrong in [
        "",
        "0001",
        "::",
        ":!:",
        &format!("{certificate}, {certificate}"),
    ] {
        let refused = renew(&proxy, &url, &[("client-cert", wrong)]).await;
        refused.problem("request-malformed");
    }
    let refused = renew(&proxy, &url, &[headers[0], headers[0]]).await;
    refused.problem("request-malformed");
    for nonsense in [":AQID:", ":MAA=:"] {
        let refused = renew(&proxy, &url, &[("client-cert", nonsense)]).await;
        refused.problem("renewal-refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_proxy_only_the_header_counts() {
    let bench = Bench::start_with(TRUSTED).await;
    let device = bench.enrolled("0001").await;
    // A proxy may have a certificate of its own, even a device's: it is not the client's.
    let proxy = bench.client(&device.chain, &device.key.serialize_pem());
    let url = proxied(&bench, "/v1/renew");
    renew(&proxy, &url, &[])
        .await
        .problem("certificate-required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_says_nothing_on_the_ordinary_listener() {
    let bench = Bench::start_with(TRUSTED).await;
    let (victim, thief) = (bench.enrolled("0001").await, bench.enrolled("0002").await);
    let certificate = header(&victim);
    let pem = victim.chain.lines().collect::<Vec<_>>().join("%0A");
    let spoofed = [
        ("client-cert", certificate.as_str()),
        ("client-cert-chain", certificate.as_str()),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-ssl-client-cert", pem.as_str()),
        ("x-forwarded-client-cert", certificate.as_str()),
        ("ssl-client-verify", "SUCCESS"),
    ];
    let url = bench.world.admin.url("/v1/renew");
    let before = bench.world.newest_event().await;
    let nobody = client(&bench.world.server_ca);
    renew(&nobody, &url, &spoofed)
        .await
        .problem("certificate-required");
    let url_est = bench.world.admin.url("/.well-known/est/simplereenroll");
    renew(&nobody, &url_est, &spoofed)
        .await
        .problem("certificate-required");
    assert_eq!(bench.world.newest_event().await, before);
    // Whoever has a certificate renews that one.
    let client = bench.client(&thief.chain, &thief.key.serialize_pem());
    renew(&client, &url, &spoofed).await.expect(201);
    let count = async |id: &str| {
        bench.device(id).await["certificates"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((count("0001").await, count("0002").await), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_trusted_proxy_is_refused() {
    let bench = Bench::start_with(STRANGERS).await;
    let device = bench.enrolled("0001").await;
    let stranger = bench.client(&device.chain, &device.key.serialize_pem());
    let url = proxied(&bench, "/v1/renew");
    let certificate = header(&device);
    let claims = [
        ("client-cert", certificate.as_str()),
        ("x-forwarded-for", "192.0.2.7"),
    ];
    let detail = renew(&stranger, &url, &claims)
        .await
        .problem("proxy-untrusted");
    assert!(
        detail.starts_with("127.0.0.1 is in none of the networks"),
        "{detail}"
    );
    let est = stranger.get(proxied(&bench, "/.well-known/est/cacerts"));
    Answer::of(est).await.problem("proxy-untrusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_devices_ask_for_is_served_to_proxies() {
    let bench = Bench::start_with(TRUSTED).await;
    let proxy = client(&bench.world.server_ca);
    for (method, path) in [
        (Method::GET, "/v1/devices"),
        (Method::POST, "/v1/devices"),
        (Method::POST, "/v1/enrolment-tokens"),
        (Method::GET, "/v1/events"),
        (Method::GET, "/v1/openapi.json"),
    ] {
        let request = proxy.request(method, proxied(&bench, path));
        let answer = Answer::of(request.bearer_auth(bench.world.admin.key())).await;
        answer.problem("route-unknown");
    }
    let get = proxy.get(proxied(&bench, "/v1/renew"));
    Answer::of(get).await.problem("method-not-allowed");
    let (_, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let device = Device::new("0001");
    let body = json!({ "id": "0001", "csr": device.csr() });
    let enrol = proxy
        .post(proxied(&bench, "/v1/enrol"))
        .bearer_auth(bearer.key());
    Answer::of(enrol.json(&body)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_through_a_proxy_slows_only_itself() {
    let bench = Bench::start_with(TRUSTED).await;
    let proxy = client(&bench.world.server_ca);
    let (_, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let device = Device::new("0001");
    let enrol = async |source: &str, token: &str| {
        let body = json!({ "id": "0001", "csr": device.csr() });
        let request = proxy.post(proxied(&bench, "/v1/enrol")).bearer_auth(token);
        Answer::of(request.header("x-forwarded-for", source).json(&body)).await
    };
    let mut last = None;
    for _ in 0..20 {
        last = Some(enrol("203.0.113.9", "lge_guess").await);
    }
    last.unwrap().problem("attempts-too-many");
    enrol("198.51.100.7", bearer.key()).await.expect(201);
}

#[test]
fn the_networks_of_proxies_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let none = "[http.proxied]\nlisten = \"127.0.0.1:0\"\ntrusted_proxies = []";
    let problems = Setup::load(config(&folder, none)).unwrap_err();
    let problems = problems.problems().join("\n");
    let expected =
        "[http.proxied] trusted_proxies: name the networks that the proxies connect from";
    assert!(problems.contains(expected), "{problems}");
    let path = folder.path().join("registry.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace(
        "trusted_proxies = []",
        "trusted_proxies = [\"10.0.1.0/16\"]",
    );
    std::fs::write(&path, text).unwrap();
    let error = Config::load(&path, &Environment::default()).unwrap_err();
    assert!(
        error.to_string().contains("did you mean \"10.0.0.0/16\"?"),
        "{error}"
    );
}
