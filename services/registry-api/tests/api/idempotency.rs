//! Acts that are asked for more than once.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::requests::csr;
use crate::support::{Answer, Api, World};
use leafgate_access::{Role, Scope};

async fn keyed(api: &Api, key: &str, path: &str, body: &Value) -> Answer {
    let request = api
        .request(Method::POST, path)
        .header("idempotency-key", key)
        .json(body);
    Answer::of(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_is_carried_out_once() {
    let world = World::start().await;
    let api = &world.admin;
    let body = json!({ "id": "0001", "device_type": "pump" });
    let first = keyed(api, "a", "/v1/devices", &body).await.expect(201);
    let events = world.newest_event().await;
    let again = keyed(api, "a", "/v1/devices", &body).await;
    assert_eq!(again.header("location"), "/v1/devices/0001");
    assert_eq!(again.expect(201), first);

    let disabled = keyed(api, "b", "/v1/devices/0001/disable", &json!({}))
        .await
        .expect(200);
    assert_eq!(
        keyed(api, "b", "/v1/devices/0001/disable", &json!({}))
            .await
            .expect(200),
        disabled
    );
    keyed(api, "c", "/v1/devices/0001/disable", &json!({}))
        .await
        .problem("state-illegal");
    assert_eq!(world.newest_event().await, events + 1);
    // A refused request is not remembered.
    api.post("/v1/devices/0001/enable", json!({}))
        .await
        .expect(200);
    keyed(api, "c", "/v1/devices/0001/disable", &json!({}))
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_one_request_of_one_principal() {
    let world = World::start().await;
    let api = &world.admin;
    let body = json!({ "id": "0001", "device_type": "pump" });
    keyed(api, "a", "/v1/devices", &body).await.expect(201);
    let other = json!({ "id": "0002", "device_type": "pump" });
    keyed(api, "a", "/v1/devices", &other)
        .await
        .problem("idempotency-key-reused");
    keyed(api, "a", "/v1/devices/0001/disable", &json!({}))
        .await
        .problem("idempotency-key-reused");
    let (_, somebody) = world.key(&[Role::Provisioner], Scope::everything()).await;
    keyed(&somebody, "a", "/v1/devices", &other)
        .await
        .expect(201);
    for wrong in ["", "two words", &"x".repeat(129)] {
        keyed(api, wrong, "/v1/devices", &other)
            .await
            .problem("request-malformed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_given_twice() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    let path = "/v1/devices/0001/certificates";
    let generate = json!({ "generate_key": true });
    let made = keyed(api, "a", path, &generate).await.expect(201);
    let answer = keyed(api, "a", path, &generate).await;
    let detail = answer.problem("idempotency-key-spent");
    assert!(
        detail.contains(made["serial"].as_str().unwrap()),
        "{detail}"
    );
    assert!(!answer.text.contains("PRIVATE"));
    let device = api.get("/v1/devices/0001").await.expect(200);
    assert_eq!(device["certificates"].as_array().unwrap().len(), 1);

    let body = json!({ "name": "x", "roles": ["viewer"], "scope": {} });
    let made = keyed(api, "b", "/v1/api-keys", &body).await.expect(201);
    let detail = keyed(api, "b", "/v1/api-keys", &body)
        .await
        .problem("idempotency-key-spent");
    assert!(
        detail.contains(made["api_key"]["id"].as_str().unwrap()),
        "{detail}"
    );

    // What was asked for with a key of the client's own can be given again.
    let signed = json!({ "csr": csr() });
    let first = keyed(api, "c", path, &signed).await.expect(201);
    assert_eq!(keyed(api, "c", path, &signed).await.expect(200), first);
    // But no other in its place once it is revoked.
    let serial = first["serial"].as_str().unwrap();
    let revoke = format!("/v1/certificates/{serial}/revoke");
    api.post(&revoke, json!({})).await.expect(200);
    let refused = keyed(api, "c", path, &signed).await;
    let detail = refused.problem("state-illegal");
    assert!(detail.contains(serial), "{detail}");
    keyed(api, "d", path, &signed).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_carried_out() {
    let world = World::start().await;
    let api = &world.admin;
    for round in 0..5 {
        let body = json!({ "id": format!("d{round}"), "device_type": "pump" });
        let key = format!("register {round}").replace(' ', "-");
        let asks = (0..8).map(|_| keyed(api, &key, "/v1/devices", &body));
        for answer in futures::future::join_all(asks).await {
            assert_eq!(answer.expect(201)["version"], 1);
        }
        let path = format!("/v1/devices/d{round}/certificates");
        let generate = json!({ "generate_key": true });
        let key = format!("issue-{round}");
        let asks = (0..8).map(|_| keyed(api, &key, &path, &generate));
        let answers = futures::future::join_all(asks).await;
        let made: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 201)
            .collect();
        assert_eq!(made.len(), 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            answer.problem("idempotency-key-spent");
        }
        let device = api.get(&format!("/v1/devices/d{round}")).await.expect(200);
        let serials: BTreeSet<_> = device["certificates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|certificate| certificate["serial"].as_str().unwrap())
            .collect();
        assert_eq!(serials.len(), 1);
    }
}
