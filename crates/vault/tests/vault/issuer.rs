//! The PKI engine as an issuer.

use std::path::PathBuf;
use std::time::Duration;

use leafgate_identity::{CnPattern, DeviceId, UnixMs};
use leafgate_pki::{
    Inventory, IssueError, Issued, Issuer, KeyPairPem, OcspResponseData, Profile, StatusUrl,
    certificate_serial,
};
use leafgate_registry::StoreError;
use leafgate_runtime::{Clock, SystemClock, VaultConfig};
use leafgate_testkit::issuer_conformance::{issuer_conformance, issuer_is_out_of_reach};
use leafgate_testkit::store_conformance::records::within;
use leafgate_testkit::vault::{VaultServer, VaultSettings, documented_commands};
use leafgate_vault::{Vault, VaultIssuer, VaultIssuerConfig};
use serde_json::json;
use tempfile::TempDir;

use crate::proxy::{Deal, Proxy};
use crate::support::{Scratch, environment};

/// A Vault that was set up as the document says, and a log-in with the policy that it ships.
pub(crate) struct Documented {
    server: VaultServer,
    pub(crate) scratch: Scratch,
    folder: TempDir,
}

impl Documented {
    pub(crate) async fn new() -> Self {
        let server = VaultServer::start(&VaultSettings::default());
        let folder = tempfile::tempdir().unwrap();
        let admin = server.admin();
        admin
            .run_commands(&documented_commands(), folder.path())
            .await;
        let token = admin.create_token(&["leafgate-issuer"]).await;
        let scratch = Scratch {
            address: server.address().to_owned(),
            token,
            mount: "secret".to_owned(),
            admin,
        };
        Self {
            server,
            scratch,
            folder,
        }
    }

    fn root(&self) -> String {
        std::fs::read_to_string(self.path("root.pem")).unwrap()
    }

    /// A file that was written as the document says, or is about to be.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn try_issuer(&self, role: &str) -> Result<VaultIssuer, StoreError> {
        let vault = self.scratch.vault().await;
        VaultIssuer::open(&vault, &config(role)).await
    }

    pub(crate) async fn issuer(&self, role: &str) -> VaultIssuer {
        let issuer = self.try_issuer(role).await.unwrap();
        let base = StatusUrl::parse("http://pki.example.org:8080").unwrap();
        issuer.with_status_under(&base).await.unwrap()
    }

    pub(crate) async fn write(&self, path: &str, body: serde_json::Value) {
        self.scratch.admin.request("POST", path, body).await;
    }
}

pub(crate) fn config(role: &str) -> VaultIssuerConfig {
    VaultIssuerConfig {
        mount: VaultIssuerConfig::DEFAULT_MOUNT.to_owned(),
        issuer: "default".to_owned(),
        role: role.to_owned(),
        ocsp_role: VaultIssuerConfig::DEFAULT_OCSP_ROLE.to_owned(),
    }
}

/// Vault has a clock of its own.
pub(crate) fn now() -> UnixMs {
    SystemClock::start().now()
}

pub(crate) fn device(id: &str) -> Profile {
    Profile::device(&CnPattern::default(), &DeviceId::parse(id).unwrap()).unwrap()
}

