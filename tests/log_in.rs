//! The life of a device's session, on every version of nats-server that leafgate supports.

use leafgate::local::LogInError;

use crate::support::decisions::counts;
use crate::support::{PATIENCE, TestSite, nats_server, options};

#[tokio::test]
async fn a_registered_device_logs_in_and_revocation_ends_its_session() {
    let mut site = TestSite::start(&options()).await;
    log_in_refusal_and_kick(&mut site).await;
    site.site.stop().await.unwrap();
}

#[tokio::test]
async fn the_same_in_the_clear() {
    let mut options = options();
    options.xkey = false;
    let mut site = TestSite::start(&options).await;
    log_in_refusal_and_kick(&mut site).await;
}

#[tokio::test]
async fn the_same_on_nats_server_2_14() {
    on_version("2.14.6").await;
}

#[tokio::test]
async fn the_same_on_nats_server_2_12() {
    on_version("2.12.8").await;
}

#[tokio::test]
async fn the_same_on_nats_server_2_11() {
    on_version("2.11.11").await;
}

async fn on_version(version: &str) {
    let mut options = options();
    options.nats_server = nats_server(version);
    let mut site = TestSite::start(&options).await;
    log_in_refusal_and_kick(&mut site).await;
}

async fn log_in_refusal_and_kick(site: &mut TestSite) {
    site.register("0001").await;
    let mark = site.mark();
    let mut device = site.log_in("0001").await.unwrap();
    site.logged(
        mark,
        "decision allowed device=0001 policy=device server=leaf-1",
    )
    .await;
    let mut echo = device.client.subscribe("device.0001.cmd").await.unwrap();
    device
        .client
        .publish("device.0002.status", "x".into())
        .await
        .unwrap();
    let refusal = device.refusal(PATIENCE).await.unwrap();
    assert!(refusal.contains("device.0002.status"), "{refusal}");
    echo.unsubscribe().await.unwrap();

    site.revoke("0001").await;
    device.ended(PATIENCE).await.unwrap();
    let mark = site.mark();
    assert!(matches!(
        site.log_in("0001").await,
        Err(LogInError::Refused)
    ));
    site.logged(mark, "decision denied reason=device-revoked device=0001")
        .await;
    let counts = counts(&site.site.callouts()[0]).await;
    assert!(counts["device-revoked"] >= 1);
}
