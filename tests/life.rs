//! The whole life of a device over REST, with nothing but what a script has: enrol, log in, renew, be superseded, be
//! revoked. On each pair of store and issuer.

use std::fs;
use std::path::{Path, PathBuf};

use leafgate::local::{Credentials, Device, LogInError, SiteOptions};
use leafgate_runtime::StoreConfig;
use leafgate_testkit::postgres::{PostgresDatabase, PostgresServer};
use serde_json::{Value, json};

use crate::support::registry_client::{
    RegistryClient, enrol, hears_log_ins, keep, openssl, openssl_request, try_openssl,
    with_registry,
};
use crate::support::vault::{InVault, Vault};
use crate::support::{PATIENCE, TestSite, eventually};

#[tokio::test]
async fn on_sqlite() {
    whole_life(&with_registry(), None).await;
}

#[tokio::test]
async fn on_sqlite_with_vault_as_issuer() {
    in_vault(InVault::Issuer, with_registry()).await;
}

#[tokio::test]
async fn on_postgresql() {
    let database = PostgresServer::shared().create_database();
    whole_life(&on(&database), None).await;
}

#[tokio::test]
async fn on_postgresql_with_vault_as_issuer() {
    let database = PostgresServer::shared().create_database();
    in_vault(InVault::Issuer, on(&database)).await;
}

#[tokio::test]
async fn in_vault_alone() {
    in_vault(InVault::Both, with_registry()).await;
}

#[tokio::test]
async fn in_vault_with_an_issuer_of_ones_own() {
    in_vault(InVault::Store, with_registry()).await;
}

fn on(database: &PostgresDatabase<'_>) -> SiteOptions {
    let store = StoreConfig {
        url: database.url(),
        password_file: None,
        ca_file: None,
    };
    SiteOptions {
        store: Some(store),
        ..with_registry()
    }
}

async fn in_vault(part: InVault, rest: SiteOptions) {
    let vault = Vault::documented().await;
    let issuer = match part {
        InVault::Store => None,
        InVault::Issuer | InVault::Both => Some(&vault),
    };
    whole_life(&vault.site(part, rest).await, issuer).await;
}

/// `issuer` is the Vault that signs, if one does.
async fn whole_life(options: &SiteOptions, issuer: Option<&Vault>) {
    let mut site = TestSite::start(options).await;
    hears_log_ins(&mut site.site).await;
    let admin = RegistryClient::admin(&site.site);
    let status = Status::of(&site, issuer);

    let enrolled = enrol(&admin, &site.devices, "0001").await;
    assert_eq!(enrolled["device"]["state"], "active", "{enrolled}");
    let (accepted, said) = status.check("0001").await;
    assert!(accepted, "{said}");
    assert_eq!(status.ocsp("0001"), "good");
    assert_eq!(
        openssl(&site.devices, "x509 -in 0001.crt -noout -subject").trim(),
        "subject=CN = device-0001.device.synadia.local"
    );
    let present = fs::read_to_string(site.devices.join("0001.csr")).unwrap();
    let path = "/v1/devices/0001/certificates";
    let again = admin.post(path, &json!({ "csr": present })).await;
    assert_eq!(again["serial"], enrolled["serial"], "not due for renewal");
    let device = site.log_in("0001").await.unwrap();

    let renewed = renew(&admin, &site.devices, "0001", "0001-next").await;
    assert_ne!(renewed["serial"], enrolled["serial"]);
    // It counts beside the new one until that has been used.
    drop(site.log_in("0001").await.unwrap());
    let next = Credentials::in_folder(&site.devices, "0001-next");
    let mut live = Device::log_in(&site.url, "0001", &next).await.unwrap();
    drop(device);
    eventually("the end of the old certificate", async || {
        let again = site.log_in("0001").await;
        matches!(again, Err(LogInError::Refused)).then_some(())
    })
    .await;
    let mark = site.mark();
    assert!(matches!(
        site.log_in("0001").await,
        Err(LogInError::Refused)
    ));
    site.logged(mark, "reason=certificate-superseded device=0001")
        .await;

    enrol(&admin, &site.devices, "0002").await;
    let reason = json!({ "reason": "key-compromise" });
    let revoked = admin.post("/v1/devices/0001/revoke", &reason).await;
    assert_eq!(revoked["state"], "revoked", "{revoked}");
    // Whatever is served after the answer holds the revocation.
    for name in ["0001", "0001-next"] {
        let (accepted, said) = status.check(name).await;
        assert!(!accepted && said.contains("revoked"), "{said}");
        assert_eq!(status.ocsp(name), "revoked");
    }
    let (accepted, said) = status.check("0002").await;
    assert!(accepted, "{said}");
    live.ended(PATIENCE).await.unwrap();
    drop(live);
    let mark = site.mark();
    let again = Device::log_in(&site.url, "0001", &next).await;
    assert!(matches!(again, Err(LogInError::Refused)), "{again:?}");
    site.logged(mark, "reason=device-revoked device=0001").await;
    let refused = admin.device(&site.devices.join("0001-next"));
    let csr = openssl_request(&site.devices, "0001-third");
    let (code, problem) = refused.try_post("/v1/renew", &json!({ "csr": csr })).await;
    assert_eq!(code, 409, "{problem}");
    assert_eq!(problem["type"], "/problems/state-illegal", "{problem}");
    if let Some(vault) = issuer {
        let serials = [&enrolled, &renewed].map(|it| it["serial"].as_str().unwrap().to_owned());
        eventually("Vault is told", async || {
            let revoked = vault.revoked().await;
            let all = serials.iter().all(|serial| revoked.contains(serial));
            all.then_some(())
        })
        .await;
    }

    let verified = admin.post("/v1/audit/verify", &json!({})).await;
    assert!(verified["events"].as_u64().unwrap() >= 8, "{verified}");
    site.site.stop().await.unwrap();
}

