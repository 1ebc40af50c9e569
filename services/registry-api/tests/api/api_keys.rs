//! Keys that are made, listed and revoked over the API.

use leafgate_access::{Role, Scope};
use serde_json::{Value, json};

use crate::support::{World, at_site};

fn ids(list: &Value) -> Vec<&str> {
    let keys = list["api_keys"].as_array().unwrap();
    keys.iter().map(|key| key["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_used_and_revoked() {
    let world = World::start().await;
    let body = json!({
        "name": "line 4",
        "roles": ["viewer"],
        "scope": { "sites": ["north"] },
    });
    let answer = world.admin.post("/v1/api-keys", body).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let made = answer.expect(201);
    let text = made["key"].as_str().unwrap();
    let id = made["api_key"]["id"].as_str().unwrap();
    assert!(text.starts_with(&format!("lgk_{id}_")));
    assert_eq!(
        made["api_key"]["scope"],
        json!({ "trust_domains": "*", "sites": ["north"], "device_types": "*" })
    );
    let bearer = world.admin.bearing(text);
    assert_eq!(bearer.get("/v1/devices").await.status, 200);
    bearer
        .get("/v1/api-keys")
        .await
        .problem("role-insufficient");

    let path = format!("/v1/api-keys/{id}");
    let read = world.admin.get(&path).await;
    let secret = text.rsplit('_').next().unwrap();
    assert!(!read.text.contains(secret));
    assert_eq!(read.expect(200), made["api_key"]);
    let list = world.admin.get("/v1/api-keys").await;
    assert!(!list.text.contains(secret));
    assert_eq!(ids(&list.expect(200)).len(), 2);
    for _ in 0..2 {
        let revoked = world.admin.post(&format!("{path}/revoke"), json!({})).await;
        assert!(revoked.expect(200)["revoked_at"].is_string());
    }
    bearer
        .get("/v1/devices")
        .await
        .problem("credentials-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_away_or_touches_more_than_they_hold() {
    let world = World::start().await;
    let (_, north) = world.key(&[Role::Admin], at_site("north")).await;
    let (all, _) = world.key(&[Role::Viewer], Scope::everything()).await;
    let make = async |roles: Value, scope: Value| {
        let body = json!({ "name": "x", "roles": roles, "scope": scope });
        north.post("/v1/api-keys", body).await
    };
    make(json!(["admin"]), json!({}))
        .await
        .problem("grant-exceeded");
    make(json!(["viewer"]), json!({ "sites": ["north", "south"] }))
        .await
        .problem("grant-exceeded");
    let made = make(json!(["operator"]), json!({ "sites": ["north"] }))
        .await
        .expect(201);
    let id = made["api_key"]["id"].as_str().unwrap();
    let list = north.get("/v1/api-keys").await.expect(200);
    assert!(ids(&list).contains(&id) && !ids(&list).contains(&all.id.as_str()));
    let foreign = format!("/v1/api-keys/{}", all.id);
    north.get(&foreign).await.problem("api-key-unknown");
    north
        .post(&format!("{foreign}/revoke"), json!({}))
        .await
        .problem("api-key-unknown");
    // As if it did not exist.
    let unknown = format!("/v1/api-keys/{}", "a".repeat(13));
    let told = |detail: String, id: &str| detail.replace(id, "ID");
    assert_eq!(
        told(
            north.get(&foreign).await.problem("api-key-unknown"),
            all.id.as_str()
        ),
        told(
            north.get(&unknown).await.problem("api-key-unknown"),
            &"a".repeat(13)
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_with_sense() {
    let world = World::start().await;
    let scope = json!({});
    for (body, problem) in [
        (
            json!({ "name": "x", "roles": [], "scope": scope }),
            "value-malformed",
        ),
        (
            json!({ "name": "", "roles": ["viewer"], "scope": scope }),
            "value-malformed",
        ),
        (
            json!({ "name": "x", "roles": ["root"], "scope": scope }),
            "request-malformed",
        ),
        (
            json!({ "name": "x", "roles": ["viewer"] }),
            "request-malformed",
        ),
        (
            json!({ "name": "x", "roles": ["viewer"], "scope": { "site": "*" } }),
            "request-malformed",
        ),
        (
            json!({ "name": "x", "roles": ["viewer"], "scope": scope, "expires_at": "2001-01-01T00:00:00Z" }),
            "value-malformed",
        ),
    ] {
        world
            .admin
            .post("/v1/api-keys", body)
            .await
            .problem(problem);
    }
}