pub(crate) async fn issue(issuer: &VaultIssuer, profile: Profile) -> Result<Issued, IssueError> {
    let key = KeyPairPem::generate().unwrap().public;
    let prepared = issuer.prepare(profile, key, now()).unwrap();
    issuer.issue(prepared).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_what_every_issuer_must() {
    let documented = Documented::new().await;
    let root = documented.root();
    let devices = documented.issuer("device-mtls").await;
    for id in ["0001", "pump_7", "Pump-07"] {
        issuer_conformance(&devices, &root, device(id), now()).await;
    }
    let client = Profile::nats_client("callout-0", &[CnPattern::default()]).unwrap();
    issuer_conformance(&devices, &root, client, now()).await;
    let servers = documented.issuer("nats-cluster").await;
    let addresses = ["10.0.0.1", "2001:db8::1"].map(|text| text.parse().unwrap());
    let names = ["leaf-1", "*.leaf.example.org"];
    let server = Profile::nats_server(&names, &addresses, &[CnPattern::default()]).unwrap();
    issuer_conformance(&servers, &root, server, now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_vault_signs_again_when_it_is_unsealed() {
    let documented = Documented::new().await;
    let issuer = documented.issuer("device-mtls").await;
    documented.scratch.admin.seal().await;
    issuer_is_out_of_reach(&issuer, &device("0001"), now()).await;
    documented.scratch.admin.unseal().await;
    let mut outcome = issue(&issuer, device("0001")).await;
    for _ in 0..3_000 {
        if outcome.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        outcome = issue(&issuer, device("0001")).await;
    }
    outcome.unwrap();
    documented.server.stop();
    issuer_is_out_of_reach(&issuer, &device("0001"), now()).await;
}

/// Vault takes the request and says nothing, for longer than anybody waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ocsp_answers_do_not_wait_for_a_responder_that_is_due_for_renewal() {
    let documented = Documented::new().await;
    let proxy = Proxy::start(&documented.scratch.address).await;
    let token = &documented.scratch.token;
    let patient = VaultConfig {
        timeout_ms: Some(u32::MAX),
        ..VaultConfig::default()
    };
    let vault = Vault::connect(&patient, &environment(&proxy.address, token)).await;
    let issuer = VaultIssuer::open(&vault.unwrap(), &config("device-mtls")).await;
    let issuer = issuer.unwrap();
    let hour = Duration::from_secs(3600);
    let (start, answered) = (now(), async |at: UnixMs| {
        let data = OcspResponseData {
            responses: Vec::new(),
            nonce: None,
            produced_at: at,
            this_update: at,
            next_update: at.saturating_add(hour),
        };
        let answer = issuer.sign_ocsp(&data).await;
        answer.unwrap();
    });
    answered(start).await;
    proxy.deal(
        |request| match request.path.ends_with("/sign/ocsp-responder") {
            true => Deal::Hold,
            false => Deal::Pass,
        },
    );
    let late = start.saturating_add(13 * hour);
    for _ in 0..3 {
        within(Duration::from_secs(60), "an answer", answered(late)).await;
    }
    proxy.dealt().await;
    // The next certificate comes without anybody's waiting, and is one of its own time.
    proxy.release();
    within(
        Duration::from_secs(60),
        "an answer",
        answered(start.saturating_add(23 * hour + hour / 2)),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_signed_is_found_and_revoked() {
    let documented = Documented::new().await;
    let issuer = documented.issuer("device-mtls").await;
    let issued = issue(&issuer, device("0001")).await.unwrap();
    assert!(issuer.serials().await.unwrap().contains(&issued.serial));
    let der = issuer.certificate(&issued.serial).await.unwrap().unwrap();
    assert_eq!(certificate_serial(&der), Some(issued.serial));
    assert_eq!(issuer.revoked().await.unwrap(), []);
    issuer.revoke(&issued.serial).await.unwrap();
    issuer.revoke(&issued.serial).await.unwrap();
    assert_eq!(issuer.revoked().await.unwrap(), [issued.serial]);
    let unknown = "0102030405060708".parse().unwrap();
    assert_eq!(issuer.certificate(&unknown).await.unwrap(), None);
    issuer.revoke(&unknown).await.unwrap();
}

/// Whatever a role says, what comes of it is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_says_something_else_is_refused_by_its_number() {
    let documented = Documented::new().await;
    let issuer = documented.issuer("device-mtls").await;
    let role = "pki-int/roles/device-mtls";
    let found = documented.scratch.admin.request("GET", role, json!(null));
    let good = found.await["data"].clone();
    for (name, value, told) in [
        (
            "use_csr_common_name",
            json!(true),
            "use_csr_common_name=false",
        ),
        ("use_csr_sans", json!(true), "use_csr_sans=false"),
        ("server_flag", json!(true), "server_flag=false"),
        ("client_flag", json!(false), "client_flag=true"),
        (
            "key_usage",
            json!(["CertSign"]),
            "key_usage=DigitalSignature",
        ),
        ("organization", json!(["Example"]), "no organization"),
        (
            "policy_identifiers",
            json!(["1.2.3.4"]),
            "policy_identifiers",
        ),
        ("not_after", json!("2030-01-01T00:00:00Z"), "no not_after"),
        ("not_before_duration", json!("48h"), "not_before_duration"),
    ] {
        let mut role_with = good.clone();
        role_with[name] = value;
        documented.write(role, role_with).await;
        let csr = leafgate_pki::write_csr(
            &KeyPairPem::generate().unwrap().private_key_pem,
            "device-9999.device.synadia.local",
        );
        let key = leafgate_pki::PublicKeyInfo::from_csr_pem(&csr.unwrap()).unwrap();
        let prepared = issuer.prepare(device("0001"), key, now()).unwrap();
        match issuer.issue(prepared).await {
            Err(IssueError::Unfit { serial, source }) => {
                assert!(source.to_string().contains(told), "{name}: {source}");
                assert!(issuer.certificate(&serial).await.unwrap().is_some());
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    documented.write(role, good).await;
    issue(&issuer, device("0001")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_up_wrong_is_told_at_the_start() {
    let documented = Documented::new().await;
    let refused = async |role: &str| documented.try_issuer(role).await.unwrap_err().to_string();
    // The policy names the roles that it allows.
    let unknown = documented.server.admin();
    let scratch = Scratch {
        token: documented.server.root_token().to_owned(),
        address: documented.server.address().to_owned(),
        mount: "secret".to_owned(),
        admin: unknown,
    };
    let vault = scratch.vault().await;
    let missing = VaultIssuer::open(&vault, &config("other"))
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("no role other"), "{missing}");
    let elsewhere = VaultIssuerConfig {
        mount: "nowhere".to_owned(),
        ..config("device-mtls")
    };
    let missing = VaultIssuer::open(&vault, &elsewhere).await.unwrap_err();
    assert!(missing.to_string().contains("docs/vault.md"), "{missing}");

    let other = StatusUrl::parse("http://other.example.org").unwrap();
    let issuer = documented.try_issuer("device-mtls").await.unwrap();
    let told = issuer
        .with_status_under(&other)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        told.contains(
            "vault write pki-int/config/urls crl_distribution_points=http://other.example.org/crl/"
        ),
        "{told}"
    );
    documented
        .write("pki-int/roles/device-mtls", json!({ "client_flag": true }))
        .await;
    let told = refused("device-mtls").await;
    assert!(
        told.contains("vault patch pki-int/roles/device-mtls use_csr_common_name=false"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_the_supported_length_is_signed() {
    let documented = Documented::new().await;
    let issuer = documented.issuer("device-mtls").await;
    let entry = |number: u32| leafgate_pki::RevokedEntry {
        serial: leafgate_identity::SerialNumber::from_be_bytes(
            &[&[1; 16][..], &number.to_be_bytes()].concat(),
        )
        .unwrap(),
        revoked_at: now(),
        reason: leafgate_pki::CrlReason::CessationOfOperation,
    };
    let hour = now().saturating_add(std::time::Duration::from_secs(3600));
    let supported: Vec<_> = (0..10_000).map(entry).collect();
    issuer.sign_crl(&supported, 1, now(), hour).await.unwrap();
    let more: Vec<_> = (0..10_001).map(entry).collect();
    let refused = issuer.sign_crl(&more, 2, now(), hour).await.unwrap_err();
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert!(cause.contains("max_json_array_element_count"), "{cause}");
}