/// The device `present` asks for a certificate for a new key, `folder/NEXT.{crt,key}`, by the one that it has.
async fn renew(admin: &RegistryClient, folder: &Path, present: &str, next: &str) -> Value {
    let csr = openssl_request(folder, next);
    let device = admin.device(&folder.join(present));
    let renewed = device.post("/v1/renew", &json!({ "csr": csr })).await;
    keep(&renewed, &folder.join(next));
    renewed
}

/// What outside checkers find of the revocation status of certificates in the devices' folder.
struct Status {
    folder: PathBuf,
    /// Where lists are.
    crl_folder: String,
    ocsp_url: String,
    /// The file of the root.
    root: &'static str,
    /// The issuer's list.
    list: String,
    /// Whether the root's list is here too.
    has_root_list: bool,
}

impl Status {
    fn of(site: &TestSite, issuer: Option<&Vault>) -> Self {
        let registry = site.site.endpoints().registry.unwrap();
        let (crl_folder, list) = registry.crl_url.rsplit_once('/').unwrap();
        if let Some(vault) = issuer {
            fs::copy(vault.root_file(), site.devices.join("vault-root.crt")).unwrap();
        }
        Self {
            folder: site.devices.clone(),
            crl_folder: crl_folder.to_owned(),
            ocsp_url: registry.ocsp_url,
            root: match issuer {
                Some(_) => "vault-root.crt",
                None => "ca.crt",
            },
            list: match issuer {
                Some(vault) => format!("{}.crl", vault.issuer()),
                None => list.to_owned(),
            },
            has_root_list: issuer.is_none(),
        }
    }

    /// Whether openssl accepts a certificate by strict rules and the revocation lists that are served for its chain, and
    /// what it said.
    async fn check(&self, name: &str) -> (bool, String) {
        self.fetch_crl(&self.list, "devices").await;
        let lists = if self.has_root_list {
            self.fetch_crl("root.crl", "root").await;
            "-crl_check_all -CRLfile devices.pem -CRLfile root.pem"
        } else {
            "-crl_check -CRLfile devices.pem"
        };
        let (strict, root) = ("-x509_strict -purpose sslclient", self.root);
        try_openssl(
            &self.folder,
            &format!("verify {strict} -CAfile {root} {lists} -untrusted {name}.crt {name}.crt"),
        )
    }

    async fn fetch_crl(&self, list: &str, name: &str) {
        let url = format!("{}/{list}", self.crl_folder);
        let answer = reqwest::get(url).await.unwrap().error_for_status();
        let der = answer.unwrap().bytes().await.unwrap();
        fs::write(self.folder.join(name).with_extension("crl"), der).unwrap();
        openssl(
            &self.folder,
            &format!("crl -inform DER -in {name}.crl -out {name}.pem"),
        );
    }

    /// `good` or `revoked`, by an answer that openssl accepts.
    fn ocsp(&self, name: &str) -> String {
        let chain = fs::read_to_string(self.folder.join(name).with_extension("crt")).unwrap();
        let (issuer, _) = chain.match_indices("-----BEGIN").nth(1).unwrap();
        fs::write(self.folder.join("issuer.crt"), &chain[issuer..]).unwrap();
        let asked = format!("-issuer issuer.crt -cert {name}.crt -url {}", self.ocsp_url);
        let trusted = format!("-CAfile {} -verify_other issuer.crt", self.root);
        let said = openssl(&self.folder, &format!("ocsp {asked} {trusted}"));
        assert!(said.contains("Response verify OK"), "{said}");
        let status = said
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}.crt: ")));
        status.unwrap_or_else(|| panic!("{said}")).to_owned()
    }
}
