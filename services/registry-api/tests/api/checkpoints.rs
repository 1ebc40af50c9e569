//! Signed checkpoints of the audit trail.

use leafgate_access::{Role, Scope};
use leafgate_registrar::CheckpointKey;
use leafgate_registry::Epoch;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{World, act, at_site, config, eventually};

const SECTION: &str = "[audit]\ncheckpoint_key_file = \"KEY\"\ncheckpoint_dir = \"DIR\"\ncheckpoint_interval_secs = 1";

/// A world that makes a checkpoint each second, and the folder that they are in.
async fn signing() -> (TempDir, World) {
    let elsewhere = tempfile::tempdir().unwrap();
    let key = elsewhere.path().join("checkpoint.key");
    CheckpointKey::create(&key).unwrap();
    let section = SECTION
        .replace("KEY", key.to_str().unwrap())
        .replace("DIR", elsewhere.path().join("kept").to_str().unwrap());
    let world = World::start_with(&section).await;
    (elsewhere, world)
}

/// Waits until there is a checkpoint of an event from this number on.
async fn signed(world: &World, seq: u64) -> Vec<Value> {
    eventually(async || {
        let list = world.admin.get("/v1/audit/checkpoints").await.expect(200);
        let list = list["checkpoints"].as_array().unwrap().clone();
        let last = list.last()?["seq"].as_u64().unwrap();
        (last >= seq).then_some(list)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_is_signed_every_so_often_and_at_the_end() {
    let (elsewhere, mut world) = signing().await;
    world.admin.register("0001", "pump", None).await;
    let list = signed(&world, 2).await;
    let last = list.last().unwrap();
    let seq = last["seq"].as_u64().unwrap();
    let page = format!("/v1/events?after={}", seq - 1);
    let events = world.admin.get(&page).await.expect(200);
    assert_eq!(events["events"][0]["hash"], last["hash"]);
    assert_eq!(events["epoch"], last["epoch"]);
    let report = world
        .admin
        .post("/v1/audit/verify", json!({}))
        .await
        .expect(200);
    assert_eq!(report["intact"], true);
    assert!(report["checkpoints"].as_u64().unwrap() >= 1, "{report}");
    let metrics = world.metrics().await;
    assert!(
        metrics.contains("leafgate_registry_checkpoint_sequence"),
        "{metrics}"
    );
    // Page by page.
    world.admin.register("0002", "pump", None).await;
    let all = signed(&world, seq + 1).await;
    let one = world
        .admin
        .get("/v1/audit/checkpoints?page_size=1")
        .await
        .expect(200);
    assert_eq!(one["checkpoints"][0], all[0]);
    let next = format!("/v1/audit/checkpoints?after={}", one["next_after"]);
    let rest = world.admin.get(&next).await.expect(200);
    assert_eq!(rest["checkpoints"].as_array().unwrap()[..], all[1..]);
    assert_eq!(rest["next_after"], Value::Null);

    let (_, north) = world.key(&[Role::Auditor], at_site("north")).await;
    north
        .get("/v1/audit/checkpoints")
        .await
        .problem("scope-exceeded");
    let (_, viewer) = world.key(&[Role::Viewer], Scope::everything()).await;
    viewer
        .get("/v1/audit/checkpoints")
        .await
        .problem("role-insufficient");

    let newest = {
        world.admin.register("0003", "pump", None).await;
        world.end().await.unwrap();
        world.newest_event().await
    };
    let name = format!("{newest:020}-");
    let kept = std::fs::read_dir(elsewhere.path().join("kept")).unwrap();
    let mut names = kept.map(|it| it.unwrap().file_name().into_string().unwrap());
    assert!(names.any(|it| it.starts_with(&name)), "the end is signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_or_lost_is_told() {
    let (elsewhere, world) = signing().await;
    world.admin.register("0001", "pump", None).await;
    signed(&world, 2).await;
    leafgate_registrar::start_epoch(&world.store, Epoch::generate(), &act())
        .await
        .unwrap();
    let report = world
        .admin
        .post("/v1/audit/verify", json!({}))
        .await
        .expect(200);
    assert_eq!(report["restores"].as_array().unwrap().len(), 1, "{report}");
    let kept = elsewhere.path().join("kept");
    let file = std::fs::read_dir(&kept)
        .unwrap()
        .map(|it| it.unwrap().path())
        .find(|path| path.extension().unwrap() == "json")
        .unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut forged: Value = serde_json::from_str(&text).unwrap();
    forged["hash"] = "0".repeat(64).into();
    std::fs::write(&file, forged.to_string()).unwrap();
    let report = world
        .admin
        .post("/v1/audit/verify", json!({}))
        .await
        .expect(200);
    assert_eq!(report["intact"], false);
    let problem = report["problem"].as_str().unwrap();
    assert!(problem.contains("is forged"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_are_no_checkpoints() {
    let world = World::start().await;
    let answer = world.admin.get("/v1/audit/checkpoints").await;
    assert!(answer.problem("not-supported").contains("[audit]"));

    let section = SECTION.replace("KEY", "none.key").replace("DIR", "kept");
    let refused = leafgate_registry_api::Setup::load(config(&world.folder, &section));
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("[audit] checkpoint_key_file: there is no checkpoint key at"),
        "{said}"
    );
}
