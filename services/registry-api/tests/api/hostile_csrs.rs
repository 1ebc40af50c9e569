//! Certificate requests that ask for what nobody gives: a clear 4xx, or nothing of them but the key.

use serde_json::json;

use crate::support::World;
use crate::support::requests::{assert_is_plain, greedy, with_extensions, worthless};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_asks_for_beside_its_key_is_not_given() {
    let world = World::start().await;
    let api = &world.admin;
    for (n, (what, csr)) in greedy().into_iter().enumerate() {
        let id = format!("{n:04}");
        api.register(&id, "pump", None).await;
        let path = format!("/v1/devices/{id}/certificates");
        let issued = api.post(&path, json!({ "csr": csr })).await.expect(201);
        assert_is_plain(issued["certificate"].as_str().unwrap(), &id, what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_or_has_no_good_key_is_refused() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    let path = "/v1/devices/0001/certificates";
    for (what, csr) in worthless() {
        let answer = api.post(path, json!({ "csr": csr })).await;
        let detail = answer.problem("certificate-request-refused");
        assert!(detail.len() > 40, "{what}: {detail}");
    }
    let large = json!({ "csr": with_extensions(1024 * 1024) });
    api.post(path, large).await.problem("body-too-large");
    let detail = api.post(path, json!({ "csr": 5 })).await;
    assert!(detail.problem("request-malformed").starts_with("csr: "));
    let device = api.get("/v1/devices/0001").await.expect(200);
    assert_eq!(device["certificates"], json!([]));
}
