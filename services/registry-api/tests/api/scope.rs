//! What a key that reaches only some devices can see and do.

use leafgate_access::{Role, Scope};
use reqwest::Method;
use serde_json::{Value, json};

use crate::certificates::issue;
use crate::support::requests::csr;
use crate::support::{Answer, Api, World, at_site};

/// A device in the north, one in the south, and one that may be anywhere.
async fn sites(world: &World) {
    let admin = &world.admin;
    admin.register("n1", "pump", Some("north")).await;
    admin.register("s1", "pump", Some("south")).await;
    admin.register("any", "pump", None).await;
}

fn ids(list: &Value) -> Vec<&str> {
    let devices = list["devices"].as_array().unwrap();
    devices
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_outside_of_the_scope_does_not_seem_to_exist() {
    let world = World::start().await;
    sites(&world).await;
    issue(&world.admin, "s1").await;
    let (_, north) = world.key(&[Role::Admin], at_site("north")).await;
    assert_eq!(ids(&north.get("/v1/devices").await.expect(200)), ["n1"]);
    for query in ["site=south", "id_prefix=s", "common_name_prefix=device-s1"] {
        let list = north.get(&format!("/v1/devices?{query}")).await.expect(200);
        assert_eq!(ids(&list), [""; 0], "{query}");
    }
    let before = world.newest_event().await;
    for id in ["s1", "any"] {
        for (method, path, body) in [
            ("GET", "", Value::Null),
            ("GET", "/explain", Value::Null),
            ("PUT", "", json!({ "device_type": "x" })),
            ("PATCH", "", json!({ "site": "north" })),
            ("DELETE", "", json!({})),
            ("POST", "/disable", json!({})),
            ("POST", "/revoke", json!({})),
            ("POST", "/certificates", json!({ "csr": csr() })),
        ] {
            let ask = async |id: &str| {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let request = north.request(method, &format!("/v1/devices/{id}{path}"));
                let request = match &body {
                    Value::Null => request,
                    body => request.json(body),
                };
                Answer::of(request).await.problem("device-unknown")
            };
            // Word for word what is said of a device that there is not.
            assert_eq!(
                ask(id).await.replace(id, "ID"),
                ask("none").await.replace("none", "ID")
            );
        }
    }
    assert_eq!(world.newest_event().await, before);
    let detail = north
        .post(
            "/v1/devices",
            json!({ "id": "s1", "device_type": "pump", "site": "north" }),
        )
        .await
        .problem("device-exists");
    assert_eq!(detail, "the id s1 is taken; ids are unique ignoring case");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_moves_a_device_into_or_out_of_their_scope() {
    let world = World::start().await;
    sites(&world).await;
    let (_, north) = world.key(&[Role::Provisioner], at_site("north")).await;
    let before = world.newest_event().await;
    for site in [json!("south"), json!(null)] {
        let move_out = async |api: &Api| {
            let patch = api.patch("/v1/devices/n1", json!({ "site": site })).await;
            let put = json!({ "device_type": "pump", "site": site });
            (patch, api.put("/v1/devices/n1", put).await)
        };
        let (patch, put) = move_out(&north).await;
        patch.problem("scope-exceeded");
        put.problem("scope-exceeded");
        let new = json!({ "id": "new", "device_type": "pump", "site": site });
        north
            .post("/v1/devices", new)
            .await
            .problem("scope-exceeded");
    }
    north
        .patch("/v1/devices/s1", json!({ "site": "north" }))
        .await
        .problem("device-unknown");
    assert_eq!(world.newest_event().await, before);
    north.register("new", "pump", Some("north")).await;

    let pumps = Scope {
        device_types: ["pump"].into_iter().collect(),
        ..Scope::everything()
    };
    let (_, pumps) = world.key(&[Role::Provisioner], pumps).await;
    let patch = pumps.patch("/v1/devices/s1", json!({ "device_type": "valve" }));
    patch.await.problem("scope-exceeded");
    // A device that was deleted elsewhere is not taken over by registering its id again.
    world.admin.delete("/v1/devices/s1").await.expect(200);
    let again = json!({ "id": "s1", "device_type": "pump", "site": "north" });
    let answer = north.post("/v1/devices", again).await;
    answer.problem("device-exists");
    assert_eq!(
        world.admin.get("/v1/devices/s1").await.expect(200)["state"],
        "deleted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_seen_as_far_as_their_devices() {
    let world = World::start().await;
    sites(&world).await;
    let seen = issue(&world.admin, "n1").await;
    let hidden = issue(&world.admin, "s1").await;
    let (_, north) = world.key(&[Role::Operator], at_site("north")).await;
    let (seen, hidden) = (
        seen["serial"].as_str().unwrap(),
        hidden["serial"].as_str().unwrap(),
    );
    let serials = async |query: &str| {
        let list = north
            .get(&format!("/v1/certificates{query}"))
            .await
            .expect(200);
        let found = list["certificates"].as_array().unwrap().clone();
        found
            .iter()
            .map(|it| it["serial"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(serials("").await, [seen]);
    for query in [
        "?device=s1".to_owned(),
        format!("?serial={hidden}"),
        "?common_name=device-s1.device.synadia.local".to_owned(),
        "?device_prefix=s".to_owned(),
    ] {
        assert_eq!(serials(&query).await, [""; 0], "{query}");
    }
    let before = world.newest_event().await;
    for path in ["", "/pem"] {
        let path = format!("/v1/certificates/{hidden}{path}");
        north.get(&path).await.problem("certificate-unknown");
    }
    let revoke = format!("/v1/certificates/{hidden}/revoke");
    north
        .post(&revoke, json!({}))
        .await
        .problem("certificate-unknown");
    assert_eq!(world.newest_event().await, before);
    let revoke = format!("/v1/certificates/{seen}/revoke");
    north.post(&revoke, json!({})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_its_own() {
    let world = World::start().await;
    sites(&world).await;
    let asks: [(&str, &str, Value, &[Role]); 9] = [
        ("GET", "/v1/devices/n1", Value::Null, Role::ALL),
        ("GET", "/v1/certificates", Value::Null, Role::ALL),
        ("GET", "/v1/issuers", Value::Null, Role::ALL),
        (
            "POST",
            "/v1/devices/none/disable",
            json!({}),
            &[Role::Operator, Role::Admin],
        ),
        (
            "PATCH",
            "/v1/devices/n1",
            json!({}),
            &[Role::Provisioner, Role::Admin],
        ),
        (
            "POST",
            "/v1/devices/none/certificates",
            json!({ "generate_key": true }),
            &[Role::Provisioner, Role::Admin],
        ),
        (
            "GET",
            "/v1/events",
            Value::Null,
            &[Role::Auditor, Role::Admin],
        ),
        (
            "POST",
            "/v1/audit/verify",
            json!({}),
            &[Role::Auditor, Role::Admin],
        ),
        ("GET", "/v1/api-keys", Value::Null, &[Role::Admin]),
    ];
    for role in Role::ALL {
        let (_, api) = world.key(&[*role], Scope::everything()).await;
        for (method, path, body, allowed) in &asks {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request = api.request(method.clone(), path);
            let request = match body {
                Value::Null => request,
                body => request.json(body),
            };
            let answer = Answer::of(request).await;
            if allowed.contains(role) {
                assert!(
                    matches!(answer.status, 200 | 404),
                    "{role} {method} {path}: {answer:?}"
                );
            } else {
                answer.problem("role-insufficient");
            }
        }
    }
    // The whole registry is for those who reach all of it.
    let (_, north) = world.key(&[Role::Auditor], at_site("north")).await;
    north
        .post("/v1/audit/verify", json!({}))
        .await
        .problem("scope-exceeded");
}
