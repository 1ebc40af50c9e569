//! Authentic requests about connections that may not come in: each gets a signed refusal with its
//! reason, so that the server need not wait.

use std::collections::BTreeMap;

use leafgate::local::new_device;
use leafgate_nats_jwt::RequestClaims;
use leafgate_registrar::Registrar;
use leafgate_registry::NewDevice;
use leafgate_testkit::scratch_ca::{ScratchCa, ScratchLeaf};

use super::{Row, assert_refused};
use crate::support::act;
use crate::support::bench::{Bench, BenchOptions, act_at, chain, id, issue};
use crate::support::decisions::Witness;

const POLICY: &str = r#"
[[policy]]
name = "pump"
account = "DEVICES"
match = { device_type = "pump" }
publish.allow = ["{prefix}.{id}.status"]
session = { connection_types = ["STANDARD", "MQTT"] }

[[policy]]
name = "guarded"
account = "DEVICES"
match = { device_type = "guarded" }
publish.allow = ["{prefix}.{id}.status"]
session = { sources = ["10.0.0.0/8", "2001:db8::/32"] }

[[policy]]
name = "located"
account = "DEVICES"
match = { device_type = "located" }
publish.allow = ["{prefix}.{id}.{attr.room}"]
"#;

#[tokio::test]
async fn authentic_requests_in_the_clear_are_refused_with_the_exact_reason() {
    refuse_all(false).await;
}

#[tokio::test]
async fn authentic_sealed_requests_are_refused_with_the_exact_reason_in_a_box() {
    refuse_all(true).await;
}

async fn refuse_all(xkey: bool) {
    let options = BenchOptions {
        xkey,
        policy: Some(POLICY),
        ..BenchOptions::default()
    };
    let (mut bench, chains) = Bench::start_prepared(options, Chains::prepare).await;
    for row in rows(&bench, &chains) {
        assert_refused(&mut bench, &row).await;
    }
    for (name, claims) in controls(&bench, &chains) {
        let witness = Witness::begin(&mut bench.callout).await;
        let message = bench.message(&claims);
        let inbox = bench.send(&message).await;
        let answer = bench.answer(&message, &inbox, name).await;
        assert!(answer.outcome.is_ok(), "{name}: {:?}", answer.outcome);
        witness.saw(&mut bench.callout, name, &["allowed"]).await;
    }
}

/// Verified chains of registered devices, named after what keeps each out.
struct Chains {
    expired: Vec<String>,
    not_yet_valid: Vec<String>,
    superseded: Vec<String>,
    disabled: Vec<String>,
    elsewhere: Vec<String>,
    without_policy: Vec<String>,
    quarantined: Vec<String>,
    guarded: Vec<String>,
    roomless: Vec<String>,
    misplaced: Vec<String>,
}

impl Chains {
    /// Certificates of devices live for a week, and an older one for a day beside its successor.
    async fn prepare(registrar: &Registrar) -> Self {
        let pump = |name| new_device(id(name), "pump");
        let of_type = |name, device_type| new_device(id(name), device_type);
        let superseded = issue(registrar, pump("renewed"), &act_at(-48)).await;
        let (renewed, then) = (id("renewed"), act_at(-30));
        let successor = registrar.issue_with_new_key(&renewed, &then).await.unwrap();
        registrar
            .note_log_in(&renewed, &successor.issued.fingerprint, &then)
            .await
            .unwrap();
        let quarantined = issue(registrar, pump("quarantined"), &act()).await;
        registrar
            .quarantine(&id("quarantined"), &act())
            .await
            .unwrap();
        let disabled = issue(registrar, pump("disabled"), &act()).await;
        registrar.disable(&id("disabled"), &act()).await.unwrap();
        let elsewhere = NewDevice {
            site: Some("elsewhere".to_owned()),
            ..pump("elsewhere")
        };
        let misplaced = NewDevice {
            attributes: BTreeMap::from([("room".to_owned(), "7.>".to_owned())]),
            ..of_type("misplaced", "located")
        };
        Self {
            expired: issue(registrar, pump("expired"), &act_at(-8 * 24)).await,
            not_yet_valid: issue(registrar, pump("early"), &act_at(1)).await,
            superseded,
            disabled,
            elsewhere: issue(registrar, elsewhere, &act()).await,
            without_policy: issue(registrar, of_type("lamp", "lamp"), &act()).await,
            quarantined,
            guarded: issue(registrar, of_type("guarded", "guarded"), &act()).await,
            roomless: issue(registrar, of_type("roomless", "located"), &act()).await,
            misplaced: issue(registrar, misplaced, &act()).await,
        }
    }
}

fn rows(bench: &Bench, chains: &Chains) -> Vec<Row> {
    let mut rows = tls_rows(bench);
    rows.extend(client_rows(bench, chains));
    let of = |name, chain: &[String], reason| {
        Row::new(name, bench.message(&bench.claims_of(chain)), reason)
    };
    rows.extend([
        of(
            "an expired certificate",
            &chains.expired,
            "certificate-expired",
        ),
        of(
            "a certificate of tomorrow",
            &chains.not_yet_valid,
            "certificate-not-yet-valid",
        ),
        of(
            "a certificate replaced long ago",
            &chains.superseded,
            "certificate-superseded",
        ),
        of(
            "a device of another site",
            &chains.elsewhere,
            "site-mismatch",
        ),
        of(
            "a device that no policy selects",
            &chains.without_policy,
            "policy-none",
        ),
        of(
            "a quarantined device",
            &chains.quarantined,
            "policy-quarantine-none",
        ),
        of(
            "a device without its room",
            &chains.roomless,
            "policy-variable-missing",
        ),
        of(
            "a room that is no token",
            &chains.misplaced,
            "policy-variable-malformed",
        ),
    ]);
    rows
}

