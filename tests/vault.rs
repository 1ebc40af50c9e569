//! The registry in Vault, with Vault as the issuer, on a Vault that was set up as docs/vault.md says, each program with the
//! policies that it ships.

use std::fs;
use std::path::Path;

use leafgate::local::{LogInError, ServiceOptions, SiteOptions, TrustDomainOptions};
use leafgate_identity::{CnPattern, SpkiHash, spki_hash_of_certificate_pem};
use leafgate_runtime::StoreConfig;
use leafgate_testkit::vault::{VaultAdmin, VaultServer, VaultSettings, documented_commands};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::registry_client::{
    RegistryClient, enrol, hears_log_ins, keep, openssl, openssl_request, try_openssl,
    with_registry,
};
use crate::support::{PATIENCE, TestSite, eventually, options};

/// A Vault, set up.
struct Vault {
    server: VaultServer,
    admin: VaultAdmin,
    folder: TempDir,
    registry_token: String,
    callout_token: String,
}

impl Vault {
    async fn documented() -> Self {
        let server = VaultServer::start(&VaultSettings::default());
        let admin = server.admin();
        let folder = tempfile::tempdir().unwrap();
        admin
            .run_commands(&documented_commands(), folder.path())
            .await;
        let registry = ["leafgate-registry", "leafgate-issuer"];
        Self {
            registry_token: admin.create_token(&registry).await,
            callout_token: admin.create_token(&["leafgate-callout"]).await,
            server,
            admin,
            folder,
        }
    }

