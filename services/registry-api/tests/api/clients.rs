//! Scripts that are known by a client certificate from a CA of its own.

use std::time::Duration;

use leafgate_testkit::scratch_ca::{ExtendedKeyUsagePurpose, ScratchCa, ScratchLeaf};
use reqwest::Identity;
use serde_json::json;

use crate::certificates::issue;
use crate::support::{Api, World, client_builder, config, now};

const SECTION: &str = r#"
[clients]
ca_file = "clients.crt"
[[clients.grant]]
common_name = "deploy"
roles = ["provisioner"]
scope.sites = ["north"]
[[clients.grant]]
common_name = "watch"
roles = ["viewer", "auditor"]
scope.sites = "*"
"#;

async fn world(ca: &ScratchCa) -> World {
    World::start_with_files(SECTION, &[("clients.crt", ca.certificate_pem())]).await
}

/// Somebody without a key who connects with a certificate.
fn holding(world: &World, ca: &ScratchCa, leaf: &ScratchLeaf) -> Api {
    let made = ca.sign(leaf);
    let pem = format!("{}{}", made.chain_pem, made.private_key_pem);
    let identity = Identity::from_pem(pem.as_bytes()).unwrap();
    let client = client_builder(&world.server_ca).identity(identity).build();
    world.admin.anonymous().through(client.unwrap())
}

fn client(common_name: &str) -> ScratchLeaf {
    ScratchLeaf::device(common_name, now())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_do_what_is_granted_to_its_name() {
    let ca = ScratchCa::root("clients");
    let world = world(&ca).await;
    world.admin.register("s1", "pump", Some("south")).await;
    let deploy = holding(&world, &ca, &client("deploy"));
    deploy.register("n1", "pump", Some("north")).await;
    let south = json!({ "id": "s2", "device_type": "pump", "site": "south" });
    deploy
        .post("/v1/devices", south)
        .await
        .problem("scope-exceeded");
    deploy.get("/v1/devices/s1").await.problem("device-unknown");
    deploy
        .post("/v1/devices/n1/disable", json!({}))
        .await
        .problem("role-insufficient");
    let watch = holding(&world, &ca, &client("watch"));
    let events = watch.get("/v1/events").await.expect(200);
    let last = events["events"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["device"], &last["actor"]),
        (&json!("n1"), &json!("client:deploy"))
    );
    // Whoever bears a key is who the key says.
    let both = watch.bearing(world.admin.key());
    both.post("/v1/devices/n1/disable", json!({}))
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_certificates_open_nothing() {
    let ca = ScratchCa::root("clients");
    let world = world(&ca).await;
    let nobody = holding(&world, &ca, &client("nobody"));
    let detail = nobody.get("/v1/devices").await.problem("role-insufficient");
    assert!(detail.contains("\"nobody\""), "{detail}");

    let hour = Duration::from_secs(3600);
    let ago = |hours: u32| now().saturating_sub(hour * hours);
    let ended = client("watch").with_validity(ago(2), ago(1));
    let server = client("watch").with_extended_usages(&[ExtendedKeyUsagePurpose::ServerAuth]);
    let twin = ScratchCa::root("clients");
    for stranger in [
        holding(&world, &ca, &ended),
        holding(&world, &ca, &server),
        // Of the same name, and another key.
        holding(&world, &twin, &client("watch")),
    ] {
        let answer = stranger.get("/v1/devices").await;
        let detail = answer.problem("credentials-invalid");
        assert!(detail.contains("gives no right here"), "{detail}");
        assert!(answer.header("www-authenticate").starts_with("Bearer "));
    }
    // A device that is called like a client is none.
    world.admin.register("watch", "pump", None).await;
    let made = json!({ "generate_key": true });
    let path = "/v1/devices/watch/certificates";
    let issued = world.admin.post(path, made).await.expect(201);
    let text = |name: &str| issued[name].as_str().unwrap().to_owned();
    let pem = format!("{}{}", text("chain"), text("private_key"));
    let identity = Identity::from_pem(pem.as_bytes()).unwrap();
    let connected = client_builder(&world.server_ca).identity(identity).build();
    let device = world.admin.anonymous().through(connected.unwrap());
    device
        .get("/v1/devices")
        .await
        .problem("credentials-invalid");
    // Nor is a client a device.
    let watch = holding(&world, &ca, &client("watch"));
    let csr = crate::support::requests::csr();
    let answer = watch.post("/v1/renew", json!({ "csr": csr })).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    issue(&world.admin, "watch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_of_devices_is_no_ca_of_clients() {
    let ca = ScratchCa::root("clients");
    let world = world(&ca).await;
    for own in ["ca/devices.crt", "ca/servers.crt", "ca/root.crt"] {
        let sections = SECTION.replace("clients.crt", own);
        let refused = leafgate_registry_api::Setup::load(config(&world.folder, &sections));
        let said = refused.unwrap_err().to_string();
        assert!(
            said.contains("[clients] ca_file:") && said.contains("need one of their own"),
            "{own}: {said}"
        );
    }
    let twice = SECTION
        .replace("\"deploy\"", "\"watch\"")
        .replace("[\"provisioner\"]", "[]");
    let refused = leafgate_registry_api::Setup::load(config(&world.folder, &twice));
    let said = refused.unwrap_err().to_string();
    for told in [
        "\"watch\": must be there once",
        "\"watch\": roles must name",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let sections = SECTION
        .replace("\"deploy\"", "\"\"")
        .replace("clients.crt", "none.crt");
    let refused = leafgate_registry_api::Setup::load(config(&world.folder, &sections));
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("common_name") && said.contains("none.crt"),
        "{said}"
    );
}
