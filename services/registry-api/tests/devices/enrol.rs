//! Devices that let themselves in.

use leafgate_identity::{Fingerprint, SpkiHash};
use rcgen::KeyPair;
use rcgen::PublicKeyData;
use serde_json::json;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::bench::{Bench, Device};
use crate::support::captured_log;
use crate::support::requests::{csr_of, der_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_is_registered_and_gets_its_certificate_once() {
    let bench = Bench::start().await;
    let body = json!({ "name": "line 4", "admits": { "ids": ["0001"] }, "device_type": "pump", "site": "north",
                       "attributes": { "line": "4" } });
    let made = bench
        .world
        .admin
        .post("/v1/enrolment-tokens", body)
        .await
        .expect(201);
    let text = made["token"].as_str().unwrap();
    let bearer = bench.world.admin.bearing(text);
    let device = Device::new("0001");
    let enrolled = device.enrol(&bearer).await.expect(201);
    for (field, expected) in [
        ("id", json!("0001")),
        ("state", json!("active")),
        ("device_type", json!("pump")),
        ("site", json!("north")),
        ("attributes", json!({ "line": "4" })),
        ("trust_domain", json!("default")),
    ] {
        assert_eq!(enrolled["device"][field], expected, "{field}");
    }
    assert_eq!(bench.device("0001").await, enrolled["device"]);
    let der = der_of(enrolled["certificate"].as_str().unwrap());
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let name = certificate.subject().iter_common_name().next().unwrap();
    assert_eq!(name.as_str().unwrap(), device.common_name());
    assert_eq!(
        certificate.public_key().subject_public_key.data.as_ref(),
        device.key.public_key_raw()
    );
    let fingerprint = Fingerprint::of_certificate_der(&der).to_string();
    assert_eq!(enrolled["fingerprint"], fingerprint.as_str());
    assert_eq!(
        enrolled["device"]["certificates"][0]["serial"],
        enrolled["serial"]
    );
    assert!(enrolled["renew_after"].as_str() < enrolled["not_after"].as_str());
    assert!(enrolled.get("private_key").is_none());

    // The answer may have been lost: the same key again gets the same certificate.
    let again = device.enrol(&bearer).await.expect(200);
    assert_eq!(again, enrolled);
    // Another key does not.
    let detail = Device::new("0001")
        .enrol(&bearer)
        .await
        .problem("state-illegal");
    assert!(detail.contains("it has had a certificate"), "{detail}");

    let actor = format!(
        "enrolment-token:{}",
        made["enrolment_token"]["id"].as_str().unwrap()
    );
    assert_eq!(bench.actors("0001").await, vec![actor.clone(); 3]);
    let log = captured_log();
    let secret = text.rsplit('_').next().unwrap();
    assert!(log.contains(&actor) && !log.contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_registered_before_enrols_as_it_is() {
    let bench = Bench::start().await;
    let body = json!({ "id": "0001", "device_type": "pump", "attributes": { "line": "9" } });
    bench
        .world
        .admin
        .post("/v1/devices", body)
        .await
        .expect(201);
    let (_, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let enrolled = Device::new("0001").enrol(&bearer).await.expect(201);
    assert_eq!(enrolled["device"]["attributes"], json!({ "line": "9" }));
    // Registered otherwise than the token says.
    bench.world.admin.register("0002", "valve", None).await;
    let (_, bearer) = bench.token(json!({ "ids": ["0002", "0003"] })).await;
    let detail = Device::new("0002")
        .enrol(&bearer)
        .await
        .problem("state-illegal");
    assert!(detail.contains("another type"), "{detail}");
    // In other letters.
    bench.world.admin.register("a3", "pump", None).await;
    let (_, bearer) = bench.token(json!({ "ids": ["A3"] })).await;
    Device::new("A3")
        .enrol(&bearer)
        .await
        .problem("device-exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_names_nobody_lets_unknown_devices_wait() {
    let bench = Bench::start().await;
    let (_, bearer) = bench.token(json!({ "unnamed": { "max_uses": 2 } })).await;
    let mut device = Device::new("0001");
    let enrolled = device.enrol(&bearer).await.expect(201);
    assert_eq!(enrolled["device"]["state"], "pending");
    device.hold(&enrolled);
    Device::new("0002").enrol(&bearer).await.expect(201);
    let detail = Device::new("0003")
        .enrol(&bearer)
        .await
        .problem("enrolment-token-ended");
    assert!(detail.contains("as many devices in as it may"), "{detail}");
    // That lets nobody have a device that is registered; nor is it told that there is one.
    let (_, other) = bench.token(json!({ "unnamed": { "max_uses": 2 } })).await;
    bench.world.admin.register("0009", "pump", None).await;
    for id in ["0001", "0009"] {
        let detail = Device::new(id)
            .enrol(&other)
            .await
            .problem("enrolment-refused");
        assert_eq!(detail, format!("this enrolment token does not let {id} in"));
    }
    bench.change("0001", "approve").await;
    assert_eq!(bench.device("0001").await["state"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_binds_ids_to_keys() {
    let bench = Bench::start().await;
    let device = Device::new("0001");
    let hash = SpkiHash::of_spki_der(&device.key.subject_public_key_info());
    let (_, bearer) = bench.token(json!({ "manifest": { "0001": hash } })).await;
    let thief = Device::new("0001").enrol(&bearer).await;
    let detail = thief.problem("enrolment-refused");
    assert!(detail.contains("with another key"), "{detail}");
    Device::new("0002")
        .enrol(&bearer)
        .await
        .problem("enrolment-refused");
    device.enrol(&bearer).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_taken_and_keys_of_others_are_refused() {
    let bench = Bench::start().await;
    let first = bench.enrolled("0001").await;
    // A device that has its certificate, whatever the token says.
    let (_, bearer) = bench.token(json!({ "ids": ["0001", "0002"] })).await;
    let detail = Device::new("0001")
        .enrol(&bearer)
        .await
        .problem("state-illegal");
    assert!(detail.contains("it has had a certificate"), "{detail}");
    // The key of another device. Whoever asks is not told whose it is.
    let stolen = json!({ "id": "0002", "csr": csr_of(&first.key) });
    let detail = bearer
        .post("/v1/enrol", stolen)
        .await
        .problem("key-conflict");
    assert!(
        detail.contains("another device") && !detail.contains("0001"),
        "{detail}"
    );
    // A key that was compromised.
    let serial = bench.device("0001").await["certificates"][0]["serial"].clone();
    let path = format!("/v1/certificates/{}/revoke", serial.as_str().unwrap());
    let reason = json!({ "reason": "key-compromise" });
    bench.world.admin.post(&path, reason).await.expect(200);
    let before = bench.device_events().await;
    let compromised = json!({ "id": "0002", "csr": csr_of(&first.key) });
    bearer
        .post("/v1/enrol", compromised)
        .await
        .problem("key-compromised");
    assert_eq!(bench.device_events().await, before);
    for state in ["disable", "revoke"] {
        let id = format!("1{state}");
        bench.world.admin.register(&id, "pump", None).await;
        bench.change(&id, state).await;
        let (_, bearer) = bench.token(json!({ "ids": [id] })).await;
        Device::new(&id)
            .enrol(&bearer)
            .await
            .problem("state-illegal");
    }
    Device::new("0002").enrol(&bearer).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_tokens_is_slowed_and_locks_nobody_out_who_has_one() {
    let bench = Bench::start().await;
    let (_, known) = bench.token(json!({ "ids": ["0001", "0002"] })).await;
    Device::new("0001").enrol(&known).await.expect(201);
    let (target, late) = bench.token(json!({ "ids": ["0003"] })).await;
    let secret = known.key().rsplit('_').next().unwrap();
    let guess = bench.world.admin.bearing(&format!("lge_{target}_{secret}"));
    let anonymous = bench.world.admin.anonymous();
    let device = Device::new("0003");
    let answer = device.enrol(&anonymous).await;
    answer.problem("enrolment-token-invalid");
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer realm=\"leafgate\""
    );
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(device.enrol(&guess).await);
    }
    answers[0].problem("enrolment-token-invalid");
    let slowed = answers.last().unwrap();
    slowed.problem("attempts-too-many");
    assert!(!slowed.text.contains(secret));
    let garbage = bench.world.admin.bearing("lge_garbage");
    device.enrol(&garbage).await.problem("attempts-too-many");
    device.enrol(&late).await.problem("attempts-too-many");
    Device::new("0002").enrol(&known).await.expect(201);
    // Keys of the API are another matter.
    assert_eq!(bench.world.admin.get("/v1/devices").await.status, 200);
    let metrics = bench.world.metrics().await;
    for reason in ["attempts-too-many", "enrolment-token-invalid"] {
        let line = format!("leafgate_registry_refusals_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_before_anything_is_read() {
    let bench = Bench::start().await;
    let anonymous = bench.world.admin.anonymous();
    let answer = anonymous
        .post("/v1/enrol", json!({ "nonsense": true }))
        .await;
    answer.problem("enrolment-token-invalid");
    let (_, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let csr = csr_of(&KeyPair::generate().unwrap());
    for (body, part) in [
        (json!({ "id": "0001" }), "csr"),
        (json!({ "id": "a.b", "csr": csr }), "id"),
        (
            json!({ "id": "0001", "csr": csr, "device_type": "x" }),
            "device_type",
        ),
    ] {
        let detail = bearer
            .post("/v1/enrol", body)
            .await
            .problem("request-malformed");
        assert!(detail.contains(part), "{detail}");
    }
    let long = "x".repeat(60);
    let (_, unnamed) = bench.token(json!({ "unnamed": { "max_uses": 1 } })).await;
    let body = json!({ "id": long, "csr": csr });
    unnamed
        .post("/v1/enrol", body)
        .await
        .problem("value-malformed");
}
