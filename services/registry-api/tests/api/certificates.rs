//! Issuing, finding and revoking certificates.

use leafgate_access::{Role, Scope};
use leafgate_identity::{Fingerprint, SpkiHash};
use leafgate_testkit::scratch_ca::ScratchCa;
use rcgen::KeyPair;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::support::requests::{csr, csr_of, der_of};
use crate::support::{Api, World};

pub(crate) async fn issue(api: &Api, id: &str) -> Value {
    let path = format!("/v1/devices/{id}/certificates");
    api.post(&path, json!({ "csr": csr() })).await.expect(201)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_request_is_signed_for_its_key_alone() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    let key = KeyPair::generate().unwrap();
    let body = json!({ "csr": csr_of(&key) });
    let answer = api
        .post("/v1/devices/0001/certificates", body.clone())
        .await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let issued = answer.expect(201);
    assert!(issued.get("private_key").is_none());
    let der = der_of(issued["certificate"].as_str().unwrap());
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let name = certificate.subject().iter_common_name().next().unwrap();
    assert_eq!(name.as_str().unwrap(), "device-0001.device.synadia.local");
    assert_eq!(
        certificate.public_key().subject_public_key.data.as_ref(),
        key.public_key_raw()
    );
    let fingerprint = Fingerprint::of_certificate_der(&der).to_string();
    assert_eq!(issued["fingerprint"], fingerprint.as_str());
    let chain = issued["chain"].as_str().unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(issued["renew_after"].as_str() < issued["not_after"].as_str());

    // The same key again: the same certificate.
    let again = api.post("/v1/devices/0001/certificates", body).await;
    assert_eq!(again.expect(200), issued);
    let device = api.get("/v1/devices/0001").await.expect(200);
    assert_eq!(device["certificates"].as_array().unwrap().len(), 1);
    assert_eq!(device["certificates"][0]["serial"], issued["serial"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_made_here_is_given_once() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    let path = "/v1/devices/0001/certificates";
    let answer = api.post(path, json!({ "generate_key": true })).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let issued = answer.expect(201);
    let key = issued["private_key"].as_str().unwrap();
    let public = KeyPair::from_pem(key).unwrap();
    let der = der_of(issued["certificate"].as_str().unwrap());
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(
        certificate.public_key().subject_public_key.data.as_ref(),
        public.public_key_raw()
    );
    for wrong in [
        json!({}),
        json!({ "generate_key": false }),
        json!({ "csr": csr(), "generate_key": true }),
    ] {
        api.post(path, wrong).await.problem("request-malformed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_found_and_revoked() {
    let world = World::start().await;
    let api = &world.admin;
    for id in ["0001", "00011", "0002"] {
        api.register(id, "pump", None).await;
    }
    let one = issue(api, "0001").await;
    let other = issue(api, "00011").await;
    let third = issue(api, "0002").await;
    let serial = |issued: &Value| issued["serial"].as_str().unwrap().to_owned();
    let serials = async |query: &str| {
        let list = api
            .get(&format!("/v1/certificates?{query}"))
            .await
            .expect(200);
        assert_eq!(list["next_page_token"], json!(null));
        let found = list["certificates"].as_array().unwrap().iter();
        let mut serials: Vec<_> = found.map(serial).collect();
        serials.sort();
        serials
    };
    let sorted = |issued: &[&Value]| {
        let mut serials: Vec<_> = issued.iter().map(|it| serial(it)).collect();
        serials.sort();
        serials
    };
    let fingerprint = one["fingerprint"].as_str().unwrap();
    for (query, expected) in [
        ("", sorted(&[&one, &other, &third])),
        ("device=0001", sorted(&[&one])),
        ("device_prefix=0001", sorted(&[&one, &other])),
        (
            "common_name=device-0001.device.synadia.local",
            sorted(&[&one]),
        ),
        ("common_name=leaf-0", vec![]),
        ("service=leaf-0", vec![]),
        (&format!("serial={}", serial(&third)), sorted(&[&third])),
        (&format!("fingerprint={fingerprint}"), sorted(&[&one])),
        ("status=revoked", vec![]),
        ("device=0001&status=prepared", vec![]),
        (
            "expires_by=2100-01-01T00:00:00Z&device=0002",
            sorted(&[&third]),
        ),
        ("expires_after=2100-01-01T00:00:00Z", vec![]),
    ] {
        assert_eq!(serials(query).await, expected, "{query}");
    }
    let path = format!("/v1/certificates/{}", serial(&one));
    let record = api.get(&path).await.expect(200);
    assert_eq!(
        (&record["device"], &record["status"]),
        (&json!("0001"), &json!("issued"))
    );
    let pem = api.get(&format!("{path}/pem")).await;
    assert_eq!(
        pem.header("content-type"),
        "application/pem-certificate-chain"
    );
    assert_eq!(pem.text, one["certificate"]);

    let body = json!({ "reason": "key-compromise" });
    let revoked = api.post(&format!("{path}/revoke"), body).await.expect(200);
    assert_eq!(revoked["status"], "revoked");
    assert_eq!(revoked["revocation_reason"], "key-compromise");
    api.post(&format!("{path}/revoke"), json!({}))
        .await
        .problem("state-illegal");
    let full = format!(
        "/v1/certificates/{}:{}",
        revoked["issuer"].as_str().unwrap(),
        serial(&one)
    );
    assert_eq!(api.get(&full).await.expect(200), revoked);
    assert_eq!(serials("status=revoked").await, sorted(&[&one]));
    let unknown = "/v1/certificates/0badc0de";
    api.get(unknown).await.problem("certificate-unknown");
    api.post(&format!("{unknown}/revoke"), json!({}))
        .await
        .problem("certificate-unknown");
    let elsewhere = SpkiHash::from_bytes([7; 32]);
    api.get(&format!("/v1/certificates/{elsewhere}:{}", serial(&one)))
        .await
        .problem("certificate-unknown");
    api.get("/v1/certificates/0A:FF")
        .await
        .problem("request-malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devices_certificates_come_in_pages() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    let mut issued = Vec::new();
    for _ in 0..5 {
        issued.push(issue(api, "0001").await["serial"].clone());
    }
    let mut seen = Vec::new();
    let mut query = "device=0001&page_size=2".to_owned();
    loop {
        let page = api
            .get(&format!("/v1/certificates?{query}"))
            .await
            .expect(200);
        let certificates = page["certificates"].as_array().unwrap();
        seen.extend(certificates.iter().map(|it| it["serial"].clone()));
        let Some(token) = page["next_page_token"].as_str() else {
            break;
        };
        assert_eq!(certificates.len(), 2);
        query = format!("device=0001&page_size=2&page_token={token}");
    }
    let sorted = |mut serials: Vec<Value>| {
        serials.sort_by_key(ToString::to_string);
        serials
    };
    assert_eq!(sorted(seen), sorted(issued));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_device_or_a_compromised_one_is_refused() {
    let world = World::start().await;
    let api = &world.admin;
    for id in ["0001", "0002"] {
        api.register(id, "pump", None).await;
    }
    let body = json!({ "csr": csr() });
    let issued = api
        .post("/v1/devices/0001/certificates", body.clone())
        .await
        .expect(201);
    let held = api
        .post("/v1/devices/0002/certificates", body.clone())
        .await;
    assert!(held.problem("key-conflict").contains("0001"));
    let path = format!(
        "/v1/certificates/{}/revoke",
        issued["serial"].as_str().unwrap()
    );
    api.post(&path, json!({ "reason": "key-compromise" }))
        .await
        .expect(200);
    for id in ["0001", "0002"] {
        let path = format!("/v1/devices/{id}/certificates");
        api.post(&path, body.clone())
            .await
            .problem("key-compromised");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_asks_without_end_is_stopped() {
    for (limits, certificates, how_many) in [
        ("", 8, "8 certificates in use"),
        ("[certificates]\nmax_in_use = 3", 3, "3 certificates in use"),
        (
            "[certificates]\nmax_per_day = 2",
            2,
            "asked for 2 certificates within a day",
        ),
    ] {
        let world = World::start_with(limits).await;
        let api = &world.admin;
        api.register("0001", "pump", None).await;
        for _ in 0..certificates {
            issue(api, "0001").await;
        }
        let body = json!({ "csr": csr() });
        let refused = api.post("/v1/devices/0001/certificates", body).await;
        let detail = refused.problem("issuance-limited");
        assert!(detail.contains(how_many), "{detail}");
        // Others have theirs.
        api.register("0002", "pump", None).await;
        issue(api, "0002").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuers_are_told() {
    let world = World::start().await;
    let list = world.admin.get("/v1/issuers").await.expect(200);
    let root = std::fs::read_to_string(world.folder.path().join("ca/root.crt")).unwrap();
    assert_eq!(list["root_certificate"], root.as_str());
    let issuers = list["issuers"].as_array().unwrap();
    let names: Vec<_> = issuers.iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["devices", "servers"]);
    world.admin.register("0001", "pump", None).await;
    let issued = issue(&world.admin, "0001").await;
    let path = format!("/v1/certificates/{}", issued["serial"].as_str().unwrap());
    let record = world.admin.get(&path).await.expect(200);
    assert_eq!(record["issuer"], issuers[0]["issuer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_domain_of_another_authority_gets_none_here() {
    let other = ScratchCa::root("another authority");
    let sections = "[[trust_domain]]\nname = \"other\"\nissuers = [\"other.crt\"]\ncn_pattern = \"{id}.other\"\n";
    let files = [("other.crt", other.certificate_pem())];
    let world = World::start_with_files(sections, &files).await;
    let api = &world.admin;
    let register = async |id: &str, domain: Option<&str>| {
        let body = json!({ "id": id, "device_type": "pump", "trust_domain": domain });
        api.post("/v1/devices", body).await
    };
    let detail = register("0001", None).await.problem("trust-domain-unknown");
    assert!(
        detail.contains("default") && detail.contains("other"),
        "{detail}"
    );
    // Who may register nothing is told of no domain.
    let (_, viewer) = world.key(&[Role::Viewer], Scope::everything()).await;
    let body = json!({ "id": "0001", "device_type": "pump" });
    let refused = viewer.post("/v1/devices", body).await;
    refused.problem("role-insufficient");
    let body = json!({ "name": "x", "admits": { "ids": ["0001"] }, "device_type": "pump" });
    let refused = viewer.post("/v1/enrolment-tokens", body).await;
    refused.problem("role-insufficient");
    register("0001", Some("other")).await.expect(201);
    register("0002", Some("default")).await.expect(201);
    let path = "/v1/devices/0001/certificates";
    let detail = api
        .post(path, json!({ "csr": csr() }))
        .await
        .problem("issuer-foreign");
    assert!(detail.contains("other"), "{detail}");
    issue(api, "0002").await;
    let ids = async |prefix: &str| {
        let path = format!("/v1/devices?common_name_prefix={prefix}");
        let list = api.get(&path).await.expect(200);
        let devices = list["devices"].as_array().unwrap().clone();
        devices
            .iter()
            .map(|it| it["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("0001.other").await, ["0001"]);
    assert_eq!(ids("000").await, ["0001"]);
    assert_eq!(ids("device-000").await, ["0002"]);
    assert_eq!(ids("").await, ["0001", "0002"]);
}

/// What is an id in one trust domain may be the name of a device of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_common_name_finds_those_alone_that_bear_it() {
    let other = ScratchCa::root("another authority");
    let sections = "[[trust_domain]]\nname = \"other\"\nissuers = [\"other.crt\"]\ncn_pattern = \"{id}.device.synadia.local\"\n";
    let files = [("other.crt", other.certificate_pem())];
    let world = World::start_with_files(sections, &files).await;
    let api = &world.admin;
    let mut issued = Vec::new();
    for id in ["0001", "device-0001"] {
        let body = json!({ "id": id, "device_type": "pump", "trust_domain": "default" });
        api.post("/v1/devices", body).await.expect(201);
        issued.push(issue(api, id).await);
    }
    for (name, bearer) in [
        ("device-0001", &issued[0]),
        ("device-device-0001", &issued[1]),
    ] {
        let path = format!("/v1/certificates?common_name={name}.device.synadia.local");
        let list = api.get(&path).await.expect(200);
        let found = list["certificates"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0]["serial"], bearer["serial"], "{name}");
    }
}
