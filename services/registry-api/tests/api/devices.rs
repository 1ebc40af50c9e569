//! The life of a device.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_registered_edited_locked_out_and_deleted() {
    let world = World::start().await;
    let api = &world.admin;
    let body = json!({ "id": "0001", "device_type": "pump", "attributes": { "line": "4" } });
    let answer = api.post("/v1/devices", body).await;
    assert_eq!(answer.header("location"), "/v1/devices/0001");
    assert_eq!(answer.header("etag"), "\"1\"");
    let device = answer.expect(201);
    assert_eq!(device["state"], "active");
    assert_eq!(device["trust_domain"], "default");
    assert_eq!(device["certificates"], json!([]));
    let read = api.get("/v1/devices/0001").await;
    assert_eq!(read.header("etag"), "\"1\"");
    assert_eq!(read.expect(200), device);

    let patch = json!({ "site": "north", "attributes": { "line": null, "row": "b" } });
    let patched = api.patch("/v1/devices/0001", patch.clone()).await;
    assert_eq!(patched.header("etag"), "\"2\"");
    let patched = patched.expect(200);
    assert_eq!(patched["site"], "north");
    assert_eq!(patched["attributes"], json!({ "row": "b" }));
    assert_eq!(patched["device_type"], "pump");
    // A change that changes nothing is answered with the device as it is.
    let again = api.patch("/v1/devices/0001", patch).await.expect(200);
    assert_eq!(again, patched);
    let replaced = api
        .put("/v1/devices/0001", json!({ "device_type": "valve" }))
        .await
        .expect(200);
    assert_eq!(replaced["device_type"], "valve");
    assert_eq!(
        (&replaced["site"], &replaced["attributes"]),
        (&json!(null), &json!({}))
    );

    for (act, state) in [
        ("quarantine", "quarantined"),
        ("enable", "active"),
        ("disable", "disabled"),
        ("enable", "active"),
        ("revoke", "revoked"),
    ] {
        let path = format!("/v1/devices/0001/{act}");
        let device = Answer::of(api.request(Method::POST, &path))
            .await
            .expect(200);
        assert_eq!(device["state"], state, "{act}");
    }
    let detail = api
        .post("/v1/devices/0001/enable", json!({}))
        .await
        .problem("state-illegal");
    assert!(detail.contains("a revocation is final"), "{detail}");
    let tombstone = api.delete("/v1/devices/0001").await.expect(200);
    assert_eq!(tombstone["state"], "deleted");
    assert_eq!(api.get("/v1/devices/0001").await.expect(200), tombstone);
    api.delete("/v1/devices/0001")
        .await
        .problem("state-illegal");
    let again = api.register("0001", "pump", None).await;
    assert_eq!(
        (&again["generation"], &again["state"]),
        (&json!(2), &json!("active"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_device_waits_for_approval() {
    let world = World::start().await;
    let api = &world.admin;
    let body = json!({ "id": "0001", "device_type": "pump", "pending": true });
    let device = api.post("/v1/devices", body).await.expect(201);
    assert_eq!(device["state"], "pending");
    let refused = api
        .post(
            "/v1/devices/0001/certificates",
            json!({ "generate_key": true }),
        )
        .await;
    assert!(
        refused
            .problem("state-illegal")
            .contains("approve it first")
    );
    let approved = api.post("/v1/devices/0001/approve", json!({})).await;
    assert_eq!(approved.expect(200)["state"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_taken_is_told_with_its_holder() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("Pump-7", "pump", None).await;
    let body = |id: &str| json!({ "id": id, "device_type": "pump" });
    let detail = api
        .post("/v1/devices", body("Pump-7"))
        .await
        .problem("device-exists");
    assert!(
        detail.starts_with("Pump-7 was registered on 20") && detail.ends_with("is active"),
        "{detail}"
    );
    let detail = api
        .post("/v1/devices", body("pump-7"))
        .await
        .problem("device-exists");
    assert!(detail.contains("Pump-7"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_no_more_is_not_changed() {
    let world = World::start().await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    let patch = async |if_match: &str, device_type: &str| {
        let request = api
            .request(Method::PATCH, "/v1/devices/0001")
            .header("if-match", if_match)
            .json(&json!({ "device_type": device_type }));
        Answer::of(request).await
    };
    assert_eq!(patch("\"1\"", "valve").await.expect(200)["version"], 2);
    for stale in ["\"1\"", "\"7\"", "W/\"2\"", "\"abc\"", "\"+2\"", "\"02\""] {
        patch(stale, "gate").await.problem("version-mismatch");
    }
    for wrong in ["2", "\"1\", \"2\"", ""] {
        patch(wrong, "gate").await.problem("request-malformed");
    }
    assert_eq!(patch("*", "gate").await.expect(200)["version"], 3);
    let create = api
        .request(Method::POST, "/v1/devices")
        .header("if-match", "*")
        .json(&json!({ "id": "0002", "device_type": "pump" }));
    Answer::of(create).await.problem("request-malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged() {
    let world = World::start().await;
    let api = &world.admin;
    for n in 0..10 {
        let body = json!({
            "id": format!("{n:04}"),
            "device_type": if n % 2 == 0 { "pump" } else { "valve" },
            "site": if n < 5 { "north" } else { "south" },
            "attributes": { "line": format!("{}", n % 3) },
        });
        api.post("/v1/devices", body).await.expect(201);
    }
    api.post("/v1/devices/0004/disable", json!({}))
        .await
        .expect(200);
    let ids = async |query: &str| {
        let list = api.get(&format!("/v1/devices?{query}")).await.expect(200);
        let devices = list["devices"].as_array().unwrap().iter();
        devices
            .map(|device| device["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (query, expected) in [
        ("device_type=pump", "0000 0002 0004 0006 0008"),
        ("device_type=pump&site=north&state=active", "0000 0002"),
        ("state=disabled", "0004"),
        ("attribute=line=2", "0002 0005 0008"),
        ("attribute=line%3D2&site=south", "0005 0008"),
        ("id_prefix=0009", "0009"),
        ("common_name_prefix=device-0007.device", "0007"),
        (
            "common_name_prefix=device-000&device_type=pump&site=south",
            "0006 0008",
        ),
        ("common_name_prefix=elsewhere-", ""),
        ("common_name_prefix=device-0007&id_prefix=0008", ""),
        ("expires_by=2100-01-01T00:00:00Z", ""),
        ("state=deleted", ""),
    ] {
        assert_eq!(ids(query).await, expected, "{query}");
    }
    let mut seen = Vec::new();
    let mut path = "/v1/devices?device_type=pump&page_size=2".to_owned();
    loop {
        let page = api.get(&path).await.expect(200);
        seen.extend(
            page["devices"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["id"].clone()),
        );
        let Some(token) = page["next_page_token"].as_str() else {
            break;
        };
        // A token is good for the same filters in another order, and for no others.
        path = format!("/v1/devices?page_token={token}&page_size=3&device_type=pump");
        api.get(&format!("/v1/devices?page_token={token}"))
            .await
            .problem("page-token-invalid");
    }
    assert_eq!(seen, ["0000", "0002", "0004", "0006", "0008"]);
}
