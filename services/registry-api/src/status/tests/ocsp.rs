//! What is answered to whom.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leafgate_identity::{SerialNumber, Validity};
use leafgate_pki::{Intermediate, OcspError, OcspRequest};
use leafgate_registrar::{CertificateKey, Service};
use leafgate_registry::{Change, DeviceStore, Holder, NewCertificate, RevocationReason};
use leafgate_testkit::delaying_store::{Moment, Step};

use super::super::responder::Outcome;
use super::openssl::{openssl, refusal, state_in};
use super::world::{Leaf, PATIENCE, World};

#[tokio::test]
async fn an_answer_in_a_path_and_in_a_body_is_the_same_by_either_hash() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    for digest in ["-sha1", "-sha256"] {
        let request = world.request(&[&leaf], &["-no_nonce", digest]);
        let by_get = world.first.ask_in_path(&request).await.body;
        let by_post = world.first.ask(request).await.body;
        // ECDSA signatures differ each time: it was kept.
        assert_eq!(by_get, by_post);
        // OpenSSL compares the CertID in it with its own.
        let path = world.path("response.der");
        std::fs::write(&path, &by_get).unwrap();
        let said = openssl(&[
            "ocsp",
            "-respin",
            path.to_str().unwrap(),
            digest,
            "-issuer",
            world.issuer().to_str().unwrap(),
            "-cert",
            leaf.path.to_str().unwrap(),
            "-CAfile",
            world.ca.root_certificate().to_str().unwrap(),
            "-verify_other",
            world.issuer().to_str().unwrap(),
            "-no_nonce",
        ]);
        assert!(said.contains("Response verify OK"), "{said}");
        assert!(said.contains(": good"), "{said}");
    }
}

#[tokio::test]
async fn one_answer_may_be_about_several_certificates() {
    let world = World::start().await;
    let (kept, lost) = (world.enrol("kept").await, world.enrol("lost").await);
    world.revoke_and_wait(&lost).await;
    let request = world.request(&[&kept, &lost], &[]);
    let response = world.first.ask(request).await.body;
    assert_eq!(state_in(&world, &response, &kept), "good");
    assert_eq!(state_in(&world, &response, &lost), "revoked");
}

#[tokio::test]
async fn what_was_never_handed_out_is_unknown() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    let of = |serial: &str| {
        let out = world.path("request.der");
        let (issuer, out_text) = (world.issuer(), out.to_str().unwrap());
        let issuer = issuer.to_str().unwrap();
        openssl(&[
            "ocsp", "-reqout", out_text, "-issuer", issuer, "-serial", serial,
        ]);
        std::fs::read(out).unwrap()
    };
    // Signed, but the process died before that was recorded.
    let prepared = Change::prepare_certificate(
        &world.store.load(&leaf.device).await.unwrap().unwrap(),
        NewCertificate {
            id: format!("{}:0badc0de", world.devices_spki())
                .parse()
                .unwrap(),
            profile: "device".to_owned(),
            public_key: world.devices_spki(),
            validity: Validity {
                not_before: world.act().at,
                not_after: world.act().at.saturating_add(Duration::from_secs(3600)),
            },
        },
        &world.act(),
    )
    .unwrap();
    world.store.commit(&[prepared]).await.unwrap();
    for serial in ["0x7f", "0", "-1", "0x0badc0de"] {
        let response = world.first.ask(of(serial)).await.body;
        let path = world.path("response.der");
        std::fs::write(&path, &response).unwrap();
        let said = openssl(&[
            "ocsp",
            "-respin",
            path.to_str().unwrap(),
            "-noverify",
            "-resp_text",
        ]);
        assert!(said.contains("Cert Status: unknown"), "{serial}: {said}");
    }
}

