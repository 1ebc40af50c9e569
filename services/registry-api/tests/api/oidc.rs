//! People with access tokens, over the real listener, with a provider beside it.

use leafgate_runtime::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::idp::Idp;
use crate::mint::p256;
use crate::support::{Api, World};

const AUDIENCE: &str = "https://fleet.example/api";

async fn world(idp: &Idp) -> World {
    World::start_with(&format!(
        r#"
        [oidc]
        issuer = "{}"
        audience = "{AUDIENCE}"
        ca_file = "{}"
        [[oidc.grant]]
        value = "fleet-operators"
        roles = ["operator", "auditor"]
        scope.sites = ["north"]
        "#,
        idp.issuer(),
        idp.ca_file().display(),
    ))
    .await
}

fn token(idp: &Idp, roles: &[&str], ends_in_secs: i64) -> String {
    let now = SystemClock::start().now().as_secs();
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "ec-1" });
    let claims = json!({
        "iss": idp.issuer(),
        "aud": AUDIENCE,
        "sub": "2f41",
        "email": "ann@example.com",
        "iat": now - 3_600,
        "exp": now + ends_in_secs,
        "roles": roles,
    });
    p256().sign(&header, &claims)
}

fn ids(list: &Value) -> Vec<&str> {
    let devices = list["devices"].as_array().unwrap();
    devices
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_do_what_their_role_allows_under_their_name() {
    let idp = Idp::start(json!([p256().jwk("ec-1")])).await;
    let world = world(&idp).await;
    world.admin.register("n1", "pump", Some("north")).await;
    world.admin.register("s1", "pump", Some("south")).await;
    let ann: Api = world.admin.bearing(&token(&idp, &["fleet-operators"], 600));
    assert_eq!(ids(&ann.get("/v1/devices").await.expect(200)), ["n1"]);
    ann.post("/v1/devices/n1/disable", json!({}))
        .await
        .expect(200);
    ann.post("/v1/devices/s1/disable", json!({}))
        .await
        .problem("device-unknown");
    let body = json!({ "id": "n2", "device_type": "pump", "site": "north" });
    ann.post("/v1/devices", body)
        .await
        .problem("role-insufficient");
    let events = ann.get("/v1/events").await.expect(200);
    let last = events["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["actor"], "oidc:ann@example.com");

    let stranger = world.admin.bearing(&token(&idp, &["staff"], 600));
    stranger
        .get("/v1/devices")
        .await
        .problem("role-insufficient");
    let late = world
        .admin
        .bearing(&token(&idp, &["fleet-operators"], -600));
    let answer = late.get("/v1/devices").await;
    let detail = answer.problem("credentials-invalid");
    assert!(detail.starts_with("the access token ended at"), "{detail}");
    let (signed, _) = ann.key().rsplit_once('.').unwrap();
    let (_, signature) = stranger.key().rsplit_once('.').unwrap();
    let forged = format!("{signed}.{signature}");
    let forged = world.admin.bearing(&forged).get("/v1/devices").await;
    assert_eq!(forged.status, 401, "{}", forged.text);
    let nothing = world.admin.anonymous().get("/v1/devices").await;
    let detail = nothing.problem("credentials-invalid");
    assert!(detail.contains("an API key or an access token"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_told_and_keys_go_on_counting() {
    let idp = Idp::start(json!([p256().jwk("ec-1")])).await;
    let world = world(&idp).await;
    idp.stop().await;
    let ann = world.admin.bearing(&token(&idp, &["fleet-operators"], 600));
    ann.get("/v1/devices")
        .await
        .problem("identity-provider-unavailable");
    world.admin.get("/v1/devices").await.expect(200);
    let page = world
        .admin
        .get("/problems/identity-provider-unavailable")
        .await;
    assert_eq!(page.status, 200);
}
