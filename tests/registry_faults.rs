//! The registry under load while it is killed, and while its database or its Vault goes: nothing that was acknowledged is
//! lost.

mod clients;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leafgate::local::{LocalSite, SiteOptions};
use leafgate::wiring::open_store;
use leafgate_pki::{KeyPairPem, write_csr};
use leafgate_registry::{DeviceStore, EventKind};
use leafgate_runtime::{Environment, StoreConfig};
use leafgate_testkit::postgres::{PostgresServer, PostgresSettings};
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use self::clients::{Acknowledged, Load, all_events};
use crate::support::figures::record_fault;
use crate::support::registry_client::{RegistryClient, with_registry};
use crate::support::vault::{InVault, Vault};
use crate::support::{TestSite, machine, scale};

/// Faults of one run, times `LEAFGATE_TEST_SCALE`.
const FAULTS: usize = 2;

/// How long the load goes on before each fault, at least.
const BEFORE_FAULT: Duration = Duration::from_millis(1500);

/// How long the registry may take to notice that its database or Vault is away, or is back.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_registry_that_is_killed_on_sqlite_loses_nothing() {
    let _machine = machine().await;
    let site = TestSite::start(&with_registry()).await;
    let store = format!("sqlite:{}", site.site.dir().registry().display());
    kill_under_load(site, &store, "SQLite").await;
}

