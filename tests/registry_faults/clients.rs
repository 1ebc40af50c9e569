use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use leafgate_identity::DeviceId;
use leafgate_pki::{KeyPairPem, write_csr};
use leafgate_registrar::verify_audit;
use leafgate_registry::{CertificateStatus, DeviceState, DeviceStore, Event, EventKind};
use leafgate_runtime::Shutdown;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::registry_client::RegistryClient;

/// Clients that register, issue, renew and revoke, besides one that imports.
const CLIENTS: usize = 6;

/// Lines of one import.
const IMPORTED: usize = 40;

/// What the registry has said that it did.
#[derive(Default)]
pub struct Acknowledged {
    registered: BTreeSet<String>,
    revoked: BTreeSet<String>,
    /// Serial numbers by device.
    issued: BTreeMap<String, Vec<String>>,
    /// How many requests it said that it can't answer now.
    unavailable: usize,
}

/// Clients that go on until they are ended, whatever becomes of the registry.
pub struct Load {
    acknowledged: Arc<Mutex<Acknowledged>>,
    clients: JoinSet<()>,
    until: Shutdown,
}

impl Load {
    pub fn start(admin: RegistryClient) -> Self {
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

    /// How often all that a device goes through has been acknowledged.
    pub fn progress(&self) -> usize {
        let acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.issued.len().min(acknowledged.revoked.len())
    }

    /// How many requests the registry has said that it can't answer now.
    pub fn unavailable(&self) -> usize {
        self.acknowledged.lock().unwrap().unavailable
    }

    pub async fn end(self) -> Acknowledged {
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
    /// A device that is registered, gets a certificate, and perhaps renews it or is revoked.
    async fn lead_life(&self, id: &str, number: usize) {
        let body = json!({ "id": id, "device_type": "pump" });
        if self
            .granted(&self.api, "/v1/devices", &body)
            .await
            .is_none()
        {
            return;
        }
        self.note(|acknowledged| acknowledged.registered.insert(id.to_owned()));
        let path = format!("/v1/devices/{id}/certificates");
        let present = self.certify(&self.api, &path, id).await;
        match (number % 3, present) {
            (0, _) => {
                let path = format!("/v1/devices/{id}/revoke");
                if self.granted(&self.api, &path, &json!({})).await.is_some() {
                    self.note(|acknowledged| acknowledged.revoked.insert(id.to_owned()));
                }
            }
            (1, Some(present)) => {
                let device = self.api.identified(&present);
                self.certify(&device, "/v1/renew", id).await;
            }
            _ => {}
        }
    }

    /// Gets a certificate for a new key; the PEM of both.
    async fn certify(&self, api: &RegistryClient, path: &str, id: &str) -> Option<String> {
        let key = KeyPairPem::generate().unwrap().private_key_pem;
        let csr = write_csr(&key, id).unwrap();
        let issued = self.granted(api, path, &json!({ "csr": csr })).await?;
        let serial = issued["serial"].as_str().unwrap().to_owned();
        self.note(|acknowledged| {
            let serials = acknowledged.issued.entry(id.to_owned()).or_default();
            serials.push(serial);
        });
        Some(issued["chain"].as_str().unwrap().to_owned() + key.expose_secret())
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
            return self.refused(answer.headers()).await;
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
    async fn granted(&self, api: &RegistryClient, path: &str, body: &Value) -> Option<Value> {
        let Ok(answer) = api.send_post(path, body).await else {
            pause().await;
            return None;
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        // It may be cut off within the answer too.
        let answer: Value = answer.json().await.ok()?;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(answer["type"].as_str().unwrap().starts_with("/problems/"));
            self.refused(&headers).await;
            return None;
        }
        assert!(status.is_success(), "{path}: {status} {answer}");
        Some(answer)
    }

    /// It says when to come again.
    async fn refused(&self, headers: &HeaderMap) {
        assert!(headers.contains_key(RETRY_AFTER), "{headers:?}");
        self.note(|acknowledged| acknowledged.unavailable += 1);
        pause().await;
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
        let issued = self.issued.values().map(Vec::len).sum::<usize>();
        let (registered, revoked) = (self.registered.len(), self.revoked.len());
        write!(
            f,
            "all of {registered} registrations, {issued} certificates and {revoked} revocations that were acknowledged are there"
        )
    }
}

impl Acknowledged {
    /// That the registry holds all of it, that every certificate was recorded before it was signed, and that the chain
    /// of events holds.
    pub async fn verify(&self, store: &dyn DeviceStore) {
        assert!(!self.revoked.is_empty() && !self.issued.is_empty());
        for id in &self.registered {
            let record = store.load(&DeviceId::parse(id).unwrap()).await.unwrap();
            let record = record.unwrap_or_else(|| panic!("{id} is lost"));
            let is_revoked = record.device.state == DeviceState::Revoked;
            assert!(is_revoked || !self.revoked.contains(id), "{id}");
            for serial in self.issued.get(id).into_iter().flatten() {
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
        assert_prepared_first(&all_events(store).await, self.issued.len());
        verify_audit(store).await.unwrap();
    }

    /// The serial numbers of certificates whose devices were revoked.
    pub fn revoked_serials(&self) -> impl Iterator<Item = &String> {
        let devices = self.revoked.iter();
        devices.filter_map(|id| self.issued.get(id)).flatten()
    }
}

/// All that happened, in order.
pub async fn all_events(store: &dyn DeviceStore) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    loop {
        let seq = all.last().map_or(0, |last| last.seq);
        let page = store.events_after(seq, 1_000).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// That of at least so many certificates each was recorded before it was signed.
fn assert_prepared_first(events: &[Event], least: usize) {
    let (mut prepared, mut issued) = (BTreeSet::new(), 0);
    for event in events {
        let serial = event.detail["serial"].as_str();
        if event.kind == EventKind::CertificatePrepared {
            prepared.insert(serial.unwrap());
        } else if event.kind == EventKind::CertificateIssued {
            let serial = serial.unwrap();
            assert!(prepared.contains(serial), "{serial} was signed first");
            issued += 1;
        }
    }
    assert!(issued >= least);
}
