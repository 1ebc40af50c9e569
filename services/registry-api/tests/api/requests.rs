//! How requests are read, and what is said of those that can't be.

use leafgate_api::ProblemType;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, World};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_refused_with_what_may_be_meant() {
    let world = World::start().await;
    let api = &world.admin;
    let detail = api
        .get("/v1/devices?sate=active")
        .await
        .problem("request-malformed");
    assert!(detail.contains("did you mean \"state\"?"), "{detail}");
    let body = json!({ "id": "0001", "device_typ": "pump" });
    let detail = api
        .post("/v1/devices", body)
        .await
        .problem("request-malformed");
    assert!(
        detail.contains("\"device_typ\"; did you mean \"device_type\"?"),
        "{detail}"
    );
    let body = json!({ "name": "x", "roles": ["viewer"], "scope": { "site": ["north"] } });
    let detail = api
        .post("/v1/api-keys", body)
        .await
        .problem("request-malformed");
    assert!(
        detail.contains("unknown field `site`") && detail.starts_with("scope"),
        "{detail}"
    );
    for path in [
        "/v1/devices/0001?verbose=1",
        "/v1/issuers?x=",
        "/v1/events?page_token=x",
        "/v1/devices?state=active&state=pending",
        "/v1/devices?page_size=0",
        "/v1/devices?page_size=1001",
        "/v1/devices?page_size=many",
        "/v1/devices?state=Active",
        "/v1/devices?attribute=line",
        "/v1/devices?expires_by=tomorrow",
        "/v1/certificates?serial=XYZ",
        "/v1/certificates?device=0001&service=x",
        "/v1/devices/a.b",
        "/v1/devices/%00",
        "/v1/devices/%ff",
    ] {
        api.get(path).await.problem("request-malformed");
    }
    let request = api.request(Method::POST, "/v1/devices/0001/disable?force=1");
    Answer::of(request).await.problem("request-malformed");
    api.get("/v1/devices?page_token=abc")
        .await
        .problem("page-token-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_json_and_nothing_else() {
    let world = World::start().await;
    let api = &world.admin;
    let send = async |kind: Option<&str>, body: &str| {
        let request = api
            .request(Method::POST, "/v1/devices")
            .body(body.to_owned());
        let request = match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        };
        Answer::of(request).await
    };
    let json = Some("application/json");
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        r#"{"id": "0001", "device_type": "pump"} {}"#,
        r#"{"id": "0001", "id": "0002", "device_type": "pump"}"#,
        r#"{"id": "0001", "device_type": 5}"#,
        r#"{"id": "00.01", "device_type": "pump"}"#,
        r#"{"id": "0001", "device_type": "pump", "attributes": {"a": 1}}"#,
        &"[".repeat(100_000),
    ] {
        send(json, body).await.problem("request-malformed");
    }
    send(json, "\u{feff}{}").await.problem("request-malformed");
    let good = r#"{"id": "0001", "device_type": "pump"}"#;
    for kind in [
        None,
        Some("text/plain"),
        Some("application/merge-patch+json"),
        Some("application/jsonx"),
    ] {
        send(kind, good).await.problem("media-type-unsupported");
    }
    let detail = send(json, r#"{"id": "0001", "device_type": 5}"#)
        .await
        .problem("request-malformed");
    assert!(detail.starts_with("device_type: "), "{detail}");
    assert_eq!(
        send(Some("Application/JSON; charset=utf-8"), good)
            .await
            .status,
        201
    );
    // A body that may be left out may still not be null.
    let revoke = api.request(Method::POST, "/v1/devices/0001/revoke");
    Answer::of(revoke.json(&Value::Null))
        .await
        .problem("request-malformed");
    let patch = api
        .request(Method::PATCH, "/v1/devices/0001")
        .header("content-type", "application/merge-patch+json")
        .body(r#"{"site": "north"}"#);
    assert_eq!(Answer::of(patch).await.expect(200)["site"], "north");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_break_a_rule_are_told() {
    let world = World::start().await;
    let api = &world.admin;
    let many: serde_json::Map<String, Value> =
        (0..65).map(|n| (format!("a{n}"), json!("x"))).collect();
    for (body, part) in [
        (json!({ "id": "a".repeat(37), "device_type": "pump" }), "36"),
        (json!({ "id": "0001", "device_type": "a b" }), "device_type"),
        (json!({ "id": "0001", "device_type": "" }), "device_type"),
        (
            json!({ "id": "0001", "device_type": "pump", "site": "a.b" }),
            "site",
        ),
        (
            json!({ "id": "0001", "device_type": "pump", "attributes": many }),
            "attributes",
        ),
        (
            json!({ "id": "0001", "device_type": "pump", "attributes": { "a": "\n" } }),
            "attribute",
        ),
    ] {
        let detail = api
            .post("/v1/devices", body)
            .await
            .problem("value-malformed");
        assert!(detail.contains(part), "{detail}");
    }
    let body = json!({ "id": "0001", "device_type": "pump", "trust_domain": "other" });
    let detail = api
        .post("/v1/devices", body)
        .await
        .problem("trust-domain-unknown");
    assert!(detail.contains("default"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_are_exact() {
    let world = World::start().await;
    let api = &world.admin;
    for path in [
        "/",
        "/v1",
        "/v1/devices/",
        "/v2/devices",
        "/V1/devices",
        "/v1/devices/0001/fly",
        "/metrics",
    ] {
        api.get(path).await.problem("route-unknown");
    }
    let answer = Answer::of(api.request(Method::PUT, "/v1/devices")).await;
    answer.problem("method-not-allowed");
    let mut allowed: Vec<_> = answer.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    let odd = Method::from_bytes(b"BREW").unwrap();
    Answer::of(api.request(odd, "/v1/devices"))
        .await
        .problem("method-not-allowed");
    let metrics = world.metrics().await;
    assert!(
        metrics.contains("method=\"other\"") && !metrics.contains("BREW"),
        "{metrics}"
    );
    assert!(
        metrics.contains("route=\"none\"") && !metrics.contains("/v2/"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_requests_id() {
    let world = World::start().await;
    let api = &world.admin;
    for path in [
        "/v1/devices",
        "/v1/devices/none",
        "/nowhere",
        "/v1/openapi.json",
    ] {
        let given = api
            .request(Method::GET, path)
            .header("x-request-id", "my-id.7");
        assert_eq!(Answer::of(given).await.header("x-request-id"), "my-id.7");
        let wrong = api.request(Method::GET, path).header("x-request-id", "a b");
        assert_eq!(Answer::of(wrong).await.header("x-request-id").len(), 36);
        assert_eq!(
            api.get(path).await.header("x-content-type-options"),
            "nosniff"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_has_its_page() {
    let world = World::start().await;
    let api = world.admin.anonymous();
    for problem in ProblemType::ALL {
        let page = api.get(problem.uri()).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), "text/plain; charset=utf-8");
        assert!(page.text.starts_with(problem.title()) && page.text.contains(problem.page()));
    }
    api.get("/problems/none").await.problem("route-unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_gone_is_told_as_that() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    let database = world.folder.path().join("registry.db");
    let aside = world.folder.path().join("aside.db");
    std::fs::rename(&database, &aside).unwrap();
    let answer = api.get("/v1/devices/0001").await;
    answer.problem("registry-unavailable");
    assert!(!answer.text.contains("registry.db"), "{}", answer.text);
    std::fs::rename(&aside, &database).unwrap();
    assert_eq!(api.get("/v1/devices/0001").await.status, 200);
}
