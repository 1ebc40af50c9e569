use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use leafgate::local::{SiteOptions, TRUST_DOMAIN, TrustDomainOptions};
use leafgate_identity::{Binding, CnPattern, SpkiHash, spki_hash_of_certificate_pem};
use leafgate_runtime::{Environment, StoreConfig};
use leafgate_testkit::vault::{VaultAdmin, VaultServer, VaultSettings, documented_commands};
use serde_json::Value;
use tempfile::TempDir;

/// A Vault that was set up as docs/vault.md says.
pub struct Vault {
    server: VaultServer,
    pub admin: VaultAdmin,
    folder: TempDir,
}

/// What a site has in Vault.
#[derive(Clone, Copy)]
pub enum InVault {
    Store,
    Issuer,
    Both,
}

impl InVault {
    const fn store(self) -> bool {
        matches!(self, Self::Store | Self::Both)
    }

    const fn issuer(self) -> bool {
        matches!(self, Self::Issuer | Self::Both)
    }

    /// The policies that a registry is given for it.
    fn policies(self) -> Vec<&'static str> {
        let store = self.store().then_some("leafgate-registry");
        let issuer = self.issuer().then_some("leafgate-issuer");
        store.into_iter().chain(issuer).collect()
    }
}

impl Vault {
    pub async fn documented() -> Self {
        let server = VaultServer::start(&VaultSettings::default());
        let admin = server.admin();
        let folder = tempfile::tempdir().unwrap();
        admin
            .run_commands(&documented_commands(), folder.path())
            .await;
        Self {
            server,
            admin,
            folder,
        }
    }

    /// The site `options` with a part of it here, each program with the policies that are shipped for it and no more.
    pub async fn site(&self, part: InVault, mut options: SiteOptions) -> SiteOptions {
        if let Some(registry) = &mut options.registry {
            let environment = &mut registry.environment;
            environment.extend(self.log_in(&part.policies()).await);
            if part.issuer() {
                // What docs/vault.md has the engine write into certificates.
                let url = "http://pki.example.org:8080".to_owned();
                environment.push(("LEAFGATE_STATUS__URL".to_owned(), url));
            }
        }
        if part.store() {
            let log_in = self.log_in(&["leafgate-callout"]).await;
            options.callout.environment.extend(log_in);
            options.store = Some(Self::store());
        }
        if part.issuer() {
            options.vault_ca = Some(self.root_file());
            let own = self.trust_domain(TRUST_DOMAIN, Binding::Issued);
            options.trust_domains.push(own);
        }
        options
    }

    /// One whose devices the engine signs certificates for.
    pub fn trust_domain(&self, name: &str, binding: Binding) -> TrustDomainOptions {
        TrustDomainOptions {
            name: name.to_owned(),
            issuer: self.issuer_file(),
            cn_pattern: CnPattern::default().to_string(),
            binding,
        }
    }

    /// The store of a site that has it here.
    pub fn store() -> StoreConfig {
        StoreConfig {
            url: "vault:secret".to_owned(),
            password_file: None,
            ca_file: None,
        }
    }

    /// What Vault's own tools find in their environment, for somebody with these policies.
    pub async fn log_in(&self, policies: &[&str]) -> Environment {
        let token = self.admin.create_token(policies).await;
        let variables = [
            ("VAULT_ADDR", self.server.address()),
            ("VAULT_TOKEN", &token),
        ];
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        owned.into()
    }

    pub fn root_file(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        self.server.address()
    }

    /// The certificate of the issuer of devices.
    pub fn issuer_file(&self) -> PathBuf {
        self.folder.path().join("devices.pem")
    }

    pub fn issuer(&self) -> SpkiHash {
        let pem = fs::read_to_string(self.issuer_file()).unwrap();
        spki_hash_of_certificate_pem(&pem).unwrap()
    }

    /// The serial numbers that the PKI engine has revoked, in the registry's spelling.
    pub async fn revoked(&self) -> BTreeSet<String> {
        let serials = self.listed("pki-int/certs/revoked").await.into_iter();
        serials.map(|serial| serial.replace(':', "")).collect()
    }

    /// The keys of all certificates that the PKI engine has signed, its own among them.
    pub async fn signed_keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for serial in self.listed("pki-int/certs").await {
            let path = format!("pki-int/cert/{serial}");
            let answer = self.admin.request("GET", &path, Value::Null).await;
            let pem = answer["data"]["certificate"].as_str().unwrap();
            keys.insert(spki_hash_of_certificate_pem(pem).unwrap().to_string());
        }
        keys
    }

    async fn listed(&self, path: &str) -> Vec<String> {
        let (_, answer) = self.admin.try_request("LIST", path, Value::Null).await;
        let keys = answer.pointer("/data/keys").and_then(Value::as_array);
        let keys = keys.into_iter().flatten().filter_map(Value::as_str);
        keys.map(str::to_owned).collect()
    }
}
