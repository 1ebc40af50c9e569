//! What the registry does over NATS, on a real nats-server with the rendered permissions of its users.

use async_nats::Client;
use leafgate_access::{Role, Scope};
use leafgate_api::SessionList;
use leafgate_identity::{DeviceId, Fingerprint};
use leafgate_nats_config::subjects;
use leafgate_nats_jwt::{KeyKind, SigningKey};
use leafgate_registry::{CertificateStatus, DeviceRecord, DeviceStore, EventKind};
use leafgate_registry_api::Setup;
use leafgate_sessions::LogIn;
#[expect(clippy::disallowed_types, reason = "a test is an edge")]
use rand_core::OsRng;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::certificates::issue;
use crate::cluster::Cluster;
use crate::support::{Answer, PATIENCE, World, at_site, config, eventually, until, write_secret};

pub(crate) async fn record(world: &World, id: &str) -> DeviceRecord {
    let id = DeviceId::parse(id).unwrap();
    world.store.load(&id).await.unwrap().unwrap()
}

fn fingerprint(issued: &Value) -> Fingerprint {
    issued["fingerprint"].as_str().unwrap().parse().unwrap()
}

fn log_in(id: &str, fingerprint: Fingerprint) -> Vec<u8> {
    let log_in = LogIn {
        device_id: DeviceId::parse(id).unwrap(),
        fingerprint,
    };
    serde_json::to_vec(&log_in).unwrap()
}