#[tokio::test]
async fn certificates_of_others_or_of_two_issuers_are_refused() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    let other = World::start().await;
    let foreign = other.enrol("0001").await;
    let request = other.request(&[&foreign], &[]);
    let answer = world.first.ask(request).await;
    assert_eq!(refusal(&world, &answer.body), "unauthorized (6)");

    let out = world.path("request.der");
    let [devices, servers] = [Intermediate::Devices, Intermediate::Servers]
        .map(|intermediate| world.ca.certificate(intermediate));
    openssl(&[
        "ocsp",
        "-reqout",
        out.to_str().unwrap(),
        "-issuer",
        devices.to_str().unwrap(),
        "-cert",
        leaf.path.to_str().unwrap(),
        "-issuer",
        servers.to_str().unwrap(),
        "-serial",
        "0x7f",
    ]);
    let both = std::fs::read(&out).unwrap();
    assert_eq!(OcspRequest::parse(&both).unwrap().cert_ids.len(), 2);
    let answer = world.first.ask(both).await;
    assert_eq!(refusal(&world, &answer.body), "unauthorized (6)");
    let unsupported = world.request(&[&leaf], &["-sha384"]);
    let answer = world.first.ask(unsupported).await;
    assert_eq!(refusal(&world, &answer.body), "unauthorized (6)");
}

#[tokio::test]
async fn a_revocation_overtakes_every_answer_that_is_kept_or_on_its_way() {
    let world = World::start().await;
    let leaf = world.enrol("0001").await;
    let kept = world.request(&[&leaf], &["-no_nonce"]);
    let bound = world.request(&[&leaf], &[]);
    let answer = world.first.ask(kept.clone()).await;
    assert_eq!(state_in(&world, &answer.body, &leaf), "good");

    world.revoke_and_wait(&leaf).await;
    for request in [kept, bound] {
        let answer = world.first.ask(request).await;
        assert_eq!(state_in(&world, &answer.body, &leaf), "revoked");
    }

    // Here the state was read as good before the revocation, and is answered after it.
    let leaf = world.enrol("0002").await;
    let mut hold = world
        .first
        .control
        .hold(Step::FindCertificates, Moment::After);
    let (status, request) = (
        Arc::clone(&world.first.status),
        world.request(&[&leaf], &["-no_nonce"]),
    );
    let asking = tokio::spawn({
        let request = request.clone();
        async move { status.answer(&request).await }
    });
    tokio::time::timeout(PATIENCE, hold.reached())
        .await
        .unwrap();
    world.revoke_and_wait(&leaf).await;
    drop(hold);
    let Outcome::Common(answer) = asking.await.unwrap() else {
        panic!("an answer was expected");
    };
    assert_eq!(state_in(&world, &answer.der, &leaf), "revoked");
    let again = world.first.ask(request).await;
    assert_eq!(state_in(&world, &again.body, &leaf), "revoked");
}

#[tokio::test]
async fn what_is_asked_while_others_are_looked_up_is_looked_up_together() {
    let world = World::start().await;
    let mut leaves = Vec::new();
    for id in ["first", "kept", "lost", "broken"] {
        leaves.push(world.enrol(id).await);
    }
    let [first, kept, lost, broken] = &leaves[..] else {
        unreachable!("as many as were enrolled");
    };
    world.revoke_and_wait(lost).await;
    world.first.control.break_certificate(broken.serial);
    let ask = |request: Vec<u8>| {
        let status = Arc::clone(&world.first.status);
        tokio::spawn(async move { status.answer(&request).await })
    };
    let asked = [
        &[first][..],
        &[kept],
        &[broken],
        &[kept],
        &[first],
        &[lost, kept],
    ];
    let mut requests = asked.map(|leaves| world.request(leaves, &[])).into_iter();
    let mut hold = world
        .first
        .control
        .hold(Step::FindCertificates, Moment::Before);
    let mut asking: Vec<_> = requests.by_ref().take(1).map(ask).collect();
    tokio::time::timeout(PATIENCE, hold.reached())
        .await
        .unwrap();
    asking.extend(requests.map(ask));
    tokio::task::yield_now().await;
    drop(hold);
    for (leaves, asking) in asked.into_iter().zip(asking) {
        let der = match asking.await.unwrap() {
            Outcome::Own(der) => der,
            // One that can't be read takes nothing from the others.
            Outcome::Refused(OcspError::InternalError) if leaves[0].device == broken.device => {
                continue;
            }
            other => panic!("{other:?}"),
        };
        for leaf in leaves {
            let expected = match leaf.device == lost.device {
                true => "revoked",
                false => "good",
            };
            assert_eq!(state_in(&world, &der, leaf), expected);
        }
    }
}

