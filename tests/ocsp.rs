//! The check of devices' certificates by nats-server itself (`ocsp_peer`), as shipped: it refuses what is revoked while
//! leafgate's callout is down, and keeps nobody out while the responder is.

use std::time::{Duration, Instant};

use leafgate::local::{LogInError, SiteOptions};
use serde_json::json;

use crate::support::TestSite;
use crate::support::registry_client::{RegistryClient, enrol, with_registry};

/// How long a cached answer counts, nats-server's allowance for skewed clocks (30 s) and a busy machine included.
const CACHED_LIMIT: Duration = Duration::from_secs(150);

#[tokio::test]
async fn what_is_revoked_is_refused_without_a_callout_and_a_dead_responder_keeps_nobody_out() {
    let mut options = SiteOptions {
        ocsp: true,
        ..with_registry()
    };
    let lifetime = ("LEAFGATE_STATUS__OCSP_LIFETIME_SECS", "60");
    let environment = &mut options.registry.as_mut().unwrap().environment;
    environment.push((lifetime.0.to_owned(), lifetime.1.to_owned()));
    let mut site = TestSite::start(&options).await;
    let admin = RegistryClient::admin(&site.site);
    for id in ["0001", "0002", "0003"] {
        enrol(&admin, &site.devices, id).await;
    }
    drop(site.log_in("0001").await.unwrap());

    let reason = json!({ "reason": "key-compromise" });
    for id in ["0001", "0002"] {
        let path = format!("/v1/devices/{id}/revoke");
        admin.post(&path, &reason).await;
    }
    for callout in site.site.callouts() {
        callout.stop(Duration::from_secs(5)).await.unwrap();
    }
    // Nobody asked for its status before.
    assert_handshake_refused(&site, "0002").await;
    // Its chain is good, and nobody decides. To the client a log-in that takes 2 s looks done, because the server then
    // sends a ping of its own.
    match site.log_in("0003").await {
        Err(LogInError::Handshake(error)) => panic!("0003 is healthy: {error}"),
        Err(LogInError::Refused | LogInError::Unreachable(_)) => {}
        Ok(mut undecided) => undecided.ended(Duration::from_secs(5)).await.unwrap(),
    }
    // It was called good, which counts until it has run out.
    let started = Instant::now();
    while !matches!(site.log_in("0001").await, Err(LogInError::Handshake(_))) {
        assert!(
            started.elapsed() < CACHED_LIMIT,
            "0001 was not refused in the handshake"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    let registry = &mut site.site.registry().unwrap().process;
    registry.stop(Duration::from_secs(5)).await.unwrap();
    site.site.restart_callout(0).await.unwrap();
    drop(site.log_in("0003").await.unwrap());
    // What was called revoked stays so.
    assert_handshake_refused(&site, "0002").await;
    site.site.stop().await.unwrap();
}

async fn assert_handshake_refused(site: &TestSite, id: &str) {
    let refused = site.log_in(id).await;
    assert!(
        matches!(refused, Err(LogInError::Handshake(_))),
        "{id}: {refused:?}"
    );
}
