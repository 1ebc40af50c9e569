//! A registry in an engine of its own.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use leafgate_identity::TrustDomainName;
use leafgate_runtime::VaultConfig;
use leafgate_testkit::vault::{VaultAdmin, VaultServer};
use leafgate_vault::{Vault, VaultStore, VaultStoreConfig};
use serde_json::{Value, json};

/// The trust domain of devices that scripts registered.
pub(crate) const DOMAIN: &str = "seeded";

/// A KV engine, empty when made.
pub(crate) struct Scratch {
    pub(crate) admin: VaultAdmin,
    pub(crate) address: String,
    pub(crate) token: String,
    pub(crate) mount: String,
}

impl Scratch {
    /// On the server that the tests share.
    pub(crate) async fn new() -> Self {
        Self::on(VaultServer::shared()).await
    }

    pub(crate) async fn on(server: &VaultServer) -> Self {
        let admin = server.admin();
        Self {
            mount: admin.mount_kv().await,
            admin,
            address: server.address().to_owned(),
            token: server.root_token().to_owned(),
        }
    }

    /// A log-in of its own.
    pub(crate) async fn vault(&self) -> Vault {
        self.vault_at(&self.address, &self.token).await
    }

    pub(crate) async fn vault_at(&self, address: &str, token: &str) -> Vault {
        let environment = environment(address, token);
        Vault::connect(&VaultConfig::default(), &environment)
            .await
            .unwrap()
    }

    pub(crate) fn config(&self) -> VaultStoreConfig {
        VaultStoreConfig {
            mount: self.mount.clone(),
            trust_domain: TrustDomainName::parse(DOMAIN).unwrap(),
        }
    }

    /// A handle with connections of its own.
    pub(crate) async fn store(&self) -> VaultStore {
        VaultStore::open(&self.vault().await, &self.config())
            .await
            .unwrap()
    }

    /// A handle that only reads.
    pub(crate) async fn reader(&self) -> VaultStore {
        VaultStore::open_read_only(&self.vault().await, &self.config())
            .await
            .unwrap()
    }

    /// What a script does: `vault kv put`.
    pub(crate) async fn put(&self, path: &str, data: Value) {
        self.admin.kv_put(&self.mount, path, data).await;
    }

    /// What a script does: `vault kv get`.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.admin.kv_get(&self.mount, path).await
    }

    /// What a script does: `vault kv patch`.
    pub(crate) async fn patch(&self, path: &str, changes: Value) {
        let mut data = self.get(path).await;
        for (field, value) in changes.as_object().unwrap() {
            data[field] = value.clone();
        }
        self.put(path, data).await;
    }

    /// What a script does: `vault kv metadata delete`.
    pub(crate) async fn remove(&self, path: &str) {
        let path = format!("{}/metadata/{path}", self.mount);
        self.admin.request("DELETE", &path, Value::Null).await;
    }

    /// Waits until nothing of a commit is left to be done.
    pub(crate) async fn settled(&self) {
        loop {
            let head = self.get("leafgate/head").await;
            if head["writes"] == json!([]) && head["parts"] == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

pub(crate) fn environment(address: &str, token: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("VAULT_ADDR".to_owned(), address.to_owned()),
        ("VAULT_TOKEN".to_owned(), token.to_owned()),
    ])
}

/// For clients that speak plain HTTP.
pub(crate) fn no_tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    config
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// Uniform numbers: each state hashes with keys of its own.
pub(crate) fn random() -> u32 {
    u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap()
}