    fn environment(&self, token: &str) -> Vec<(String, String)> {
        [
            ("VAULT_ADDR", self.server.address()),
            ("VAULT_TOKEN", token),
            ("LEAFGATE_STATUS__URL", "http://pki.example.org:8080"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// The site whose registry is here.
    fn site(&self, issues: bool) -> SiteOptions {
        let ServiceOptions {
            program,
            mut environment,
        } = with_registry().registry.unwrap();
        environment.extend(self.environment(&self.registry_token));
        let plain = options();
        SiteOptions {
            registry: Some(ServiceOptions {
                program,
                environment,
            }),
            callout: ServiceOptions {
                environment: self.environment(&self.callout_token)[..2].to_vec(),
                ..plain.callout
            },
            store: Some(StoreConfig {
                url: "vault:secret".to_owned(),
                password_file: None,
                ca_file: None,
            }),
            vault_ca: issues.then(|| self.folder.path().join("root.pem")),
            trust_domains: vec![TrustDomainOptions {
                name: "default".to_owned(),
                issuer: self.folder.path().join("devices.pem"),
                cn_pattern: CnPattern::default().to_string(),
            }],
            ..options()
        }
    }

    fn issuer(&self) -> SpkiHash {
        let pem = fs::read_to_string(self.folder.path().join("devices.pem")).unwrap();
        spki_hash_of_certificate_pem(&pem).unwrap()
    }

    /// The serial numbers that the PKI engine has revoked, in the registry's spelling.
    async fn revoked(&self) -> Vec<String> {
        let (_, answer) = self
            .admin
            .try_request("LIST", "pki-int/certs/revoked", Value::Null)
            .await;
        let keys = answer.pointer("/data/keys").and_then(Value::as_array);
        let keys = keys.into_iter().flatten().filter_map(Value::as_str);
        keys.map(|key| key.replace(':', "")).collect()
    }
}

#[tokio::test]
async fn a_device_lives_in_vault_from_registration_to_revocation() {
    let vault = Vault::documented().await;
    let mut site = TestSite::start(&vault.site(true)).await;
    hears_log_ins(&mut site.site).await;
    let admin = RegistryClient::admin(&site.site);
    let root = vault.folder.path().join("root.pem");
    fs::copy(&root, site.devices.join("vault-root.pem")).unwrap();

    let device = json!({ "id": "0001", "device_type": "pump" });
    let made = admin.post("/v1/devices", &device).await;
    assert_eq!(made["state"], "active", "{made}");
    let csr = openssl_request(&site.devices, "0001");
    let issued = admin
        .post("/v1/devices/0001/certificates", &json!({ "csr": csr }))
        .await;
    keep(&issued, &site.devices.join("0001"));
    let strict = "-x509_strict -purpose sslclient -CAfile vault-root.pem";
    let (accepted, said) = try_openssl(
        &site.devices,
        &format!("verify {strict} -untrusted 0001.crt 0001.crt"),
    );
    assert!(accepted, "{said}");
    let text = openssl(&site.devices, "x509 -in 0001.crt -noout -text");
    assert!(
        text.contains("CN = device-0001.device.synadia.local"),
        "{text}"
    );
    let again = admin
        .post("/v1/devices/0001/certificates", &json!({ "csr": csr }))
        .await;
    assert_eq!(again["serial"], issued["serial"], "not due for renewal");
    let mut live = site.log_in("0001").await.unwrap();
    assert!(ocsp(&site, "0001").ends_with("good"));

    // Enrolment and renewal go the same way.
    let enrolled = enrol(&admin, &site.devices, "0002").await;
    assert_eq!(enrolled["device"]["state"], "active", "{enrolled}");
    drop(site.log_in("0002").await.unwrap());
    let next = openssl_request(&site.devices, "0002-next");
    let renewing = admin.device(&site.devices.join("0002"));
    let renewed = renewing.post("/v1/renew", &json!({ "csr": next })).await;
    assert_ne!(renewed["serial"], enrolled["serial"]);

    let serial = issued["serial"].as_str().unwrap().to_owned();
    let reason = json!({ "reason": "key-compromise" });
    let revoked = admin.post("/v1/devices/0001/revoke", &reason).await;
    assert_eq!(revoked["state"], "revoked", "{revoked}");
    assert!(ocsp(&site, "0001").ends_with("revoked"));
    let (accepted, said) = with_list(&vault, &site, "0001").await;
    assert!(!accepted && said.contains("revoked"), "{said}");
    let (accepted, said) = with_list(&vault, &site, "0002").await;
    assert!(accepted, "{said}");
    live.ended(PATIENCE).await.unwrap();
    let mark = site.mark();
    let refused = site.log_in("0001").await;
    assert!(matches!(refused, Err(LogInError::Refused)), "{refused:?}");
    site.logged(mark, "reason=device-revoked device=0001").await;
    eventually("Vault is told", async || {
        vault.revoked().await.contains(&serial).then_some(())
    })
    .await;

    let verified = admin.post("/v1/audit/verify", &json!({})).await;
    assert!(verified["events"].as_u64().unwrap() >= 8, "{verified}");
    site.site.stop().await.unwrap();
}

#[tokio::test]
async fn a_sealed_vault_is_told_of_and_an_unsealed_one_goes_on() {
    let vault = Vault::documented().await;
    let mut site = TestSite::start(&vault.site(true)).await;
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
    let site = TestSite::start(&vault.site(false)).await;
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

/// `FILE: good` or `FILE: revoked`, by an answer that openssl accepts.
fn ocsp(site: &TestSite, name: &str) -> String {
    let url = site.site.endpoints().registry.unwrap().ocsp_url;
    let chain = fs::read_to_string(site.devices.join(name).with_extension("crt")).unwrap();
    let (issuer, _) = chain.match_indices("-----BEGIN").nth(1).unwrap();
    fs::write(site.devices.join("issuer.crt"), &chain[issuer..]).unwrap();
    let asked = format!("-issuer issuer.crt -cert {name}.crt -url {url}");
    let trusted = "-CAfile vault-root.pem -verify_other issuer.crt";
    let said = openssl(&site.devices, &format!("ocsp {asked} {trusted}"));
    assert!(said.contains("Response verify OK"), "{said}");
    let mut lines = said.lines();
    let prefix = format!("{name}.crt: ");
    lines
        .find(|line| line.starts_with(&prefix))
        .unwrap_or_else(|| panic!("{said}"))
        .to_owned()
}

/// Whether openssl accepts a certificate by the revocation list that is served, and what it said.
async fn with_list(vault: &Vault, site: &TestSite, name: &str) -> (bool, String) {
    let url = site.site.endpoints().registry.unwrap().crl_url;
    let (base, _) = url.rsplit_once('/').unwrap();
    let url = format!("{base}/{}.crl", vault.issuer());
    let answer = reqwest::get(url).await.unwrap().error_for_status();
    let list = answer.unwrap().bytes().await.unwrap();
    let file = Path::new(&site.devices).join("list.crl");
    fs::write(file, list).unwrap();
    openssl(&site.devices, "crl -inform DER -in list.crl -out list.pem");
    let lists = "-crl_check -CRLfile list.pem -CAfile vault-root.pem";
    try_openssl(
        &site.devices,
        &format!("verify -x509_strict {lists} -untrusted {name}.crt {name}.crt"),
    )
}
