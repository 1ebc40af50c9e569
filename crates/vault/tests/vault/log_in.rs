//! Logging in, and staying logged in.

mod kubernetes;
mod secrets;
mod transport;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leafgate_registry::{DeviceStore, StoreError};
use leafgate_runtime::{VaultConfig, VaultLogInConfig};
use leafgate_testkit::store_conformance::records::{id, load, register, within};
use leafgate_vault::{Vault, VaultStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::proxy::{Deal, Proxy};
use crate::support::Scratch;

const PATIENCE: Duration = Duration::from_secs(60);

/// Everything in one engine.
fn all_of(mount: &str) -> String {
    format!(
        r#"path "{mount}/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}"#
    )
}

/// A file that only its owner may read.
fn private_file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// What a proxy saw of log-ins and renewals.
#[derive(Clone, Default)]
struct Watched {
    log_ins: Arc<AtomicU32>,
    renewals: Arc<AtomicU32>,
    /// The token of the newest request.
    token: Arc<Mutex<String>>,
}

impl Watched {
    fn on(proxy: &Proxy) -> Self {
        let watched = Self::default();
        let seen = watched.clone();
        proxy.deal(move |request| {
            let count = |counter: &AtomicU32| counter.fetch_add(1, Ordering::Relaxed);
            if request.path.ends_with("/login") {
                count(&seen.log_ins);
            } else if request.path.ends_with("/renew-self") {
                count(&seen.renewals);
            }
            if let Some(token) = request.headers.get("x-vault-token") {
                *seen.token.lock().unwrap() = token.to_str().unwrap().to_owned();
            }
            Deal::Pass
        });
        watched
    }

    fn log_ins(&self) -> u32 {
        self.log_ins.load(Ordering::Relaxed)
    }

    fn renewals(&self) -> u32 {
        self.renewals.load(Ordering::Relaxed)
    }

    fn token(&self) -> String {
        self.token.lock().unwrap().clone()
    }
}

/// A role for machines, with access to one engine.
struct AppRole {
    scratch: Scratch,
    proxy: Proxy,
    watched: Watched,
    config: VaultConfig,
    _folder: TempDir,
}

impl AppRole {
    async fn new(settings: Value) -> Self {
        let scratch = Scratch::new().await;
        let mount = format!("approle-{}", scratch.mount);
        let admin = &scratch.admin;
        let method = json!({ "type": "approle" });
        admin
            .request("POST", &format!("sys/auth/{mount}"), method)
            .await;
        admin.put_policy(&mount, &all_of(&scratch.mount)).await;
        let role = format!("auth/{mount}/role/leafgate");
        let mut settings = settings;
        settings["token_policies"] = json!([mount]);
        admin.request("POST", &role, settings).await;
        let text = async |method: &str, path: &str, field: &str| {
            let path = format!("{role}/{path}");
            admin.request(method, &path, Value::Null).await["data"][field]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let role_id = text("GET", "role-id", "role_id").await;
        let secret_id = text("POST", "secret-id", "secret_id").await;
        let folder = TempDir::new().unwrap();
        let log_in = VaultLogInConfig::AppRole {
            role_id,
            secret_id_file: private_file(&folder, "secret-id", &format!("{secret_id}\n")),
            mount,
        };
        let proxy = Proxy::start(&scratch.address).await;
        let config = VaultConfig {
            address: Some(proxy.address.clone()),
            log_in: Some(log_in),
            ..VaultConfig::default()
        };
        Self {
            watched: Watched::on(&proxy),
            scratch,
            proxy,
            config,
            _folder: folder,
        }
    }

    async fn store(&self) -> VaultStore {
        let vault = Vault::connect(&self.config, &Default::default())
            .await
            .unwrap();
        VaultStore::open(&vault, &self.scratch.config())
            .await
            .unwrap()
    }

    /// Reads until something is the case. Every read must go well.
    async fn read_until(&self, store: &VaultStore, what: &str, is_so: impl Fn(&Watched) -> bool) {
        let reading = async {
            while !is_so(&self.watched) {
                store.load(&id("0001")).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(PATIENCE, what, reading).await;
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let role = AppRole::new(json!({ "token_ttl": "9s" })).await;
    let store = role.store().await;
    role.read_until(&store, "renewals", |seen| seen.renewals() >= 2)
        .await;
    assert_eq!(role.watched.log_ins(), 1);
}

#[tokio::test]
async fn a_token_that_can_be_renewed_no_longer_is_replaced_before_it_ends() {
    let role = AppRole::new(json!({ "token_ttl": "3s", "token_max_ttl": "5s" })).await;
    let store = role.store().await;
    role.read_until(&store, "log-ins", |seen| seen.log_ins() >= 3)
        .await;
}

#[tokio::test]
async fn a_token_that_is_not_renewable_is_replaced_before_it_ends() {
    let role = AppRole::new(json!({ "token_ttl": "3s", "token_type": "batch" })).await;
    let store = role.store().await;
    role.read_until(&store, "log-ins", |seen| seen.log_ins() >= 3)
        .await;
    assert_eq!(role.watched.renewals(), 0);
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_once_whoever_asks() {
    let role = AppRole::new(json!({ "token_ttl": "1h" })).await;
    let store = Arc::new(role.store().await);
    let record = register(&*store, "0001").await;
    for round in 1..=3 {
        assert_eq!(role.watched.log_ins(), round);
        let token = json!({ "token": role.watched.token() });
        role.scratch
            .admin
            .request("POST", "auth/token/revoke", token)
            .await;
        let loads = (0..20).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { load(&*store, "0001").await })
        });
        for found in loads.collect::<Vec<_>>() {
            assert_eq!(found.await.unwrap(), record);
        }
        register(&*store, &format!("round-{round}")).await;
    }
    assert_eq!(role.watched.log_ins(), 4);
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_and_not_logged_in_for() {
    let role = AppRole::new(json!({ "token_ttl": "1h" })).await;
    let store = role.store().await;
    let policy = format!("approle-{}", role.scratch.mount);
    let admin = &role.scratch.admin;
    let leave = format!(
        r#"path "{}/data/leafgate/*" {{ capabilities = ["read"] }}"#,
        role.scratch.mount
    );
    admin.put_policy(&policy, &leave).await;
    let refused = store.load(&id("0001")).await;
    let Err(StoreError::Unavailable { what, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(what.contains("policies/vault/"), "{what}");
    assert!(what.contains("data/devices/0001"), "{what}");
    assert_eq!(role.watched.log_ins(), 1);
    admin
        .put_policy(&policy, &all_of(&role.scratch.mount))
        .await;
    assert_eq!(store.load(&id("0001")).await.unwrap(), None);
}

#[tokio::test]
async fn a_wrong_secret_is_told_without_it() {
    let mut role = AppRole::new(json!({ "token_ttl": "1h" })).await;
    let folder = TempDir::new().unwrap();
    let Some(VaultLogInConfig::AppRole { secret_id_file, .. }) = &mut role.config.log_in else {
        panic!()
    };
    *secret_id_file = private_file(&folder, "wrong", "very-secret-and-wrong");
    let refused = Vault::connect(&role.config, &Default::default()).await;
    let Err(StoreError::Unavailable { what, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(what.contains("refuses the log-in with AppRole"), "{what}");
    assert!(!what.contains("very-secret"), "{what}");
    role.proxy.pass();
}

#[tokio::test]
async fn a_token_of_somebody_else_is_read_again_when_it_is_refused() {
    let scratch = Scratch::new().await;
    scratch
        .admin
        .put_policy(&scratch.mount, &all_of(&scratch.mount))
        .await;
    let token = async || scratch.admin.create_token(&[&scratch.mount]).await;
    let folder = TempDir::new().unwrap();
    let first = token().await;
    let token_file = private_file(&folder, "token", &first);
    let config = VaultConfig {
        address: Some(scratch.address.clone()),
        log_in: Some(VaultLogInConfig::Token {
            token_file: token_file.clone(),
        }),
        ..VaultConfig::default()
    };
    let vault = Vault::connect(&config, &Default::default()).await.unwrap();
    let store = VaultStore::open(&vault, &scratch.config()).await.unwrap();
    register(&store, "0001").await;
    private_file(&folder, "token", &token().await);
    let revoke = json!({ "token": first });
    scratch
        .admin
        .request("POST", "auth/token/revoke", revoke)
        .await;
    load(&store, "0001").await;

    fs::set_permissions(&token_file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Vault::connect(&config, &Default::default()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
}

#[tokio::test]
async fn the_token_of_the_environment_is_renewed_and_when_revoked_told() {
    let scratch = Scratch::new().await;
    scratch
        .admin
        .put_policy(&scratch.mount, &all_of(&scratch.mount))
        .await;
    let wish = json!({ "policies": [scratch.mount], "ttl": "9s" });
    let made = scratch.admin.request("POST", "auth/token/create", wish);
    let token = made.await["auth"]["client_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let proxy = Proxy::start(&scratch.address).await;
    let watched = Watched::on(&proxy);
    let vault = scratch.vault_at(&proxy.address, &token).await;
    let store = VaultStore::open(&vault, &scratch.config()).await.unwrap();
    let reading = async {
        while watched.renewals() < 2 {
            store.load(&id("0001")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(PATIENCE, "renewals", reading).await;
    let revoke = json!({ "token": token });
    scratch
        .admin
        .request("POST", "auth/token/revoke", revoke)
        .await;
    let refused = store.load(&id("0001")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }));
    assert!(
        refused
            .to_string()
            .contains("check that the token is valid")
    );
    assert!(!format!("{refused:?} {refused}").contains(&token));
}