/// What the request says of the client's certificates.
fn tls_rows(bench: &Bench) -> Vec<Row> {
    let foreign = ScratchCa::root("elsewhere").intermediate("foreign devices");
    let foreign = foreign.sign(&ScratchLeaf::device(
        "device-0001.device.synadia.local",
        act().at,
    ));
    let foreign = chain(&foreign.chain_pem);
    let with_chain = |name, reason, change: &dyn Fn(&mut Vec<String>)| {
        let mut claims = bench.good_claims();
        change(&mut claims.tls.as_mut().unwrap().verified_chains[0]);
        Row::new(name, bench.message(&claims), reason)
    };
    let mut no_tls = bench.good_claims();
    no_tls.tls = None;
    let mut unverified = bench.good_claims();
    let tls = unverified.tls.as_mut().unwrap();
    tls.certs = std::mem::take(&mut tls.verified_chains).concat();
    vec![
        Row::new("no TLS", bench.message(&no_tls), "certificate-missing"),
        Row::new(
            "certificates that the server did not verify",
            bench.message(&unverified),
            "certificate-missing",
        ),
        with_chain("a chain of nothing", "certificate-malformed", &|chain| {
            chain.clear();
        }),
        with_chain("a chain of one link", "certificate-malformed", &|chain| {
            chain.truncate(1);
        }),
        with_chain("a chain of garbage", "certificate-malformed", &|chain| {
            chain[0] = "garbage".to_owned();
        }),
        with_chain("a chain that is none", "certificate-malformed", &|chain| {
            chain.swap(0, 1);
        }),
        with_chain("an issuer of no trust domain", "issuer-unknown", &|chain| {
            chain.clone_from(&foreign);
        }),
        with_chain("an issuer of others", "certificate-malformed", &|chain| {
            chain[1].clone_from(&foreign[1]);
        }),
    ]
}

/// What the request says of the connection.
fn client_rows(bench: &Bench, chains: &Chains) -> Vec<Row> {
    let of = |name, chain: &[String], reason, change: &dyn Fn(&mut RequestClaims)| {
        let mut claims = bench.claims_of(chain);
        change(&mut claims);
        Row::new(name, bench.message(&claims), reason)
    };
    let good = bench.good_claims().tls.unwrap().verified_chains.concat();
    let of_type = |name, kind: &'static str, kind_type: &'static str| {
        of(name, &good, "connection-type-not-allowed", &|claims| {
            kind.clone_into(&mut claims.client.kind);
            kind_type.clone_into(&mut claims.client.kind_type);
        })
    };
    let from = |name, host: &'static str| {
        of(name, &chains.guarded, "source-not-allowed", &|claims| {
            host.clone_into(&mut claims.client.host);
        })
    };
    let mqtt = |name, client_id: &'static str| {
        of(name, &good, "mqtt-client-id-foreign", &|claims| {
            as_mqtt(claims, client_id);
        })
    };
    vec![
        of_type("a WebSocket client", "Client", "websocket"),
        of_type("a leaf node", "Leafnode", ""),
        of_type("a router", "Router", ""),
        of_type("a client of a type to come", "Client", "quic"),
        of_type("a kind of connection to come", "", ""),
        mqtt("another device's MQTT client id", "0002"),
        mqtt(
            "an MQTT client id that only begins like the device's",
            "00012",
        ),
        mqtt("no MQTT client id", ""),
        mqtt(
            "an MQTT client id that forges a line of the log",
            "0002\nnow INFO decision allowed ",
        ),
        of(
            "a disabled device with a foreign MQTT client id",
            &chains.disabled,
            "device-disabled",
            &|claims| {
                as_mqtt(claims, "0002");
            },
        ),
        from("an address outside the policy's", "192.0.2.7"),
        from("an IPv6 address outside the policy's", "2001:db9::1"),
        from("an address that is none", "gateway.example"),
        from("no address", ""),
    ]
}

/// What the same bench lets in, beside the plain device.
fn controls(bench: &Bench, chains: &Chains) -> Vec<(&'static str, RequestClaims)> {
    let mut mqtt = bench.good_claims();
    as_mqtt(&mut mqtt, "0001:telemetry");
    let guarded = |host: &str| {
        let mut claims = bench.claims_of(&chains.guarded);
        host.clone_into(&mut claims.client.host);
        claims
    };
    vec![
        ("an MQTT client id of the device", mqtt),
        ("an address of the policy's", guarded("10.1.2.3")),
        ("an IPv6 address of the policy's", guarded("2001:db8::7")),
    ]
}

fn as_mqtt(claims: &mut RequestClaims, client_id: &str) {
    "mqtt".clone_into(&mut claims.client.kind_type);
    client_id.clone_into(&mut claims.client.mqtt_id);
}
