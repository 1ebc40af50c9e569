//! The registry under load while it is killed, and while its database is: nothing that was acknowledged is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use leafgate::local::{LocalSite, SiteOptions};
use leafgate::wiring::open_store;
use leafgate_identity::DeviceId;
use leafgate_pki::{KeyPairPem, write_csr};
use leafgate_registrar::verify_audit;
use leafgate_registry::{CertificateStatus, DeviceState, DeviceStore, EventKind};
use leafgate_runtime::{Environment, Shutdown, StoreConfig};
use leafgate_testkit::postgres::{PostgresServer, PostgresSettings};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::figures::record_fault;
use crate::support::registry_client::{RegistryClient, with_registry};
use crate::support::{TestSite, machine, scale};

/// Faults of one run, times `LEAFGATE_TEST_SCALE`.
const FAULTS: usize = 2;

/// How long the load goes on before each fault.
const BEFORE_FAULT: Duration = Duration::from_millis(1500);

/// Clients that register, issue and revoke, besides one that imports.
const CLIENTS: usize = 6;

/// Lines of one import.
const IMPORTED: usize = 40;

/// How long the registry may take to serve again once its database does.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);

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
        tokio::time::sleep(BEFORE_FAULT).await;
        tokio::task::block_in_place(|| match fault % 2 {
            0 => server.kill9(),
            _ => server.stop(),
        });
        let probe = json!({ "id": format!("down-{fault}"), "device_type": "pump" });
        let (status, problem) = admin.try_post("/v1/devices", &probe).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
        tokio::task::block_in_place(|| server.start_again());
        let back = Instant::now();
        while admin.try_post("/v1/devices", &probe).await.0 == StatusCode::SERVICE_UNAVAILABLE {
            assert!(
                back.elapsed() < RECOVERY_LIMIT,
                "the registry did not recover"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        longest = longest.max(back.elapsed());
    }
    tokio::time::sleep(BEFORE_FAULT).await;
    let acknowledged = load.end().await;
    assert_eq!(registry_pid(&mut site.site), pid);
    acknowledged.verify(&database.url()).await;
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

async fn kill_under_load(mut site: TestSite, store: &str, name: &str) {
    let mut longest = Duration::ZERO;
    let load = Load::start(RegistryClient::admin(&site.site));
    for _ in 0..FAULTS * scale() {
        tokio::time::sleep(BEFORE_FAULT).await;
        let registry = site.site.registry().unwrap().process.child_mut();
        registry.kill9().await.unwrap();
        let killed = Instant::now();
        site.site.restart_registry().await.unwrap();
        longest = longest.max(killed.elapsed());
    }
    tokio::time::sleep(BEFORE_FAULT).await;
    let acknowledged = load.end().await;
    acknowledged.verify(store).await;
    let what = format!("the registry on {name} is killed under load");
    let came = format!(
        "{acknowledged}; served again after {} ms at the latest",
        longest.as_millis()
    );
    record_fault(&what, FAULTS * scale(), &came);
    site.site.stop().await.unwrap();
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

/// What the registry has said that it did.
#[derive(Default)]
struct Acknowledged {
    registered: BTreeSet<String>,
    revoked: BTreeSet<String>,
    /// Serial numbers by device.
    issued: BTreeMap<String, String>,
}

/// Clients that go on until they are ended, whatever becomes of the registry.
struct Load {
    acknowledged: Arc<Mutex<Acknowledged>>,
    clients: JoinSet<()>,
    until: Shutdown,
}

impl Load {
    fn start(admin: RegistryClient) -> Self {
        let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
        let until = Shutdown::new();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client {
                api: admin.clone(),
                acknowledged: Arc::clone(&acknowledged),
            };
            let until = until.clone();
            clients.spawn(async move {
                for device in 0.. {
                    if until.is_cancelled() {
                        return;
                    }
                    client
                        .lead_life(&format!("c{number}-{device}"), device)
                        .await;
                }
            });
        }
        let client = Client {
            api: admin,
            acknowledged: Arc::clone(&acknowledged),
        };
        let ended = until.clone();
        clients.spawn(async move {
            for number in 0.. {
                if ended.is_cancelled() {
                    return;
                }
                client.import(number).await;
            }
        });
        Self {
            acknowledged,
            clients,
            until,
        }
    }

    async fn end(self) -> Acknowledged {
        self.until.cancel();
        self.clients.join_all().await;
        let acknowledged = Arc::into_inner(self.acknowledged).unwrap();
        acknowledged.into_inner().unwrap()
    }
}

struct Client {
    api: RegistryClient,
    acknowledged: Arc<Mutex<Acknowledged>>,
}

impl Client {
    /// A device that is registered, gets a certificate, and perhaps is revoked.
    async fn lead_life(&self, id: &str, number: usize) {
        let body = json!({ "id": id, "device_type": "pump" });
        if self.granted("/v1/devices", &body).await.is_none() {
            return;
        }
        self.note(|acknowledged| acknowledged.registered.insert(id.to_owned()));
        let key = KeyPairPem::generate().unwrap();
        let csr = write_csr(&key.private_key_pem, id).unwrap();
        let path = format!("/v1/devices/{id}/certificates");
        if let Some(issued) = self.granted(&path, &json!({ "csr": csr })).await {
            let serial = issued["serial"].as_str().unwrap().to_owned();
            self.note(|acknowledged| acknowledged.issued.insert(id.to_owned(), serial));
        }
        if number.is_multiple_of(3) {
            let path = format!("/v1/devices/{id}/revoke");
            if self.granted(&path, &json!({})).await.is_some() {
                self.note(|acknowledged| acknowledged.revoked.insert(id.to_owned()));
            }
        }
    }

    /// Many devices in one request, of which each result that arrives counts.
    async fn import(&self, number: usize) {
        let lines: String = (0..IMPORTED)
            .map(|line| format!("{{\"id\":\"i{number}-{line}\",\"device_type\":\"pump\"}}\n"))
            .collect();
        let Ok(answer) = self.api.send_lines("/v1/bulk/import", lines).await else {
            return pause().await;
        };
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            return pause().await;
        }
        assert!(answer.status().is_success(), "{answer:?}");
        let mut unfinished = Vec::new();
        let mut chunks = answer.bytes_stream();
        while let Some(Ok(chunk)) = chunks.next().await {
            unfinished.extend_from_slice(&chunk);
            while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unfinished.drain(..=end).collect();
                let result: Value = serde_json::from_slice(&line).unwrap();
                self.note_imported(&result);
            }
        }
    }

    fn note_imported(&self, result: &Value) {
        match result["outcome"].as_str() {
            Some("registered") => {
                let id = result["id"].as_str().unwrap().to_owned();
                self.note(|acknowledged| acknowledged.registered.insert(id));
            }
            Some("failed") => assert_eq!(result["problem"]["status"], 503, "{result}"),
            _ => panic!("no id is used twice: {result}"),
        }
    }

    /// The answer to what is to be granted. It may fail for want of the registry or of its database, and in no other
    /// way.
    async fn granted(&self, path: &str, body: &Value) -> Option<Value> {
        let Ok(answer) = self.api.send_post(path, body).await else {
            pause().await;
            return None;
        };
        let status = answer.status();
        // It may be cut off within the answer too.
        let answer: Value = answer.json().await.ok()?;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(answer["type"].as_str().unwrap().starts_with("/problems/"));
            pause().await;
            return None;
        }
        assert!(status.is_success(), "{path}: {status} {answer}");
        Some(answer)
    }

    fn note<T>(&self, note: impl FnOnce(&mut Acknowledged) -> T) {
        note(&mut self.acknowledged.lock().unwrap());
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (registered, issued, revoked) =
            (self.registered.len(), self.issued.len(), self.revoked.len());
        write!(
            f,
            "all of {registered} registrations, {issued} certificates and {revoked} revocations that were acknowledged are there"
        )
    }
}

