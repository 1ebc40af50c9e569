//! What must be told to nobody else is in no log and in no later answer.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, World, captured_log};

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_given_once_and_never_logged() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    let path = "/v1/devices/0001/certificates";
    let issued = api
        .post(path, json!({ "generate_key": true }))
        .await
        .expect(201);
    let private_key = issued["private_key"].as_str().unwrap();
    let body = json!({ "name": "x", "roles": ["admin"], "scope": {} });
    let made = api.post("/v1/api-keys", body).await.expect(201);
    let key = made["key"].as_str().unwrap();
    let secret_of = |key: &str| key.rsplit('_').next().unwrap().to_owned();
    let mut secrets = vec![secret_of(key), secret_of(api.key())];
    let in_pem = private_key.lines().filter(|line| !line.starts_with('-'));
    secrets.extend(in_pem.map(str::to_owned));
    assert!(secrets.iter().all(|secret| secret.len() > 10));

    // Presented well and badly, in the right place and in others.
    let mut answers = Vec::new();
    for authorization in [
        format!("Bearer {key}"),
        format!("Bearer {key}x"),
        format!("Basic {key}"),
        key.to_owned(),
    ] {
        let request = api.anonymous().request(Method::GET, "/v1/devices");
        answers.push(Answer::of(request.header("authorization", authorization)).await);
    }
    answers.push(api.get("/v1/devices/0001").await);
    answers.push(api.get("/v1/api-keys").await);
    answers.push(api.get("/v1/events").await);
    answers.push(api.get("/v1/certificates").await);
    answers.push(
        Answer::of(reqwest::Client::new().get(format!("http://{}/metrics", world.health))).await,
    );
    let log = captured_log();
    for secret in secrets {
        for answer in &answers {
            assert!(!answer.text.contains(&secret), "{answer:?}");
        }
        assert!(!log.contains(&secret), "a secret was logged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_line_that_nobody_can_forge() {
    let world = World::start().await;
    let request = world
        .admin
        .request(
            Method::POST,
            "/v1/devices/0001%0a2026-01-01%20INFO%20made-up-line/disable",
        )
        .header("x-request-id", "line-of-this-test");
    Answer::of(request).await;
    let log = captured_log();
    let mut lines = log
        .lines()
        .filter(|line| line.contains("line-of-this-test"));
    let line = lines.next().unwrap();
    for part in [
        "method=\"POST\"",
        "route=\"/v1/devices/{id}/disable\"",
        "status=400",
        "problem=\"request-malformed\"",
        "actor=\"api-key:",
        "source=\"127.0.0.1\"",
        "micros=",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(lines.next().is_none() && !log.contains("made-up-line"));
}
