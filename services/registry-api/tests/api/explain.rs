//! Whether a device would be let in, and why not.

use serde_json::{Value, json};

use crate::certificates::issue;
use crate::support::World;

const POLICIES: &str = "\
policies = [\"device.toml\"]
[policy]
site = \"north\"
";

const DEVICE_TOML: &str = r#"
[[policy]]
name = "pumps"
account = "DEVICES"
match = { device_type = "pump" }
publish.allow = ["device.{id}.status"]
subscribe.allow = ["device.{id}.cmd"]
session = { lifetime = "12h", jitter = "20%", connection_types = ["STANDARD", "MQTT"] }

[policy.quarantine]
publish.allow = ["device.{id}.status"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_decision_is_the_callouts() {
    let world = World::start_with_files(POLICIES, &[("device.toml", DEVICE_TOML)]).await;
    let api = &world.admin;
    api.register("0001", "pump", None).await;
    api.register("0002", "valve", None).await;
    api.register("0003", "pump", Some("south")).await;
    let explain = async |id: &str, query: &str| {
        let path = format!("/v1/devices/{id}/explain{query}");
        api.get(&path).await.expect(200)
    };
    let reason = |explanation: &Value| {
        assert_eq!(explanation["admitted"], false);
        explanation["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(&explain("0001", "").await), "certificate-missing");
    let mut issued = Vec::new();
    for id in ["0001", "0002", "0003"] {
        issued.push(issue(api, id).await);
    }
    let explanation = explain("0001", "").await;
    assert_eq!(explanation["admitted"], true);
    assert_eq!(explanation["certificate"], issued[0]["serial"]);
    assert_eq!(explanation["until"], issued[0]["not_after"]);
    let grant = &explanation["grant"];
    assert_eq!(grant["policy"], "pumps");
    assert_eq!(grant["publish"]["allow"], json!(["device.0001.status"]));
    assert_eq!(grant["subscribe"]["allow"], json!(["device.0001.cmd"]));
    assert_eq!(
        grant["lifetime"],
        json!({ "secs": 43_200, "jitter_percent": 20 })
    );
    assert_eq!(grant["quarantined"], false);

    assert_eq!(reason(&explain("0002", "").await), "policy-none");
    assert_eq!(reason(&explain("0003", "").await), "site-mismatch");
    assert_eq!(explain("0003", "?site=south").await["admitted"], true);
    assert_eq!(
        explain("0001", "?connection_type=MQTT").await["admitted"],
        true
    );
    let websocket = explain("0001", "?connection_type=WEBSOCKET&source=192.0.2.7").await;
    assert_eq!(reason(&websocket), "connection-type-not-allowed");
    for wrong in ["connection_type=CARRIER_PIGEON", "source=here"] {
        let path = format!("/v1/devices/0001/explain?{wrong}");
        api.get(&path).await.problem("request-malformed");
    }

    api.post("/v1/devices/0001/quarantine", json!({}))
        .await
        .expect(200);
    let quarantined = explain("0001", "").await;
    assert_eq!(quarantined["grant"]["quarantined"], true);
    assert_eq!(quarantined["grant"]["subscribe"]["deny"], json!([">"]));
    api.post("/v1/devices/0001/disable", json!({}))
        .await
        .expect(200);
    assert_eq!(reason(&explain("0001", "").await), "device-disabled");
    api.post("/v1/devices/0001/revoke", json!({}))
        .await
        .expect(200);
    assert_eq!(reason(&explain("0001", "").await), "device-revoked");
    api.delete("/v1/devices/0001").await.expect(200);
    assert_eq!(reason(&explain("0001", "").await), "device-deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_policies_nothing_is_explained() {
    let world = World::start().await;
    world.admin.register("0001", "pump", None).await;
    let answer = world.admin.get("/v1/devices/0001/explain").await;
    assert!(answer.problem("not-supported").contains("[policy]"));
}
