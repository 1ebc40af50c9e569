//! Many devices in one request: changes of state.

use leafgate_access::{Role, Scope};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bulk::{device, import, lines, next_line};
use crate::certificates::issue;
use crate::support::{Answer, Api, PATIENCE, World, at_site};

async fn plan(api: &Api, action: &str, filter: &Value) -> u64 {
    let body = json!({ "action": action, "filter": filter });
    let planned = api.post("/v1/bulk/plan", body).await.expect(200);
    planned["devices"].as_u64().unwrap()
}

/// Of each line how many were done of how many, id, outcome and state.
fn changes(answer: &Answer) -> Vec<String> {
    let shown = |line: &Value| {
        let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        format!(
            "{}/{} {} {} {}",
            line["done"],
            line["of"],
            text("id"),
            text("outcome"),
            text("state")
        )
    };
    lines(answer).iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_changed_when_their_number_is_confirmed() {
    let world = World::start().await;
    let admin = &world.admin;
    for (id, site) in [("n1", "north"), ("n2", "north"), ("s1", "south")] {
        admin.register(id, "pump", Some(site)).await;
    }
    let north = json!({ "site": "north" });
    let before = world.newest_event().await;
    assert_eq!(plan(admin, "disable", &north).await, 2);
    assert_eq!(plan(admin, "enable", &north).await, 0);
    assert_eq!(world.newest_event().await, before, "a plan changes nothing");
    let disable = |expected: u64| json!({ "action": "disable", "filter": north, "expected": expected, "devices_per_second": 1000 });
    let detail = admin
        .post("/v1/bulk/apply", disable(3))
        .await
        .problem("count-differs");
    assert!(detail.contains("2 devices, not 3"), "{detail}");
    assert_eq!(world.newest_event().await, before);
    let answer = admin.post("/v1/bulk/apply", disable(2)).await;
    assert_eq!(
        changes(&answer),
        ["1/2 n1 changed disabled", "2/2 n2 changed disabled"]
    );
    assert_eq!(
        plan(admin, "disable", &north).await,
        0,
        "nothing is left to resume"
    );
    // The scope of the key bounds what a filter selects.
    let (_, south) = world.key(&[Role::Operator], at_site("south")).await;
    assert_eq!(plan(&south, "delete", &json!({})).await, 1);
    assert_eq!(plan(&south, "enable", &north).await, 0);
    let delete = json!({ "action": "delete", "filter": {}, "expected": 1 });
    let answer = south.post("/v1/bulk/apply", delete).await;
    assert_eq!(changes(&answer), ["1/1 s1 changed deleted"]);

    for (body, word) in [
        (json!({ "action": "disable", "expected": 0 }), "filter"),
        (
            json!({ "action": "disable", "filter": { "sit": "x" }, "expected": 0 }),
            "sit",
        ),
        (
            json!({ "action": "enable", "filter": {}, "expected": 2, "devices_per_second": 0 }),
            "devices_per_second",
        ),
        (
            json!({ "action": "enable", "filter": {}, "expected": 2, "reason": "superseded" }),
            "reason",
        ),
    ] {
        let detail = admin
            .post("/v1/bulk/apply", body)
            .await
            .problem("request-malformed");
        assert!(detail.contains(word), "{detail}");
    }
    let (_, viewer) = world.key(&[Role::Viewer], Scope::everything()).await;
    let body = json!({ "action": "enable", "filter": {} });
    viewer
        .post("/v1/bulk/plan", body)
        .await
        .problem("role-insufficient");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_certified_is_revoked_and_served() {
    let world = World::start().await;
    let admin = &world.admin;
    for id in ["c1", "c2", "none"] {
        admin.register(id, "pump", None).await;
    }
    let issued = issue(admin, "c1").await;
    issue(admin, "c2").await;
    let issuer = admin.get("/v1/devices/c1").await.expect(200)["certificates"][0]["issuer"].clone();
    let filter = json!({ "issuer": issuer });
    assert_eq!(plan(admin, "revoke", &filter).await, 2);
    let body =
        json!({ "action": "revoke", "filter": filter, "expected": 2, "reason": "ca-compromise" });
    let answer = admin.post("/v1/bulk/apply", body).await;
    assert_eq!(
        changes(&answer),
        ["1/2 c1 changed revoked", "2/2 c2 changed revoked"]
    );
    // Whoever reads the answer finds the certificate on the list.
    let url = format!(
        "http://{}/crl/{}.crl",
        world.status,
        issuer.as_str().unwrap()
    );
    let list = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    let serial = data_encoding::HEXLOWER
        .decode(issued["serial"].as_str().unwrap().as_bytes())
        .unwrap();
    assert!(list.windows(serial.len()).any(|it| it == serial));
    let revoked = admin.get("/v1/devices/c1").await.expect(200);
    assert_eq!(
        revoked["certificates"][0]["revocation_reason"],
        "ca-compromise"
    );
}

/// Long answers must not outlive the key that asked for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_stops_with_the_key_that_asked_for_it() {
    let world = World::start().await;
    let body: Vec<String> = (0..40)
        .map(|number| device(&format!("d{number:02}"), None))
        .collect();
    import(&world.admin, body.join("\n")).await;
    let (key, operator) = world.key(&[Role::Operator], Scope::everything()).await;
    let body =
        json!({ "action": "disable", "filter": {}, "expected": 40, "devices_per_second": 1 });
    let request = operator.request(Method::POST, "/v1/bulk/apply").json(&body);
    let mut answer = request.send().await.unwrap();
    assert!(next_line(&mut answer).await.contains("d00"));
    world
        .admin
        .post(&format!("/v1/api-keys/{}/revoke", key.id), json!({}))
        .await
        .expect(200);
    let rest = tokio::time::timeout(PATIENCE, answer.text()).await.unwrap();
    assert!(rest.is_err(), "{rest:?}");
    assert!(plan(&world.admin, "disable", &json!({})).await > 0);
}