impl Acknowledged {
    /// That the registry holds all of it, that every certificate was recorded before it was signed, and that the chain
    /// of events holds.
    async fn verify(&self, store: &str) {
        let store = open_store(&store_config(store), "default", &Environment::new())
            .await
            .unwrap();
        assert!(!self.revoked.is_empty() && !self.issued.is_empty());
        for id in &self.registered {
            let record = store.load(&DeviceId::parse(id).unwrap()).await.unwrap();
            let record = record.unwrap_or_else(|| panic!("{id} is lost"));
            let is_revoked = record.device.state == DeviceState::Revoked;
            assert!(is_revoked || !self.revoked.contains(id), "{id}");
            if let Some(serial) = self.issued.get(id) {
                let held = record.certificates.iter();
                let mut held = held.filter(|held| held.serial.to_string() == *serial);
                let held = held
                    .next()
                    .unwrap_or_else(|| panic!("{id}: {serial} is lost"));
                assert!(held.fingerprint.is_some(), "{id}: {serial}");
                let is_revoked = matches!(held.status, CertificateStatus::Revoked { .. });
                assert!(is_revoked || !self.revoked.contains(id), "{id}: {serial}");
            }
        }
        let prepared_first = self.certificates_prepared_first(&*store).await;
        assert!(prepared_first >= self.issued.len());
        verify_audit(&*store).await.unwrap();
    }

    async fn certificates_prepared_first(&self, store: &dyn DeviceStore) -> usize {
        let (mut seq, mut prepared, mut issued) = (0, BTreeSet::new(), 0);
        loop {
            let events = store.events_after(seq, 1_000).await.unwrap();
            let Some(last) = events.last() else {
                return issued;
            };
            seq = last.seq;
            for event in events {
                let serial = event.detail["serial"].as_str().map(str::to_owned);
                if event.kind == EventKind::CertificatePrepared {
                    prepared.insert(serial.unwrap());
                } else if event.kind == EventKind::CertificateIssued {
                    let serial = serial.unwrap();
                    assert!(prepared.contains(&serial), "{serial} was signed first");
                    issued += 1;
                }
            }
        }
    }
}