#[tokio::test]
async fn a_registry_that_is_killed_on_postgresql_loses_nothing() {
    let _machine = machine().await;
    let database = PostgresServer::shared().create_database();
    let site = TestSite::start(&on(&database.url())).await;
    kill_under_load(site, &database.url(), "PostgreSQL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_outlives_its_database() {
    let _machine = machine().await;
    let settings = PostgresSettings {
        durable: true,
        ..PostgresSettings::default()
    };
    let server = PostgresServer::start(&settings);
    let database = server.create_database();
    let mut site = TestSite::start(&on(&database.url())).await;
    let pid = registry_pid(&mut site.site);
    let load = Load::start(RegistryClient::admin(&site.site));
    let admin = RegistryClient::admin(&site.site);
    let mut longest = Duration::ZERO;
    for fault in 0..FAULTS * scale() {
        some_time_under(&load).await;
        tokio::task::block_in_place(|| match fault % 2 {
            0 => server.kill9(),
            _ => server.stop(),
        });
        let probe = json!({ "id": format!("down-{fault}"), "device_type": "pump" });
        let (status, problem) = admin.try_post("/v1/devices", &probe).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
        tokio::task::block_in_place(|| server.start_again());
        let recovered = until("the registry recovers", async || {
            admin.try_post("/v1/devices", &probe).await.0 != StatusCode::SERVICE_UNAVAILABLE
        });
        longest = longest.max(recovered.await);
    }
    some_time_under(&load).await;
    let acknowledged = load.end().await;
    assert_eq!(registry_pid(&mut site.site), pid);
    acknowledged.verify(&*opened(&database.url()).await).await;
    let came = format!(
        "{acknowledged}; served again {} ms after PostgreSQL at the latest",
        longest.as_millis()
    );
    record_fault(
        "PostgreSQL dies or restarts under load",
        FAULTS * scale(),
        &came,
    );
    site.site.stop().await.unwrap();
}

#[tokio::test]
async fn a_registry_outlives_a_seal_of_the_vault_that_keeps_it() {
    let _machine = machine().await;
    let vault = Vault::documented().await;
    let options = vault.site(InVault::Store, with_registry()).await;
    let mut site = TestSite::start(&options).await;
    let refused = "/problems/registry-unavailable";
    let acknowledged = seal_under_load(&vault, &mut site, refused).await;
    let log_in = vault.log_in(&["leafgate-registry"]).await;
    let store = open_store(&Vault::store(), "default", &log_in).await;
    acknowledged.verify(&*store.unwrap()).await;
    site.site.stop().await.unwrap();
}

#[tokio::test]
async fn a_registry_outlives_a_seal_of_the_vault_that_signs() {
    let _machine = machine().await;
    let vault = Vault::documented().await;
    let database = PostgresServer::shared().create_database();
    let options = vault.site(InVault::Issuer, on(&database.url())).await;
    let mut site = TestSite::start(&options).await;
    let store = opened(&database.url()).await;
    let refused = "/problems/issuer-unavailable";
    let acknowledged = seal_under_load(&vault, &mut site, refused).await;
    acknowledged.verify(&*store).await;
    until("Vault is told of revocations", async || {
        let revoked = vault.revoked().await;
        acknowledged
            .revoked_serials()
            .all(|serial| revoked.contains(serial))
    })
    .await;
    assert_requested_first(&vault, &*store).await;
    site.site.stop().await.unwrap();
}

async fn kill_under_load(mut site: TestSite, store: &str, name: &str) {
    let mut longest = Duration::ZERO;
    let load = Load::start(RegistryClient::admin(&site.site));
    for _ in 0..FAULTS * scale() {
        some_time_under(&load).await;
        let registry = site.site.registry().unwrap().process.child_mut();
        registry.kill9().await.unwrap();
        let killed = Instant::now();
        site.site.restart_registry().await.unwrap();
        longest = longest.max(killed.elapsed());
    }
    some_time_under(&load).await;
    let acknowledged = load.end().await;
    acknowledged.verify(&*opened(store).await).await;
    let what = format!("the registry on {name} is killed under load");
    let came = format!(
        "{acknowledged}; served again after {} ms at the latest",
        longest.as_millis()
    );
    record_fault(&what, FAULTS * scale(), &came);
    site.site.stop().await.unwrap();
}

/// Seals Vault, each time until others have noticed, and unseals it; `refused` is what the registry says meanwhile.
async fn seal_under_load(vault: &Vault, site: &mut TestSite, refused: &str) -> Acknowledged {
    let mut longest = Duration::ZERO;
    let pid = registry_pid(&mut site.site);
    let admin = RegistryClient::admin(&site.site);
    let load = Load::start(admin.clone());
    for fault in 0..FAULTS * scale() {
        some_time_under(&load).await;
        vault.admin.seal().await;
        let probe = format!("sealed-{fault}");
        let answer = certify(&admin, &probe).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key(RETRY_AFTER), "{answer:?}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["type"], refused, "{problem}");
        let unavailable = load.unavailable();
        until("others are refused too", async || {
            load.unavailable() > unavailable
        })
        .await;
        vault.admin.unseal().await;
        let mut attempt = 0;
        let recovered = until("the registry recovers", async || {
            // Another device each time, since one that asks too often is slowed down.
            attempt += 1;
            let answer = certify(&admin, &format!("{probe}-{attempt}")).await;
            answer.status().is_success()
        });
        longest = longest.max(recovered.await);
    }
    some_time_under(&load).await;
    let acknowledged = load.end().await;
    assert_eq!(registry_pid(&mut site.site), pid);
    let came = format!(
        "{acknowledged}; served again {} ms after Vault at the latest",
        longest.as_millis()
    );
    let what = format!("Vault is sealed under load: {refused}");
    record_fault(&what, FAULTS * scale(), &came);
    acknowledged
}

/// Registers a device, and asks for a certificate for it.
async fn certify(admin: &RegistryClient, id: &str) -> Response {
    let device = json!({ "id": id, "device_type": "pump" });
    let made = admin.send_post("/v1/devices", &device).await.unwrap();
    if !made.status().is_success() {
        return made;
    }
    let key = KeyPairPem::generate().unwrap();
    let csr = write_csr(&key.private_key_pem, id).unwrap();
    let path = format!("/v1/devices/{id}/certificates");
    admin
        .send_post(&path, &json!({ "csr": csr }))
        .await
        .unwrap()
}

/// That Vault has signed for no key that the registry had not recorded as asked for.
async fn assert_requested_first(vault: &Vault, store: &dyn DeviceStore) {
    let events = all_events(store).await.into_iter();
    let requests = events.filter(|event| event.kind == EventKind::CertificateRequested);
    let requested: BTreeSet<String> = requests
        .map(|event| event.detail["public_key"].as_str().unwrap().to_owned())
        .collect();
    let mut signed = vault.signed_keys().await;
    signed.remove(&vault.issuer().to_string());
    assert!(!signed.is_empty());
    assert_eq!(signed.difference(&requested).next(), None);
}

/// Lets the load go on for a while, and until more of everything has been acknowledged.
async fn some_time_under(load: &Load) {
    let before = load.progress();
    tokio::time::sleep(BEFORE_FAULT).await;
    until(
        "certificates and revocations are acknowledged",
        async || load.progress() > before,
    )
    .await;
}

/// Waits for what must happen, and says for how long.
async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) -> Duration {
    let since = Instant::now();
    while !happened().await {
        assert!(
            since.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    since.elapsed()
}

async fn opened(url: &str) -> Arc<dyn DeviceStore> {
    let opened = open_store(&store_config(url), "default", &Environment::new()).await;
    opened.unwrap()
}

fn on(url: &str) -> SiteOptions {
    SiteOptions {
        store: Some(store_config(url)),
        ..with_registry()
    }
}

fn store_config(url: &str) -> StoreConfig {
    StoreConfig {
        url: url.to_owned(),
        password_file: None,
        ca_file: None,
    }
}

fn registry_pid(site: &mut LocalSite) -> u32 {
    site.registry().unwrap().process.pid()
}
