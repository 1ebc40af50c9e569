//! Who gets in at all.

use leafgate_access::{Role, Scope};
use leafgate_identity::UnixMs;
use reqwest::{Identity, Method};
use serde_json::json;

use crate::certificates::issue;
use crate::support::{Answer, World, client_builder, now, until};

const PATHS: &[(&str, &str)] = &[
    ("GET", "/v1/devices"),
    ("POST", "/v1/devices"),
    ("GET", "/v1/devices/0001"),
    ("PATCH", "/v1/devices/0001"),
    ("POST", "/v1/devices/0001/revoke"),
    ("POST", "/v1/devices/0001/certificates"),
    ("GET", "/v1/certificates"),
    ("GET", "/v1/api-keys"),
    ("GET", "/v1/events"),
    ("GET", "/v1/events/stream"),
    ("POST", "/v1/audit/verify"),
    ("GET", "/v1/issuers"),
    ("POST", "/v1/issuers/0001/activate"),
    ("POST", "/v1/issuers/0001/retire"),
];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_key() {
    let world = World::start().await;
    world.admin.register("0001", "pump", None).await;
    let (anonymous, before) = (world.admin.anonymous(), world.newest_event().await);
    for (method, path) in PATHS {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = Answer::of(anonymous.request(method, path)).await;
        answer.problem("credentials-invalid");
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"leafgate\""
        );
    }
    for authorization in ["Basic bGdrX2E6Yg==", "Bearer", "Bearer ", "lgk_a_b"] {
        let request = anonymous.request(Method::GET, "/v1/devices");
        let answer = Answer::of(request.header("authorization", authorization)).await;
        answer.problem("credentials-invalid");
    }
    assert_eq!(world.newest_event().await, before);
    // What tells about the API is for everybody.
    assert_eq!(anonymous.get("/v1/openapi.json").await.status, 200);
    assert_eq!(anonymous.get("/problems/device-exists").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_when_it_is_said_to() {
    let world = World::start().await;
    let (past, ended) = (
        UnixMs::from_secs(1_700_000_000),
        UnixMs::from_secs(1_700_000_060),
    );
    let (_, api) = world
        .key_until(&[Role::Admin], Scope::everything(), past, ended)
        .await;
    let detail = api.get("/v1/devices").await.problem("credentials-invalid");
    assert_eq!(detail, format!("this API key ended at {ended}"));
    let (key, api) = world.key(&[Role::Admin], Scope::everything()).await;
    assert_eq!(api.get("/v1/devices").await.status, 200);
    let path = format!("/v1/api-keys/{}/revoke", key.id);
    world.admin.post(&path, json!({})).await.expect(200);
    let detail = api.get("/v1/devices").await.problem("credentials-invalid");
    assert!(
        detail.starts_with("this API key was revoked at "),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_another_process_revokes_counts_for_a_moment_only() {
    let world = World::start().await;
    let (key, api) = world.key(&[Role::Viewer], Scope::everything()).await;
    assert_eq!(api.get("/v1/devices").await.status, 200);
    let act = leafgate_registry::Act {
        at: now(),
        ..crate::support::act()
    };
    world.registrar.revoke_api_key(&key.id, &act).await.unwrap();
    until(async || api.get("/v1/devices").await.status == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_and_locks_nobody_else_out() {
    let world = World::start().await;
    let (_, known) = world.key(&[Role::Viewer], Scope::everything()).await;
    assert_eq!(known.get("/v1/devices").await.status, 200);
    // Another key, of which only the public part is known to whoever guesses.
    let (target, late) = world.key(&[Role::Viewer], Scope::everything()).await;
    let secret = known.key().rsplit('_').next().unwrap();
    let guess = world.admin.bearing(&format!("lgk_{}_{secret}", target.id));
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(guess.get("/v1/devices").await);
    }
    answers[0].problem("credentials-invalid");
    let slowed = answers.last().unwrap();
    slowed.problem("attempts-too-many");
    assert!(!slowed.text.contains(secret) && !slowed.text.contains(target.id.as_str()));
    // From here neither that key nor any other new one is looked at; those that have shown their secret go on.
    late.get("/v1/devices").await.problem("attempts-too-many");
    let garbage = world.admin.bearing("lgk_garbage");
    garbage
        .get("/v1/devices")
        .await
        .problem("attempts-too-many");
    assert_eq!(known.get("/v1/devices").await.status, 200);
    let metrics = world.metrics().await;
    assert!(
        metrics.contains("leafgate_registry_refusals_total{reason=\"attempts-too-many\"}"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devices_certificate_opens_nothing() {
    let world = World::start().await;
    let admin = &world.admin;
    admin.register("0001", "pump", None).await;
    let path = "/v1/devices/0001/certificates";
    let issued = admin
        .post(path, json!({ "generate_key": true }))
        .await
        .expect(201);
    let text = |name: &str| issued[name].as_str().unwrap().to_owned();
    let pem = format!("{}{}", text("chain"), text("private_key"));
    let identity = Identity::from_pem(pem.as_bytes()).unwrap();
    let client = client_builder(&world.server_ca)
        .identity(identity)
        .build()
        .unwrap();
    let device = admin.anonymous().through(client.clone());
    for (method, path) in PATHS {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = Answer::of(device.request(method, path)).await;
        let detail = answer.problem("credentials-invalid");
        assert!(answer.header("www-authenticate").starts_with("Bearer "));
        assert!(
            detail.contains("gives no right here, as no device's does"),
            "{detail}"
        );
    }
    // Nor does it take anything from whoever has a key.
    let both = admin.through(client);
    assert_eq!(both.get("/v1/devices").await.status, 200);
    issue(&both, "0001").await;
}
