//! Issuers that follow one another under a running service.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use leafgate_access::{Role, Scope};
use leafgate_identity::SpkiHash;
use leafgate_pki::{CaDirectory, Intermediate};
use leafgate_registry_api::{RegistryService, Setup};
use leafgate_runtime::{LogFormat, LogOutput, Shutdown};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::bench::{Bench, DAY, Device};
use crate::rotating::{device_issuers, issuer_of};
use crate::support::requests::{csr_of, der_of};
use crate::support::{Api, PATIENCE, at_site, authority, captured_log, config, until};

fn states(issuers: &[Value]) -> Vec<(&str, &str)> {
    issuers
        .iter()
        .map(|it| {
            (
                it["issuer"].as_str().unwrap(),
                it["state"].as_str().unwrap(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_the_old_and_the_new_issuer_renew_and_enrol_throughout() {
    let bench = Bench::start().await;
    let mut old_device = bench.enrolled("0001").await;
    let trusted = bench.est_certificates().await;
    assert_eq!(trusted.len(), 2);
    let (old, new) = bench.prepared().await;
    let issuers = bench.device_issuers().await;
    let (old_text, new_text) = (old.to_string(), new.to_string());
    assert_eq!(
        states(&issuers),
        [(old_text.as_str(), "active"), (&new_text, "prepared")]
    );
    // What is to be trusted is told before anything comes from it.
    until(async || bench.est_certificates().await.len() == 3).await;
    let trusted = bench.est_certificates().await;
    assert!(trusted.contains(&old) && trusted.contains(&new));

    // The clock of the service says when it may begin.
    let path = format!("/v1/issuers/{new}/activate");
    let early = bench.world.admin.post(&path, json!({})).await;
    let detail = early.problem("issuer-too-young");
    assert!(detail.contains("keep its devices out"), "{detail}");
    assert!(early.header("retry-after").parse::<u64>().unwrap() > 80_000);
    bench.clock.advance(DAY);
    let activated = bench.world.admin.post(&path, json!({})).await.expect(200);
    assert_eq!(activated["state"], "active");
    assert_eq!(bench.est_certificates().await.len(), 3);

    let (_, bearer) = bench.token(json!({ "ids": ["0002"] })).await;
    let mut new_device = Device::new("0002");
    let enrolled = new_device.enrol(&bearer).await.expect(201);
    assert_eq!(issuer_of(&enrolled), new);
    new_device.hold(&enrolled);
    // The same key before its time: the same certificate, with the chain of its issuer.
    let again = old_device.renew(&bench).await.expect(200);
    assert_eq!(issuer_of(&again), old);
    assert_eq!(again["chain"], old_device.chain);
    assert_eq!(
        new_device.renew(&bench).await.expect(200)["chain"],
        new_device.chain
    );
    // Another key, with the old certificate: the new issuer.
    let next = KeyPair::generate().unwrap();
    let renewed = old_device.renew_to(&bench, &next).await.expect(201);
    assert_eq!(issuer_of(&renewed), new);
    old_device.key = next;
    old_device.hold(&renewed);
    assert_eq!(old_device.renew(&bench).await.expect(200), renewed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_issuer_still_tells_of_its_certificates() {
    let bench = Bench::start().await;
    let (mut first, second) = (bench.enrolled("0001").await, bench.enrolled("0002").await);
    let (old, new) = bench.prepared().await;
    let issuers = bench.device_issuers().await;
    let old_pem = issuers[0]["certificate"].as_str().unwrap().to_owned();
    let path = format!("/v1/issuers/{old}/retire");
    let refused = bench.world.admin.post(&path, json!({})).await;
    refused.problem("issuer-state-illegal");
    bench.activate(&new).await;
    let retired = bench.retire(&old).await;
    assert_eq!(retired["state"], "retired");
    let (left, certificate) = (&retired["outstanding"], der_of(&first.chain));
    let (_, certificate) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    assert_eq!(
        (&left["certificates"], &left["holders"]),
        (&json!(2), &json!(2))
    );
    let last: leafgate_identity::UnixMs =
        serde_json::from_value(left["last_not_after"].clone()).unwrap();
    assert!(last.as_secs() >= certificate.validity().not_after.timestamp());

    // Its devices are not kept out, and leave it when they ask.
    let renewed = first.renew(&bench).await.expect(201);
    assert_eq!(issuer_of(&renewed), new);
    let revoked = first.chain.clone();
    first.hold(&renewed);
    assert_eq!(first.renew(&bench).await.expect(200), renewed);

    assert_eq!(bench.ocsp(&old_pem, &second.chain), "good");
    assert!(bench.verifies(&old, &second.chain).await);
    bench.change("0001", "revoke").await;
    assert_eq!(bench.ocsp(&old_pem, &revoked), "revoked");
    assert!(!bench.verifies(&old, &revoked).await);
    assert!(bench.verifies(&old, &second.chain).await);

    let path = format!("/v1/issuers/{old}/activate");
    let back = bench.world.admin.post(&path, json!({ "now": true })).await;
    let detail = back.problem("issuer-state-illegal");
    assert!(detail.contains("retired, which is final"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_can_be_undone() {
    let bench = Bench::start().await;
    let (old, new) = bench.prepared().await;
    bench.activate(&new).await;
    let (old_text, new_text) = (old.to_string(), new.to_string());
    assert_eq!(
        states(&bench.device_issuers().await),
        [(old_text.as_str(), "superseded"), (&new_text, "active")]
    );
    // It was trusted before: there is nothing to wait for.
    let path = format!("/v1/issuers/{old}/activate");
    bench.world.admin.post(&path, json!({})).await.expect(200);
    let (_, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let enrolled = Device::new("0001").enrol(&bearer).await.expect(201);
    assert_eq!(issuer_of(&enrolled), old);
    let events = bench
        .world
        .admin
        .get("/v1/events?page_size=1000")
        .await
        .expect(200);
    let events = events["events"].as_array().unwrap().iter();
    let rotated: Vec<_> = events
        .filter(|it| it["kind"] == "issuer-rotated")
        .map(|it| it["detail"]["state"].clone())
        .collect();
    assert_eq!(rotated, ["active", "prepared", "active", "active"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_of_everything_rotates_and_only_what_there_is() {
    let bench = Bench::start().await;
    let (old, new) = bench.prepared().await;
    let others = [
        Role::Viewer,
        Role::Operator,
        Role::Provisioner,
        Role::Auditor,
    ];
    let (_, others) = bench.world.key(&others, Scope::everything()).await;
    let (_, local) = bench.world.key(&[Role::Admin], at_site("cph1")).await;
    for (api, problem) in [(others, "role-insufficient"), (local, "scope-exceeded")] {
        for act in ["activate", "retire"] {
            let path = format!("/v1/issuers/{new}/{act}");
            api.post(&path, json!({})).await.problem(problem);
        }
        assert_eq!(device_issuers(&api).await.len(), 2);
    }
    let unknown = SpkiHash::from_bytes([9; 32]);
    for act in ["activate", "retire"] {
        let path = format!("/v1/issuers/{unknown}/{act}");
        let refused = bench.world.admin.post(&path, json!({})).await;
        let detail = refused.problem("issuer-unknown");
        assert!(detail.contains(&unknown.to_string()), "{detail}");
        let path = format!("/v1/issuers/devices/{act}");
        let refused = bench.world.admin.post(&path, json!({})).await;
        refused.problem("request-malformed");
    }
    let old_text = old.to_string();
    assert_eq!(
        states(&bench.device_issuers().await)[0],
        (old_text.as_str(), "active")
    );
}

/// Two services over one registry, each with a folder of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_the_new_key_says_so_until_it_has_it() {
    let bench = Bench::start().await;
    let folder = tempfile::tempdir().unwrap();
    copy(bench.world.folder.path(), folder.path());
    let setup = Setup::load(config(&folder, "")).unwrap();
    let ca = CaDirectory::open(&folder.path().join("ca")).unwrap();
    let (log, shutdown) = (
        LogOutput::new(LogFormat::Text, std::io::sink()),
        Shutdown::new(),
    );
    let service = RegistryService::bind(
        setup,
        Arc::new(bench.world.store.clone()),
        authority(&ca),
        bench.clock.clone(),
        log.writer(),
        shutdown.clone(),
    );
    let service = service.await.unwrap();
    let port = service.addresses().unwrap().api.port();
    let health = service.addresses().unwrap().health;
    let serving = tokio::spawn(service.serve());
    let second = Api {
        base: format!("https://localhost:{port}"),
        ..bench.world.admin.clone()
    };

    let (old, new) = bench.prepared().await;
    let known = async |present: bool| {
        let all = device_issuers(&second).await;
        all.iter()
            .any(|it| it["issuer"] == json!(new) && it["key_present"] == present)
    };
    until(async || known(false).await).await;
    let path = format!("/v1/issuers/{new}/activate");
    let refused = second.post(&path, json!({ "now": true })).await;
    refused.problem("issuer-key-missing");
    bench.activate(&new).await;

    bench.world.admin.register("0001", "pump", None).await;
    let device = Device::new("0001");
    let sign = async |api: &Api| {
        let body = json!({ "csr": device.csr() });
        api.post("/v1/devices/0001/certificates", body).await
    };
    let refused = sign(&second).await;
    let detail = refused.problem("issuer-key-missing");
    assert!(
        detail.contains(&new.to_string()) && detail.contains("copy devices.crt"),
        "{detail}"
    );
    let degraded = async || {
        let body = reqwest::get(format!("http://{health}/readyz"))
            .await
            .unwrap();
        body.text().await.unwrap().contains("the key of an issuer")
    };
    until(degraded).await;
    let told = "this registry lacks the key of the issuer of devices";
    until(async || captured_log().contains(told)).await;
    assert_eq!(issuer_of(&sign(&bench.world.admin).await.expect(201)), new);

    copy(
        &bench.world.folder.path().join("ca"),
        &folder.path().join("ca"),
    );
    until(async || known(true).await && !degraded().await).await;
    let again = sign(&second).await.expect(200);
    assert_eq!(issuer_of(&again), new);
    // What the first one activates, the second follows.
    bench.activate(&old).await;
    let body = json!({ "csr": csr_of(&KeyPair::generate().unwrap()) });
    let signed = second.post("/v1/devices/0001/certificates", body).await;
    assert_eq!(issuer_of(&signed.expect(201)), old);
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_told_of_no_more() {
    let bench = Bench::start().await;
    let (old, new) = bench.prepared().await;
    bench.activate(&new).await;
    bench.retire(&old).await;
    bench.ca().remove(Intermediate::Devices, &old).unwrap();
    until(async || bench.device_issuers().await.len() == 1).await;
    assert_eq!(bench.device_issuers().await[0]["issuer"], json!(new));
    until(async || bench.est_certificates().await.len() == 2).await;
    let url = format!("http://{}/crl/{old}.crl", bench.world.status);
    assert_eq!(reqwest::get(url).await.unwrap().status(), 404);
    // Nobody who revokes waits for a list that nobody makes.
    let device = bench.enrolled("0001").await;
    bench.change("0001", "revoke").await;
    assert!(!bench.verifies(&new, &device.chain).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn issuers_whose_file_is_gone_go_on_and_that_is_told() {
    let bench = Bench::start().await;
    let device = bench.enrolled("0001").await;
    let file = bench.ca().certificate(Intermediate::Devices);
    let aside = file.with_extension("aside");
    fs::rename(&file, &aside).unwrap();
    let named = file.display().to_string();
    until(async || {
        let log = captured_log();
        let mut told = log.lines().filter(|line| line.contains(&named));
        told.any(|line| line.contains("the files of the trust domains' issuers can't be used"))
    })
    .await;
    device.renew(&bench).await.expect(200);
    assert_eq!(bench.est_certificates().await.len(), 2);
    fs::rename(&aside, &file).unwrap();
    let (_, new) = bench.prepared().await;
    until(async || bench.est_certificates().await.contains(&new)).await;
}

/// Copies a folder's files, and those of the folders in it.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|it| (it.path(), it.file_name())).unwrap();
        let target = to.join(name);
        if path.is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
