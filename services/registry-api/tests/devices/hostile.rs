//! Certificate requests that ask for what nobody gives, from devices: a clear 4xx, or nothing of them but the key.

use serde_json::json;

use crate::bench::Bench;
use crate::support::requests::{assert_is_plain, greedy, with_extensions, worthless};

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_devices_give_their_key_alone() {
    let bench = Bench::start().await;
    for (n, (what, csr)) in greedy().into_iter().enumerate() {
        let id = format!("new-{n}");
        let (_, bearer) = bench.token(json!({ "ids": [id] })).await;
        let body = json!({ "id": id, "csr": csr });
        let enrolled = bearer.post("/v1/enrol", body).await.expect(201);
        assert_is_plain(enrolled["certificate"].as_str().unwrap(), &id, what);
    }
    let device = bench.enrolled("0003").await;
    for (what, csr) in greedy() {
        let body = json!({ "csr": csr });
        let renewed = device.api(&bench).post("/v1/renew", body).await.expect(201);
        assert_is_plain(renewed["certificate"].as_str().unwrap(), "0003", what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none_or_have_no_good_key_are_refused_and_use_no_token() {
    let bench = Bench::start().await;
    let device = bench.enrolled("0003").await.api(&bench);
    let (token, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let before = bench.world.newest_event().await;
    for (what, csr) in worthless() {
        let body = json!({ "id": "0001", "csr": csr });
        let refused = bearer.post("/v1/enrol", body).await;
        let detail = refused.problem("certificate-request-refused");
        assert!(detail.len() > 40, "{what}: {detail}");
        let refused = device.post("/v1/renew", json!({ "csr": csr })).await;
        refused.problem("certificate-request-refused");
    }
    let large = with_extensions(1024 * 1024);
    let body = json!({ "id": "0001", "csr": large });
    let refused = bearer.post("/v1/enrol", body).await;
    refused.problem("body-too-large");
    let refused = device.post("/v1/renew", json!({ "csr": large })).await;
    refused.problem("body-too-large");
    assert_eq!(bench.world.newest_event().await, before);
    let path = format!("/v1/enrolment-tokens/{token}");
    assert_eq!(bench.world.admin.get(&path).await.expect(200)["uses"], 0);
}
