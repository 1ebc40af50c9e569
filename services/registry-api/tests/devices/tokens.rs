//! Enrolment tokens: who makes them, what is told of them, and how they end.

use std::time::Duration;

use leafgate_access::{Role, Scope};
use leafgate_identity::UnixMs;
use serde_json::{Value, json};

use crate::bench::{Bench, DAY, Device};
use crate::support::{Answer, at_site};

fn new_token() -> Value {
    json!({ "name": "line 4", "admits": { "ids": ["0001", "0002"] }, "device_type": "pump", "site": "north",
            "attributes": { "line": "4" } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_told_once_and_revoked() {
    let bench = Bench::start().await;
    let api = &bench.world.admin;
    let answer = api.post("/v1/enrolment-tokens", new_token()).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let made = answer.expect(201);
    let text = made["token"].as_str().unwrap();
    assert!(text.starts_with("lge_"));
    let token = &made["enrolment_token"];
    let id = token["id"].as_str().unwrap();
    for (field, expected) in [
        ("name", json!("line 4")),
        ("admits", json!({ "ids": ["0001", "0002"] })),
        ("uses", json!(0)),
        ("max_uses", json!(2)),
        ("trust_domain", json!("default")),
        ("device_type", json!("pump")),
        ("site", json!("north")),
        ("attributes", json!({ "line": "4" })),
        ("revoked_at", json!(null)),
    ] {
        assert_eq!(token[field], expected, "{field}");
    }
    assert!(
        token["created_by"]
            .as_str()
            .unwrap()
            .starts_with("api-key:")
    );
    let time = |field: &str| token[field].as_str().unwrap().parse::<UnixMs>().unwrap();
    assert_eq!(time("expires_at"), time("created_at").saturating_add(DAY));

    let path = format!("/v1/enrolment-tokens/{id}");
    let read = api.get(&path).await;
    assert!(
        !read.text.contains(text) && !read.text.contains("secret"),
        "{}",
        read.text
    );
    assert_eq!(&read.expect(200), token);
    let list = api.get("/v1/enrolment-tokens").await.expect(200);
    assert_eq!(list["enrolment_tokens"], json!([token]));

    let bearer = api.bearing(text);
    Device::new("0001").enrol(&bearer).await.expect(201);
    assert_eq!(api.get(&path).await.expect(200)["uses"], 1);

    let revoke = format!("{path}/revoke");
    let revoked = api.post(&revoke, json!({})).await.expect(200);
    assert!(revoked["revoked_at"].is_string());
    let before = bench.world.newest_event().await;
    assert_eq!(api.post(&revoke, json!({})).await.expect(200), revoked);
    assert_eq!(bench.world.newest_event().await, before);
    let refused = Device::new("0002").enrol(&bearer).await;
    let detail = refused.problem("enrolment-token-ended");
    assert!(detail.contains("was revoked at"), "{detail}");
    // It is no key of the API, nor a key of the API a token.
    bearer
        .get("/v1/devices")
        .await
        .problem("credentials-invalid");
    let refused = Device::new("0002").enrol(api).await;
    refused.problem("enrolment-token-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_register_the_devices_makes_sees_and_revokes_a_token() {
    let bench = Bench::start().await;
    let admin = &bench.world.admin;
    let made = admin
        .post("/v1/enrolment-tokens", new_token())
        .await
        .expect(201);
    let path = format!(
        "/v1/enrolment-tokens/{}",
        made["enrolment_token"]["id"].as_str().unwrap()
    );
    let revoke = format!("{path}/revoke");
    let absent = "/v1/enrolment-tokens/aaaaaaaaaaaaa";
    for role in [Role::Viewer, Role::Operator, Role::Auditor] {
        let (_, api) = bench.world.key(&[role], Scope::everything()).await;
        let create = api.post("/v1/enrolment-tokens", new_token()).await;
        create.problem("role-insufficient");
        for path in ["/v1/enrolment-tokens", &path, absent] {
            api.get(path).await.problem("role-insufficient");
        }
        api.post(&revoke, json!({}))
            .await
            .problem("role-insufficient");
    }
    let (_, south) = bench
        .world
        .key(&[Role::Provisioner], at_site("south"))
        .await;
    let create = south.post("/v1/enrolment-tokens", new_token()).await;
    create.problem("scope-exceeded");
    let list = south.get("/v1/enrolment-tokens").await.expect(200);
    assert_eq!(list["enrolment_tokens"], json!([]));
    for path in [path.as_str(), absent] {
        south.get(path).await.problem("enrolment-token-unknown");
    }
    for path in [&revoke, &format!("{absent}/revoke")] {
        south
            .post(path, json!({}))
            .await
            .problem("enrolment-token-unknown");
    }
    let (_, north) = bench
        .world
        .key(&[Role::Provisioner], at_site("north"))
        .await;
    assert_eq!(north.get(&path).await.expect(200), made["enrolment_token"]);
    north
        .post("/v1/enrolment-tokens", new_token())
        .await
        .expect(201);
    north.post(&revoke, json!({})).await.expect(200);
    // No site at all is beyond one site.
    let mut anywhere = new_token();
    anywhere["site"] = json!(null);
    let create = north.post("/v1/enrolment-tokens", anywhere).await;
    create.problem("scope-exceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gives_no_second_token() {
    let bench = Bench::start().await;
    let api = &bench.world.admin;
    let create = || {
        let request = api.request(reqwest::Method::POST, "/v1/enrolment-tokens");
        Answer::of(request.header("idempotency-key", "a").json(&new_token()))
    };
    let made = create().await.expect(201);
    let again = create().await;
    let detail = again.problem("idempotency-key-spent");
    assert!(detail.contains(made["enrolment_token"]["id"].as_str().unwrap()));
    assert!(!again.text.contains("lge_"));
    let list = api.get("/v1/enrolment-tokens").await.expect(200);
    assert_eq!(list["enrolment_tokens"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_its_place() {
    let bench = Bench::start().await;
    let with = |field: &str, value: Value| {
        let mut token = new_token();
        token[field] = value;
        token
    };
    for (body, problem, part) in [
        (
            with("admit", json!({})),
            "request-malformed",
            "did you mean \"admits\"?",
        ),
        (
            with("admits", json!({ "all": [] })),
            "request-malformed",
            "admits",
        ),
        (
            with("admits", json!({ "ids": ["a.b"] })),
            "request-malformed",
            "admits",
        ),
        (
            with("admits", json!({ "ids": [] })),
            "value-malformed",
            "at least",
        ),
        (
            with("admits", json!({ "ids": ["a", "A"] })),
            "value-malformed",
            "case",
        ),
        (
            with("admits", json!({ "unnamed": { "max_uses": 0 } })),
            "value-malformed",
            "at least",
        ),
        (
            with("admits", json!({ "manifest": { "0001": "abc" } })),
            "request-malformed",
            "admits",
        ),
        (with("device_type", json!("a b")), "value-malformed", "type"),
        (
            with("trust_domain", json!("other")),
            "trust-domain-unknown",
            "default",
        ),
        (
            with("expires_at", json!("2020-01-01T00:00:00Z")),
            "value-malformed",
            "expires_at",
        ),
        (with("name", json!("")), "value-malformed", "name"),
    ] {
        let answer = bench
            .world
            .admin
            .post("/v1/enrolment-tokens", body.clone())
            .await;
        let detail = answer.problem(problem);
        assert!(detail.contains(part), "{body}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_is_said_to() {
    let bench = Bench::start().await;
    let (id, bearer) = bench.token(json!({ "ids": ["0001", "0002"] })).await;
    bench.clock.advance(DAY - Duration::from_secs(60));
    let device = Device::new("0001");
    device.enrol(&bearer).await.expect(201);
    bench.clock.advance(Duration::from_secs(61));
    for device in [device, Device::new("0002")] {
        let detail = device.enrol(&bearer).await.problem("enrolment-token-ended");
        assert!(
            detail.starts_with("this enrolment token ended at"),
            "{detail}"
        );
    }
    let path = format!("/v1/enrolment-tokens/{id}");
    assert_eq!(bench.world.admin.get(&path).await.expect(200)["uses"], 1);
}
