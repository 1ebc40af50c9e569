//! The API does what its description says, whatever it is asked: schemathesis makes up requests from the description, good
//! and bad ones, and holds every answer to it.
//!
//! `LEAFGATE_SCHEMATHESIS_EXAMPLES` sets how many are made up for each operation beside those that every run has.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use leafgate_registrar::CheckpointKey;
use leafgate_testkit::scratch_ca::{ScratchCa, ScratchLeaf};
use serde_json::json;
use tokio::process::Command;

use crate::certificates::issue;
use crate::cluster::Cluster;
use crate::support::{World, now, write_secret};

const EXAMPLES: &str = "8";
/// The same requests each time.
const SEED: &str = "20261121";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method";

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::disallowed_methods,
    reason = "how long to search is for whoever runs the tests to say"
)]
async fn every_answer_is_a_described_one() {
    let examples = std::env::var("LEAFGATE_SCHEMATHESIS_EXAMPLES");
    let examples = examples.unwrap_or_else(|_| EXAMPLES.to_owned());
    let cluster = Cluster::start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let key = elsewhere.path().join("checkpoint.key");
    CheckpointKey::create(&key).unwrap();
    let policy = "[[policy]]\nname = \"device\"\naccount = \"DEVICES\"\nmatch = { device_type = \"*\" }\n\
                  publish.allow = [\"device.{id}.metrics.>\"]\nsubscribe.allow = [\"device.{id}.cmd\"]\n";
    let sections = format!(
        "policies = [\"device.toml\"]\n[policy]\nsite = \"demo\"\n\
         [clients]\nca_file = \"clients.crt\"\n\
         [[clients.grant]]\ncommon_name = \"tester\"\nroles = [\"admin\"]\nscope.sites = \"*\"\n\
         [audit]\ncheckpoint_key_file = {key:?}\ncheckpoint_dir = {:?}\n{}",
        elsewhere.path().join("kept"),
        cluster.sections()
    );
    let clients = ScratchCa::root("clients");
    let files = [
        ("device.toml", policy),
        ("clients.crt", clients.certificate_pem()),
    ];
    let world = World::start_with_files(&sections, &files).await;
    // An API key would be listed, and revoked.
    let tester = clients.sign(&ScratchLeaf::device("tester", now()));
    let [certificate, key] =
        ["tester.crt", "tester.key"].map(|name| world.folder.path().join(name));
    fs::write(&certificate, &tester.chain_pem).unwrap();
    write_secret(&key, &tester.private_key_pem);
    // Something to find for those who ask for what the examples name.
    for id in ["0001", "0"] {
        world.admin.register(id, "pump", Some("north")).await;
        issue(&world.admin, id).await;
    }
    world
        .admin
        .post("/v1/devices/0001/disable", json!({}))
        .await
        .expect(200);
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let program = root.join(".tools/schemathesis/bin/schemathesis");
    assert!(
        program.exists(),
        "run scripts/install-python-tool.sh schemathesis"
    );
    let trusted = world.folder.path().join("server-ca.crt");
    fs::write(&trusted, world.server_ca.certificate_pem()).unwrap();
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis_hooks.py");
    let config = format!("seed = {SEED}\nhooks = {hooks:?}\n");
    let config_file = world.folder.path().join("schemathesis.toml");
    fs::write(&config_file, config).unwrap();
    let ran = Command::new(program)
        .arg("--config-file")
        .arg(&config_file)
        .arg("run")
        .arg(root.join("docs/openapi.json"))
        .args(["--url", &world.admin.url("")])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", &examples])
        .args(["--checks", CHECKS])
        .args(["--suppress-health-check", "all"])
        // It lasts as long as its reader; tests of its own read it.
        .args(["--exclude-path", "/v1/events/stream"])
        .args([
            "--request-timeout",
            "30",
            "--no-color",
            "--continue-on-failure",
        ])
        // Who sends a body that is refused unread may find the connection closed.
        .args(["--request-retries", "3"])
        .arg("--request-cert")
        .arg(&certificate)
        .arg("--request-cert-key")
        .arg(&key)
        .arg("--tls-verify")
        .arg(&trusted)
        .current_dir(world.folder.path())
        .env("NO_PROXY", "localhost")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}\n{told}");
    // What a run found nothing in because it asked for nothing is no proof.
    let operations = root.join("docs/openapi.json");
    let document: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(operations).unwrap()).unwrap();
    let items = document["paths"].as_object().unwrap().values();
    let described: usize = items.map(|item| item.as_object().unwrap().len()).sum();
    let tested = format!("{} selected / {described} total", described - 1);
    assert!(said.contains(&tested), "{tested}: {said}");
}
