//! The shipped Vault policies grant what is needed, and no more.

use leafgate_identity::UnixMs;
use leafgate_registry::{
    Action, CertificateQuery, Change, CommitError, DeviceStore, DocumentKind, DocumentName,
    DocumentWrite, EventKind, Query, RevocationReason, StoreError,
};
use leafgate_testkit::store_conformance::records::{
    act, all_events, apply, certificate_id, load, new_certificate, new_device, number_crl,
    register, register_with_certificate,
};
use leafgate_testkit::vault::{VaultServer, VaultSettings};
use leafgate_vault::VaultStore;
use serde_json::{Value, json};

use crate::proxy::{Deal, Proxy};
use crate::support::Scratch;

const CALLOUT: &str = include_str!("../../../../policies/vault/callout.hcl");
const REGISTRY: &str = include_str!("../../../../policies/vault/registry.hcl");

/// An engine at the mount that the policies name, with a token of each policy, which have no other.
struct Shipped {
    /// Ends when dropped.
    _server: VaultServer,
    scratch: Scratch,
    callout: String,
    registry: String,
}

impl Shipped {
    async fn new() -> Self {
        let server = VaultServer::start(&VaultSettings::default());
        let admin = server.admin();
        admin.mount_kv_at("secret").await;
        admin.put_policy("callout", CALLOUT).await;
        admin.put_policy("registry", REGISTRY).await;
        let scratch = Scratch {
            address: server.address().to_owned(),
            token: server.root_token().to_owned(),
            mount: "secret".to_owned(),
            admin,
        };
        let token = async |policy: &str| {
            let wish = json!({ "policies": [policy], "no_default_policy": true, "ttl": "1h" });
            let made = scratch.admin.request("POST", "auth/token/create", wish);
            made.await["auth"]["client_token"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        Self {
            callout: token("callout").await,
            registry: token("registry").await,
            _server: server,
            scratch,
        }
    }

    async fn writer(&self, address: &str) -> VaultStore {
        let vault = self.scratch.vault_at(address, &self.registry).await;
        VaultStore::open(&vault, &self.scratch.config())
            .await
            .unwrap()
    }

    /// The status of a request with a token, to an engine's path.
    async fn status(&self, token: &str, method: &str, path: &str, body: Value) -> u16 {
        let admin = self.scratch.admin.with_token(token);
        let (status, _) = admin
            .try_request(method, &format!("secret/{path}"), body)
            .await;
        status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callout_reads_devices_and_the_feed_and_writes_nothing() {
    let shipped = Shipped::new().await;
    let scratch = &shipped.scratch;
    let vault = scratch
        .vault_at(&shipped.scratch.address, &shipped.callout)
        .await;
    let reader = VaultStore::open_read_only(&vault, &scratch.config())
        .await
        .unwrap();
    let seed = json!({ "registered_at": "2026-03-01T12:00:00Z", "status": "active", "device_type": "iot-sensor" });
    scratch.put("devices/seeded", seed).await;
    assert!(load(&reader, "seeded").await.device.state.admits());

    let writer = scratch.store().await;
    let record = register_with_certificate(&writer, "0001", certificate_id(1)).await;
    assert_eq!(load(&reader, "0001").await, record);
    assert_eq!(all_events(&reader).await.len(), 3);
    reader.wake().await;
    let many: Vec<_> = (0..100)
        .map(|n| Change::register(None, new_device(&format!("d{n}")), &act(1)).unwrap())
        .collect();
    writer.commit(&many).await.unwrap();
    load(&reader, "d99").await;

    let change = Change::transition(&record, Action::Disable, &act(9)).unwrap();
    let refused = reader.commit(&[change]).await;
    let Err(CommitError::Store(StoreError::Unsupported { what })) = refused else {
        panic!("{refused:?}")
    };
    assert!(what.contains("for reading only"), "{what}");

    let document = json!({ "data": { "status": "active" } });
    for path in [
        "devices/0001",
        "devices/new",
        "leafgate/devices/0001",
        "leafgate/head",
        "leafgate/events/00000000000000000001",
        "leafgate/events/00000000000000009999",
        "leafgate/commits/x/0",
        "leafgate/documents/api-key/x",
    ] {
        for (method, folder) in [("POST", "data"), ("DELETE", "data"), ("DELETE", "metadata")] {
            let path = format!("{folder}/{path}");
            let body = if method == "POST" {
                document.clone()
            } else {
                Value::Null
            };
            let status = shipped.status(&shipped.callout, method, &path, body).await;
            assert_eq!(status, 403, "{method} {path}");
        }
    }
    for path in [
        "data/leafgate/documents/api-key/x",
        "data/leafgate/certificates/x/y",
        "data/other",
    ] {
        let status = shipped
            .status(&shipped.callout, "GET", path, Value::Null)
            .await;
        assert_eq!(status, 403, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_does_its_work_and_overwrites_no_event() {
    let shipped = Shipped::new().await;
    let scratch = &shipped.scratch;
    let store = shipped.writer(&scratch.address).await;
    let record = register_with_certificate(&store, "0001", certificate_id(1)).await;
    let service = new_certificate(certificate_id(2));
    let service = Change::prepare_service_certificate("leaf-1", service, &act(4)).unwrap();
    let name = DocumentName::parse("r").unwrap();
    let ends = Some(UnixMs::new(9_000));
    let request = DocumentWrite::new(DocumentKind::Request, name, json!({}), ends);
    let note = Change::note(EventKind::ApiKeyCreated, json!({}), &act(5)).with_document(request);
    store
        .commit(&[service, number_crl(None, 1), note])
        .await
        .unwrap();
    let revoke = Change::revoke(&record, RevocationReason::KeyCompromise, &act(6)).unwrap();
    let revoked = apply(&store, revoke).await;
    assert_eq!(load(&store, "0001").await, revoked);
    let many: Vec<_> = (0..100)
        .map(|n| Change::register(None, new_device(&format!("d{n}")), &act(1)).unwrap())
        .collect();
    store.commit(&many).await.unwrap();
    let forgotten = store.forget_expired(UnixMs::new(9_000), 10).await;
    assert_eq!(forgotten.unwrap(), 1);
    let page = store.find(&Query::default()).await.unwrap();
    assert_eq!(page.items.len(), 100);
    for query in [
        CertificateQuery::default(),
        CertificateQuery {
            status: Some(leafgate_registry::CertificateStatusKind::Revoked),
            ..CertificateQuery::default()
        },
        CertificateQuery {
            public_key: Some(new_certificate(certificate_id(1)).public_key),
            ..CertificateQuery::default()
        },
    ] {
        let page = store.find_certificates(&query).await.unwrap();
        assert!(!page.items.is_empty(), "{query:?}");
    }
    scratch.settled().await;
    shipped.writer(&scratch.address).await;

    let forged = json!({ "data": { "actor": "nobody" } });
    for path in [
        "leafgate/events/00000000000000000001",
        &format!(
            "leafgate/certificates/{}/{}",
            certificate_id(1).issuer,
            certificate_id(1).serial
        ),
        &format!(
            "leafgate/revoked/{}/000000001000000-{}",
            certificate_id(1).issuer,
            certificate_id(1).serial
        ),
    ] {
        scratch.get(path).await;
        for (method, folder) in [
            ("POST", "data"),
            ("PATCH", "data"),
            ("DELETE", "data"),
            ("POST", "delete"),
            ("POST", "destroy"),
            ("DELETE", "metadata"),
            ("POST", "metadata"),
        ] {
            let body = match folder {
                "data" => forged.clone(),
                "metadata" => json!({ "max_versions": 1 }),
                _ => json!({ "versions": [1] }),
            };
            let path = format!("{folder}/{path}");
            let status = shipped.status(&shipped.registry, method, &path, body).await;
            assert_eq!(status, 403, "{method} {path}");
        }
    }
    for (method, path) in [
        ("DELETE", "metadata/devices/0001"),
        ("DELETE", "metadata/leafgate/devices/0001"),
        ("DELETE", "metadata/leafgate/head"),
        ("GET", "data/other"),
        ("POST", "config"),
    ] {
        let status = shipped
            .status(&shipped.registry, method, path, Value::Null)
            .await;
        assert_eq!(status, 403, "{method} {path}");
    }
}

/// What is carried out already, and may not be written twice, is found to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_goes_on_after_another_that_died() {
    let shipped = Shipped::new().await;
    let scratch = &shipped.scratch;
    let proxy = Proxy::start(&scratch.address).await;
    let dying = shipped.writer(&proxy.address).await;
    let mut heads = 0;
    proxy.deal(move |request| {
        heads += usize::from(request.writes_the_head());
        match heads {
            0 | 1 => Deal::Pass,
            _ => Deal::Swallow,
        }
    });
    let change = Change::register(None, new_device("0001"), &act(1)).unwrap();
    let record = change.device_after().unwrap().clone();
    let prepare = Change::prepare_certificate(&record, new_certificate(certificate_id(1)), &act(2));
    let prepare = prepare.unwrap();
    let record = prepare.device_after().unwrap().clone();
    dying.commit(&[change, prepare]).await.unwrap();
    proxy.dealt().await;
    assert_ne!(scratch.get("leafgate/head").await["writes"], json!([]));

    let store = shipped.writer(&scratch.address).await;
    register(&store, "0002").await;
    assert_eq!(load(&store, "0001").await, record);
    scratch.settled().await;
}