/// Tells of the log-in again and again until the registry has heard of it.
async fn tell_until_superseded(world: &World, callout: &Client, id: &str, newer: &Value) {
    let body = log_in(id, fingerprint(newer));
    eventually(async || {
        let payload = body.clone().into();
        callout.publish(subjects::LOG_IN, payload).await.unwrap();
        let record = record(world, id).await;
        (!record.begins_overlap(&fingerprint(newer))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_log_in_of_a_new_certificate_starts_the_overlap() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    world.admin.register("0001", "pump", None).await;
    let older = issue(&world.admin, "0001").await;
    let newer = issue(&world.admin, "0001").await;
    let callout = cluster.callout().await;
    tell_until_superseded(&world, &callout, "0001", &newer).await;

    let record = record(&world, "0001").await;
    let of = |issued: &Value| {
        record
            .certificate_by_fingerprint(&fingerprint(issued))
            .unwrap()
    };
    assert!(matches!(
        of(&older).status,
        CertificateStatus::Superseded { at } if at > record.device.updated_at_ms
    ));
    assert_eq!(of(&newer).status, CertificateStatus::Issued);
    let events = world.store.events_after(0, 1_000).await.unwrap();
    let superseded = events
        .iter()
        .filter(|event| event.kind == EventKind::CertificateSuperseded);
    let actors: Vec<&str> = superseded.map(|event| event.actor.as_str()).collect();
    assert_eq!(actors, ["callout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_log_ins_do_nothing_and_stop_nobody() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    let mut newest = Vec::new();
    for id in ["0001", "0002"] {
        world.admin.register(id, "pump", None).await;
        let older = issue(&world.admin, id).await;
        newest.push((older, issue(&world.admin, id).await));
    }
    let callout = cluster.callout().await;
    let [(older, _), (_, newer_of_other)] = &newest[..] else {
        panic!("{newest:?}")
    };
    let made_up = Fingerprint::of_certificate_der(b"made up");
    for payload in [
        b"{".to_vec(),
        vec![b'x'; 50_000],
        log_in("0009", made_up),
        log_in("0001", made_up),
        log_in("0001", fingerprint(older)),
        log_in("0001", fingerprint(newer_of_other)),
        json!({ "device_id": "a.b", "fingerprint": made_up })
            .to_string()
            .into(),
    ] {
        callout
            .publish(subjects::LOG_IN, payload.into())
            .await
            .unwrap();
    }
    tell_until_superseded(&world, &callout, "0002", newer_of_other).await;
    let untouched = record(&world, "0001").await;
    let statuses = untouched.certificates.iter().map(|it| it.status);
    assert!(statuses.eq([CertificateStatus::Issued; 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sessions_of_a_device_are_listed_and_ended() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    for id in ["0001", "0002"] {
        world.admin.register(id, "pump", None).await;
    }
    let sessions = async |id: &str| {
        let answer = world.admin.get(&format!("/v1/devices/{id}/sessions")).await;
        let list: SessionList = serde_json::from_value(answer.expect(200)).unwrap();
        list.sessions
    };
    assert_eq!(sessions("0001").await, []);
    let (first, mut first_leaves) = cluster.device("0001").await;
    let (second, mut second_leaves) = cluster.device("0001").await;
    let (other, mut other_leaves) = cluster.device("0002").await;
    first
        .publish("device.0001.status", "up".into())
        .await
        .unwrap();
    first.flush().await.unwrap();

    let found = sessions("0001").await;
    let infos = [&first, &second].map(async_nats::Client::server_info);
    let places = infos.map(|info| (info.server_id, info.client_id));
    let listed = found.iter().map(|it| (it.server_id.clone(), it.cid));
    assert!(listed.eq(places));
    assert_eq!(found[0].messages_in, 1);
    assert_eq!(found[0].source.unwrap().to_string(), "127.0.0.1");
    assert_eq!(found[0].server_name, "leaf-1");
    assert_eq!(found[0].account, "DEVICES");
    assert!(found[0].started_at.is_some());

    let disconnect = async || {
        let answer = world
            .admin
            .post("/v1/devices/0001/disconnect", json!({}))
            .await;
        answer.expect(200)["ended"].as_u64().unwrap()
    };
    assert_eq!(disconnect().await, 2);
    let newest = world.newest_event().await;
    let [event] = &world.store.events_after(newest - 1, 1).await.unwrap()[..] else {
        panic!()
    };
    assert_eq!(event.kind, EventKind::DeviceDisconnected);
    assert_eq!(event.device.as_ref().unwrap().as_str(), "0001");
    assert_eq!(event.detail, json!({ "sessions": 2 }));
    assert!(event.actor.starts_with("api-key:"), "{}", event.actor);
    for leaves in [&mut first_leaves, &mut second_leaves] {
        tokio::time::timeout(PATIENCE, leaves.recv()).await.unwrap();
    }
    // async-nats tries once to come back.
    other.flush().await.unwrap();
    assert!(other_leaves.try_recv().is_err());
    assert_eq!(sessions("0002").await.len(), 1);
    assert_eq!(
        world
            .admin
            .post("/v1/devices/0002/disconnect", json!({}))
            .await
            .expect(200)["ended"],
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_for_those_whose_role_and_scope_reach_them() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    world.admin.register("0001", "pump", Some("cph1")).await;
    let (_device, mut leaves) = cluster.device("0001").await;
    let (_, viewer) = world.key(&[Role::Viewer], Scope::everything()).await;
    let (_, elsewhere) = world.key(&[Role::Operator], at_site("ams1")).await;
    let list = "/v1/devices/0001/sessions";
    let disconnect = "/v1/devices/0001/disconnect";
    viewer.get(list).await.expect(200);
    viewer
        .post(disconnect, json!({}))
        .await
        .problem("role-insufficient");
    elsewhere.get(list).await.problem("device-unknown");
    elsewhere
        .post(disconnect, json!({}))
        .await
        .problem("device-unknown");
    let conditional = world
        .admin
        .request(reqwest::Method::POST, disconnect)
        .header("If-Match", "\"1\"")
        .json(&json!({}));
    let conditional = Answer::of(conditional).await;
    conditional.problem("request-malformed");
    assert!(leaves.try_recv().is_err());

    let (_, operator) = world.key(&[Role::Operator], at_site("cph1")).await;
    operator.post(disconnect, json!({})).await.expect(200);
    tokio::time::timeout(PATIENCE, leaves.recv()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_system_account_sessions_are_not_supported() {
    let world = World::start().await;
    world.admin.register("0001", "pump", None).await;
    let list = world.admin.get("/v1/devices/0001/sessions").await;
    assert!(list.problem("not-supported").contains("[system]"));
    let disconnect = world
        .admin
        .post("/v1/devices/0001/disconnect", json!({}))
        .await;
    disconnect.problem("not-supported");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_nats_is_told_and_the_rest_goes_on() {
    let mut cluster = Cluster::start().await;
    let world = cluster.world().await;
    world.admin.register("0001", "pump", None).await;
    let list = "/v1/devices/0001/sessions";
    world.admin.get(list).await.expect(200);
    let readiness = async || {
        let url = format!("http://{}/readyz", world.health);
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), 200, "whoever asks for REST is answered");
        answer.text().await.unwrap()
    };
    cluster.server.kill9().await.unwrap();
    world.admin.get(list).await.problem("sessions-unavailable");
    let disconnect = world
        .admin
        .post("/v1/devices/0001/disconnect", json!({}))
        .await;
    disconnect.problem("sessions-unavailable");
    world.admin.get("/v1/devices/0001").await.expect(200);
    for connection in ["log-ins", "sessions", "renewals"] {
        let text = format!("the connection to the leaf cluster for {connection} is lost");
        until(async || readiness().await.contains(&text)).await;
        let text = format!("leafgate_registry_nats_connected{{connection=\"{connection}\"}} 0");
        until(async || world.metrics().await.contains(&text)).await;
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let problems = |sections: &str| {
        let error = Setup::load(config(&folder, sections)).unwrap_err();
        error.problems().join("\n")
    };
    assert!(
        problems("[system]\nnkey_seed_file = \"none.seed\"").contains("[system]: needs [nats]")
    );
    let account = SigningKey::generate(KeyKind::Account, &mut OsRng);
    write_secret(
        &folder.path().join("account.seed"),
        account.seed().expose_secret(),
    );
    let found = problems(
        "[nats]\nurls = []\nreplica = \"a.b\"\ncert_file = \"a\"\nnkey_seed_file = \"account.seed\"\n\
         [system]\nnkey_seed_file = \"missing.seed\"",
    );
    for part in [
        "[nats] urls: at least one",
        "[nats] cert_file and key_file: give both",
        "replica: ",
        "[nats] nkey_seed_file: ",
        "[system] nkey_seed_file: ",
    ] {
        assert!(found.contains(part), "{part} in {found}");
    }
    assert!(!found.contains(account.seed().expose_secret()));
}
