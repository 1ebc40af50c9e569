//! What the requests travel by.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use leafgate_identity::UnixMs;
use leafgate_registry::StoreError;
use leafgate_runtime::VaultConfig;
use leafgate_testkit::scratch_ca::{ExtendedKeyUsagePurpose, ScratchCa, ScratchLeaf};
use leafgate_testkit::store_conformance::records::{load, register};
use leafgate_testkit::vault::{VaultServer, VaultSettings};
use leafgate_vault::{Vault, VaultStore};
use tempfile::TempDir;

use crate::proxy::{Deal, Proxy};
use crate::support::{Scratch, environment};

/// For a server on 127.0.0.1, from now on for some days.
pub(super) fn server_certificate(
    ca: &ScratchCa,
) -> leafgate_testkit::scratch_ca::ScratchCertificate {
    use leafgate_runtime::Clock;
    let now: UnixMs = leafgate_runtime::SystemClock::start().now();
    let leaf = ScratchLeaf::device("vault", now)
        .with_ip_address(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .with_extended_usages(&[ExtendedKeyUsagePurpose::ServerAuth]);
    ca.sign(&leaf)
}

#[tokio::test]
async fn vaults_certificate_is_checked_with_the_ca_of_the_environment() {
    let (ca, other) = (ScratchCa::root("Vault CA"), ScratchCa::root("Another CA"));
    let server = VaultServer::start(&VaultSettings {
        tls: Some(server_certificate(&ca)),
        ..VaultSettings::default()
    });
    assert!(server.address().starts_with("https://"));
    let scratch = Scratch::on(&server).await;
    let folder = TempDir::new().unwrap();
    let connect = async |ca_pem: Option<&str>| {
        let mut environment = environment(&scratch.address, &scratch.token);
        if let Some(pem) = ca_pem {
            let path = folder.path().join("ca.pem");
            fs::write(&path, pem).unwrap();
            environment.insert("VAULT_CACERT".to_owned(), path.display().to_string());
        }
        Vault::connect(&VaultConfig::default(), &environment).await
    };
    let vault = connect(Some(ca.certificate_pem())).await.unwrap();
    let store = VaultStore::open(&vault, &scratch.config()).await.unwrap();
    let record = register(&store, "0001").await;
    assert_eq!(load(&store, "0001").await, record);

    for pem in [Some(other.certificate_pem()), None] {
        let refused = connect(pem).await;
        assert!(
            matches!(&refused, Err(StoreError::Unavailable { what, source: Some(_) }) if what.contains(&scratch.address)),
            "{refused:?}"
        );
    }
    for pem in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let refused = connect(Some(pem)).await;
        assert!(
            matches!(&refused, Err(StoreError::Unsupported { what }) if what.contains("ca.pem")),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn every_request_names_the_namespace() {
    let scratch = Scratch::new().await;
    let proxy = Proxy::start(&scratch.address).await;
    let named: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let seen = Arc::clone(&named);
    proxy.deal(move |request| {
        let namespace = request.headers.get("x-vault-namespace");
        let namespace = namespace.map(|value| value.to_str().unwrap().to_owned());
        seen.lock().unwrap().push(namespace);
        // This Vault has none: the request ends here.
        Deal::Fail
    });
    let mut environment = environment(&proxy.address, &scratch.token);
    environment.insert("VAULT_NAMESPACE".to_owned(), "team/fleet".to_owned());
    let refused = Vault::connect(&VaultConfig::default(), &environment).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
    assert_eq!(*named.lock().unwrap(), [Some("team/fleet".to_owned())]);
}

#[tokio::test]
async fn an_engine_that_is_none_or_another_is_told() {
    let scratch = Scratch::new().await;
    let open = async |mount: &str| {
        let mut config = scratch.config();
        config.mount = mount.to_owned();
        let opened = VaultStore::open(&scratch.vault().await, &config).await;
        match opened {
            Err(StoreError::Unsupported { what }) => what,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{mount} was opened"),
        }
    };
    let old = format!("old-{}", scratch.mount);
    let engine = serde_json::json!({ "type": "kv", "options": { "version": "1" } });
    scratch
        .admin
        .request("POST", &format!("sys/mounts/{old}"), engine)
        .await;
    let what = open(&old).await;
    assert!(what.contains("vault kv enable-versioning"), "{what}");
    let what = open("nowhere").await;
    assert!(what.contains("vault secrets enable"), "{what}");
}