/// What is asked after a revocation is served must be answered so, whatever is read and kept at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_called_good_once_its_revocation_is_served() {
    let world = Arc::new(World::start().await);
    world
        .first
        .control
        .delay_at_random(7, Duration::from_millis(3));
    let mut leaves = Vec::new();
    for number in 0..12 {
        leaves.push(world.enrol(&format!("d{number}")).await);
    }
    let requests: Vec<_> = leaves
        .iter()
        .map(|leaf| world.request(&[leaf], &["-no_nonce"]))
        .collect();
    let asking: Vec<_> = requests
        .iter()
        .cycle()
        .take(4 * requests.len())
        .map(|request| {
            let (status, request) = (Arc::clone(&world.first.status), request.clone());
            tokio::spawn(async move {
                loop {
                    status.answer(&request).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for (leaf, request) in leaves.iter().zip(&requests) {
        world.revoke_and_wait(leaf).await;
        let answer = world.first.ask(request.clone()).await;
        assert_eq!(state_in(&world, &answer.body, leaf), "revoked");
    }
    for (leaf, request) in leaves.iter().zip(&requests) {
        let answer = world.first.ask(request.clone()).await;
        assert_eq!(state_in(&world, &answer.body, leaf), "revoked");
    }
    asking.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn certificates_of_services_are_told_of_too() {
    let world = World::start().await;
    let act = world.act();
    let service = Service::NatsClient {
        name: "callout-0".to_owned(),
    };
    let made = world
        .registrar
        .issue_service_certificate(&service, CertificateKey::New, &act)
        .await
        .unwrap();
    let path = world.path("service.crt");
    std::fs::write(&path, &made.issued.certificate_pem).unwrap();
    let leaf = Leaf {
        device: "unused".parse().unwrap(),
        serial: made.issued.serial,
        path,
    };
    assert!(matches!(made.record.holder, Holder::Service { .. }));
    let request = world.request(&[&leaf], &[]);
    let answer = world.first.ask(request.clone()).await;
    assert_eq!(state_in(&world, &answer.body, &leaf), "good");
    let reason = RevocationReason::Superseded;
    world
        .registrar
        .revoke_certificate(leaf.serial, None, reason, &act)
        .await
        .unwrap();
    let position = world.store.position().await.unwrap();
    world.first.served_after(&position).await;
    let answer = world.first.ask(request).await;
    assert_eq!(state_in(&world, &answer.body, &leaf), "revoked");
    let listed: BTreeSet<SerialNumber> = world.devices.lists().pop().unwrap().revoked;
    assert!(listed.contains(&leaf.serial));
}

#[tokio::test]
async fn answers_are_counted_by_issuer_and_state() {
    let world = World::start().await;
    let (kept, lost) = (world.enrol("kept").await, world.enrol("lost").await);
    world.revoke_and_wait(&lost).await;
    for request in [
        world.request(&[&kept, &lost], &[]),
        world.request(&[&kept], &["-no_nonce"]),
        world.request(&[&kept], &["-no_nonce"]),
        b"junk".to_vec(),
    ] {
        world.first.ask(request).await;
    }
    world.devices.fails.store(true, Ordering::SeqCst);
    let answer = world.first.ask(world.request(&[&kept], &[])).await;
    assert_eq!(refusal(&world, &answer.body), "trylater (3)");
    // With 200 nats-server would refuse the device.
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "5");
    let shown = world.first.metrics();
    let issuer = &world.devices_spki().to_string()[..8];
    for (issuer, status, count) in [
        (issuer, "good", 3),
        (issuer, "revoked", 1),
        ("", "malformed-request", 1),
        ("", "try-later", 1),
    ] {
        let line = format!(
            "leafgate_registry_ocsp_answers_total{{issuer=\"{issuer}\",status=\"{status}\"}} {count}\n"
        );
        assert!(shown.contains(&line), "{line} missing in\n{shown}");
    }
    for metric in ["crl_entries", "crl_age_seconds"] {
        let start = format!("leafgate_registry_{metric}{{issuer=\"{issuer}\"}} ");
        let line = shown.lines().find_map(|line| line.strip_prefix(&start));
        let value: f64 = line.unwrap_or_else(|| panic!("{shown}")).parse().unwrap();
        match metric {
            "crl_entries" => assert_eq!(value, 1.0),
            _ => assert!((0.0..60.0).contains(&value), "{value}"),
        }
    }
    let builds =
        format!("leafgate_registry_crl_builds_total{{issuer=\"{issuer}\",outcome=\"done\"}} 2\n");
    assert!(shown.contains(&builds), "{shown}");
}
