//! A registry in Vault beyond the life of its devices, which tests/life.rs tells: what it says while Vault is sealed, and
//! what it can't do.

use leafgate::local::LogInError;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::registry_client::{
    RegistryClient, enrol, hears_log_ins, openssl_request, with_registry,
};
use crate::support::vault::{InVault, Vault};
use crate::support::{TestSite, eventually};

#[tokio::test]
async fn a_sealed_vault_is_told_of_and_an_unsealed_one_goes_on() {
    let vault = Vault::documented().await;
    let mut site = TestSite::start(&vault.site(InVault::Both, with_registry()).await).await;
    hears_log_ins(&mut site.site).await;
    let admin = RegistryClient::admin(&site.site);
    enrol(&admin, &site.devices, "0001").await;
    drop(site.log_in("0001").await.unwrap());

    vault.admin.seal().await;
    let device = json!({ "id": "0002", "device_type": "pump" });
    let (status, problem) = admin.try_post("/v1/devices", &device).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    let csr = openssl_request(&site.devices, "next");
    let renewing = admin.device(&site.devices.join("0001"));
    let (status, problem) = renewing.try_post("/v1/renew", &json!({ "csr": csr })).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    // The callout knows the device, and lets it in from memory.
    drop(site.log_in("0001").await.unwrap());

    vault.admin.unseal().await;
    eventually("the registry is back", async || {
        let (status, _) = admin.try_post("/v1/devices", &device).await;
        let made = [StatusCode::CREATED, StatusCode::CONFLICT];
        made.contains(&status).then_some(())
    })
    .await;
    eventually("the issuer is back", async || {
        let answer = renewing.try_post("/v1/renew", &json!({ "csr": csr })).await;
        answer.0.is_success().then_some(())
    })
    .await;
    enrol(&admin, &site.devices, "0003").await;
    drop(site.log_in("0003").await.unwrap());
    let revoked = admin.post("/v1/devices/0001/revoke", &json!({})).await;
    assert_eq!(revoked["state"], "revoked");
    eventually("the revocation", async || {
        let refused = site.log_in("0001").await;
        matches!(refused, Err(LogInError::Refused)).then_some(())
    })
    .await;
    site.site.stop().await.unwrap();
}

#[tokio::test]
async fn what_vault_has_no_index_for_is_told_with_a_hint() {
    let vault = Vault::documented().await;
    let site = TestSite::start(&vault.site(InVault::Store, with_registry()).await).await;
    let admin = RegistryClient::admin(&site.site);
    let device = json!({ "id": "0001", "device_type": "pump" });
    admin.post("/v1/devices", &device).await;
    for path in [
        "/v1/devices",
        "/v1/devices?state=active",
        "/v1/devices?common_name_prefix=device-00",
    ] {
        let (status, page) = admin.try_get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
    }
    for path in [
        "/v1/devices?device_type=pump",
        "/v1/devices?site=cph1",
        "/v1/certificates?fingerprint=abababababababababababababababababababababababababababababababab",
    ] {
        let (status, problem) = admin.try_get(path).await;
        assert_eq!(status, StatusCode::NOT_IMPLEMENTED, "{path}: {problem}");
        assert_eq!(problem["type"], "/problems/not-supported", "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("PostgreSQL"), "{path}: {detail}");
    }
    site.site.stop().await.unwrap();
}
