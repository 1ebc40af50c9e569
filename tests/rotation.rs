//! The issuer of devices is replaced under a running fleet.

use std::time::Duration;

use leafgate::local::{LogInError, SiteOptions, new_device, open_registrar, write_credentials};
use leafgate_identity::{DeviceId, SpkiHash};
use leafgate_pki::{Intermediate, RootAuthority};
use leafgate_processes::Signal;
use leafgate_registrar::{CertificateKey, IssuerState, Registrar, Service};

use crate::support::{PATIENCE, TestSite, act, eventually, options};

const DEVICES: Intermediate = Intermediate::Devices;

/// What an operator does, step by step, and who is let in meanwhile: the devices of the issuer before throughout, those
/// of the next one from the moment that listeners and callouts know it, and none of a retired one that was removed.
#[tokio::test]
async fn devices_of_the_old_and_the_new_issuer_log_in_while_one_follows_the_other() {
    let options = SiteOptions {
        leaf_nodes: 2,
        replicas: 2,
        ..options()
    };
    let mut site = TestSite::start(&options).await;
    site.register("old").await;
    let [old, new] = prepare(&site).await;
    let registrar = reopened(&site).await;
    issue(&site, &registrar, "before", &old).await;
    assert_in(&mut site, &["old", "before"]).await;

    // Activated before anybody knows it: its devices are kept out, and it is undone.
    activate(&registrar, &new).await;
    issue(&site, &registrar, "hasty", &new).await;
    for ordinal in 0..2 {
        let refused = site.door_of(ordinal).log_in("hasty").await;
        assert!(
            matches!(refused, Err(LogInError::Handshake(_))),
            "{refused:?}"
        );
    }
    activate(&registrar, &old).await;
    issue(&site, &registrar, "undone", &old).await;
    assert_in(&mut site, &["old", "before", "undone"]).await;

    // One node reloads, the other is restarted; then the callouts, one by one.
    let session = site.door_of(1).log_in("old").await.unwrap();
    reload(&mut site, 0).await;
    site.door_of(0).log_in("old").await.unwrap();
    drop(session);
    let stopped = site.site.leaves()[1].stop(PATIENCE).await;
    assert!(stopped.unwrap().success());
    site.site.restart_leaf(1).await.unwrap();
    assert_in(&mut site, &["old", "before", "undone"]).await;
    let refused = site.door_of(0).log_in("hasty").await;
    assert!(matches!(refused, Err(LogInError::Refused)), "{refused:?}");
    for ordinal in 0..2 {
        let stopped = site.site.callouts()[ordinal].stop(PATIENCE).await;
        assert!(stopped.unwrap().success());
        site.door_of(0).log_in("old").await.unwrap();
        site.site.restart_callout(ordinal).await.unwrap();
    }
    activate(&registrar, &new).await;
    issue(&site, &registrar, "after", &new).await;
    assert_in(&mut site, &["old", "before", "undone", "hasty", "after"]).await;

    // A retired issuer's devices are let in until it is removed, and renew with the new one before that.
    let retired = registrar.retire_issuer(&old, &act()).await.unwrap();
    assert_eq!(retired.state, IssuerState::Retired);
    // Three devices, and the callouts, which are clients of the devices' listener.
    assert_eq!(retired.outstanding.unwrap().holders, 4);
    assert_in(&mut site, &["old", "before", "undone", "hasty", "after"]).await;
    issue_to(&site, &registrar, "old", &new).await;
    renew_callouts(&site, &registrar).await;
    let ca = leafgate_pki::CaDirectory::open(&site.site.dir().ca()).unwrap();
    ca.remove(DEVICES, &old).unwrap();
    for ordinal in 0..2 {
        reload(&mut site, ordinal).await;
        let stopped = site.site.callouts()[ordinal].stop(PATIENCE).await;
        assert!(stopped.unwrap().success());
        site.site.restart_callout(ordinal).await.unwrap();
    }
    assert_in(&mut site, &["old", "hasty", "after"]).await;
    let refused = site.door_of(1).log_in("before").await;
    assert!(
        matches!(refused, Err(LogInError::Handshake(_))),
        "{refused:?}"
    );
}

/// Every device logs in on every node.
async fn assert_in(site: &mut TestSite, devices: &[&str]) {
    for ordinal in 0..2 {
        for device in devices {
            let door = site.door_of(ordinal);
            let log_in = door.log_in(device).await;
            log_in.unwrap_or_else(|error| panic!("{device} on node {ordinal}: {error:?}"));
        }
    }
}

/// The present issuer of devices and the next one, prepared beside it.
async fn prepare(site: &TestSite) -> [SpkiHash; 2] {
    let ca = leafgate_pki::CaDirectory::open(&site.site.dir().ca()).unwrap();
    let root_key = ca.path().join("root.key");
    let root = RootAuthority::read_plain(&ca.root_certificate(), &root_key).unwrap();
    let next = ca.prepare_next(DEVICES, &root, false, act().at).unwrap();
    let issuers = reopened(site).await.issuers(act().at).await.unwrap();
    [issuers[0].issuer, next.issuer]
}

/// The registrar of a process that starts now.
async fn reopened(site: &TestSite) -> Registrar {
    open_registrar(site.site.dir(), &act()).await.unwrap()
}

async fn activate(registrar: &Registrar, issuer: &SpkiHash) {
    let activated = registrar
        .activate_issuer(issuer, Duration::ZERO, &act())
        .await;
    assert_eq!(activated.unwrap().state, IssuerState::Active);
}

/// Registers a device whose certificate comes from this issuer.
async fn issue(site: &TestSite, registrar: &Registrar, id: &str, issuer: &SpkiHash) {
    let device = new_device(DeviceId::parse(id).unwrap(), "pump");
    registrar.register(device, &act()).await.unwrap();
    issue_to(site, registrar, id, issuer).await;
}

async fn issue_to(site: &TestSite, registrar: &Registrar, id: &str, issuer: &SpkiHash) {
    let id = DeviceId::parse(id).unwrap();
    let made = registrar
        .issue(&id, CertificateKey::New, &act())
        .await
        .unwrap();
    assert_eq!(made.issued.issuer, *issuer);
    let stem = site.devices.join(id.as_str());
    let key = made.private_key_pem.unwrap();
    write_credentials(&stem, &made.issued.chain_pem, &key).unwrap();
}

/// A new certificate for the callouts' connections.
async fn renew_callouts(site: &TestSite, registrar: &Registrar) {
    let service = Service::NatsClient {
        name: "leafgate-callout".into(),
    };
    let act = act();
    let made = registrar.issue_service_certificate(&service, CertificateKey::New, &act);
    let made = made.await.unwrap();
    let stem = site.site.dir().root().join("keys/callout");
    let key = made.private_key_pem.unwrap();
    write_credentials(&stem, &made.issued.chain_pem, &key).unwrap();
}

async fn reload(site: &mut TestSite, ordinal: usize) {
    let leaf = &mut site.site.leaves()[ordinal];
    let mark = leaf.child().log().mark().unwrap();
    leaf.child().signal(Signal::SIGHUP).unwrap();
    let reloaded =
        leaf.child_mut()
            .wait_for_log_since(mark, "Reloaded server configuration", PATIENCE);
    reloaded.await.unwrap_or_else(|error| panic!("{error}"));
    eventually("the node after its reload", async || {
        site.door_of(ordinal).log_in("old").await.ok()
    })
    .await;
}
