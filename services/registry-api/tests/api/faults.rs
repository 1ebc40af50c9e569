//! What is said when the store or the issuer fails in ways that real ones can't be made to.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, UnixMs, Validity};
use leafgate_pki::{
    Intermediate, IssueError, Issued, Issuer, OcspResponseData, PrepareError, Prepared, Profile,
    PublicKeyInfo, RevokedEntry, SignCrlError, SignOcspError,
};
use leafgate_registrar::Issuers;
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, Change, CommitError, Crl, Cursor, DeviceRecord,
    DeviceStore, Document, DocumentKind, DocumentName, Event, FeedPosition, NewCertificate, Page,
    Query, StoreError,
};
use leafgate_runtime::SystemClock;
use leafgate_store_sql::SqliteStore;
use reqwest::Method;
use serde_json::json;

use crate::certificates::{csr, issue};
use crate::support::{Answer, World, act, captured_log};

/// What fails at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Commits are made, and the store says that it can't be reached.
    AnswersLost,
    /// Somebody else is always faster.
    Conflicts,
    /// Records can't be read.
    Corrupt,
    /// The issuer can't be reached.
    IssuerGone,
}

/// The fault that store and issuer have in common.
#[derive(Clone)]
struct Faults(Arc<Mutex<Fault>>);

impl Faults {
    fn set(&self, fault: Fault) {
        *self.0.lock().unwrap() = fault;
    }

    fn is(&self, fault: Fault) -> bool {
        *self.0.lock().unwrap() == fault
    }
}

struct FaultyStore {
    inner: SqliteStore,
    faults: Faults,
}

#[async_trait]
impl DeviceStore for FaultyStore {
    async fn load(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        if self.faults.is(Fault::Corrupt) {
            let what = format!("device {id} is in the state half-open");
            return Err(StoreError::Corrupt { what });
        }
        self.inner.load(id).await
    }

    async fn find(&self, query: &Query) -> Result<Page<DeviceRecord, DeviceId>, StoreError> {
        self.inner.find(query).await
    }

    async fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, StoreError> {
        self.inner.find_certificates(query).await
    }

    async fn crl(&self, issuer: &SpkiHash) -> Result<Option<Crl>, StoreError> {
        self.inner.crl(issuer).await
    }

    async fn document(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, StoreError> {
        self.inner.document(kind, name).await
    }

    async fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<Document, DocumentName>, StoreError> {
        self.inner.documents(kind, after, limit).await
    }

    async fn forget_expired(&self, now: UnixMs, limit: usize) -> Result<usize, StoreError> {
        self.inner.forget_expired(now, limit).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<FeedPosition, CommitError> {
        if self.faults.is(Fault::Conflicts) {
            let what = "a record".to_owned();
            return Err(CommitError::Conflict { what });
        }
        let committed = self.inner.commit(changes).await?;
        if self.faults.is(Fault::AnswersLost) {
            let gone = std::io::Error::other("the connection to db.internal:5432 was reset");
            return Err(StoreError::unavailable("db.internal:5432 is gone", gone).into());
        }
        Ok(committed)
    }

    async fn position(&self) -> Result<FeedPosition, StoreError> {
        self.inner.position().await
    }

    async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.inner.events_after(seq, limit).await
    }

    async fn wake(&self) {
        self.inner.wake().await;
    }
}

struct FaultyIssuer {
    inner: Arc<dyn Issuer>,
    faults: Faults,
}

#[async_trait]
impl Issuer for FaultyIssuer {
    fn spki(&self) -> SpkiHash {
        self.inner.spki()
    }

    fn certificate_pem(&self) -> &str {
        self.inner.certificate_pem()
    }

    fn prepare(
        &self,
        profile: Profile,
        key: PublicKeyInfo,
        now: UnixMs,
    ) -> Result<Prepared, PrepareError> {
        self.inner.prepare(profile, key, now)
    }

    async fn issue(&self, prepared: Prepared) -> Result<Issued, IssueError> {
        if self.faults.is(Fault::IssuerGone) {
            return Err(IssueError::Unavailable("pki.internal is gone".into()));
        }
        self.inner.issue(prepared).await
    }

    async fn sign_crl(
        &self,
        entries: &[RevokedEntry],
        number: u64,
        now: UnixMs,
        next_update: UnixMs,
    ) -> Result<Vec<u8>, SignCrlError> {
        if self.faults.is(Fault::IssuerGone) {
            return Err(SignCrlError::Unavailable("pki.internal is gone".into()));
        }
        self.inner.sign_crl(entries, number, now, next_update).await
    }

    async fn sign_ocsp(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError> {
        self.inner.sign_ocsp(data).await
    }
}

async fn world() -> (World, Faults) {
    let faults = Faults(Arc::new(Mutex::new(Fault::Nothing)));
    let (of_store, of_issuers) = (faults.clone(), faults.clone());
    let store = |inner| -> Arc<dyn DeviceStore> {
        let faults = of_store;
        Arc::new(FaultyStore { inner, faults })
    };
    let issuers = |issuers: Issuers| {
        let faulty = |inner| {
            let faults = of_issuers.clone();
            Arc::new(FaultyIssuer { inner, faults })
        };
        let first = |intermediate| faulty(issuers.of(intermediate).swap_remove(0));
        Issuers::new(first(Intermediate::Devices), first(Intermediate::Servers))
    };
    let clock = Arc::new(SystemClock::start());
    let (world, _) = World::start_over(clock, "", &[], store, Some(&issuers)).await;
    world.wait_for_lists().await;
    world.admin.register("0001", "pump", None).await;
    (world, faults)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_unknown_outcome_can_be_repeated_with_its_key() {
    let (world, faults) = world().await;
    let disable = async || {
        let request = world
            .admin
            .request(Method::POST, "/v1/devices/0001/disable")
            .header("idempotency-key", "once")
            .header("x-request-id", "unknown-outcome");
        Answer::of(request).await
    };
    faults.set(Fault::AnswersLost);
    let answer = disable().await;
    answer.problem("outcome-unknown");
    assert!(!answer.text.contains("db.internal"), "{}", answer.text);
    let log = captured_log();
    let mut told = log
        .lines()
        .filter(|line| line.contains("db.internal:5432 was reset"));
    assert!(told.next().unwrap().contains("unknown-outcome") && told.next().is_none());
    faults.set(Fault::Nothing);
    assert_eq!(disable().await.expect(200)["state"], "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_keep_changing_is_left_and_what_is_broken_is_not_told() {
    let (world, faults) = world().await;
    let api = &world.admin;
    faults.set(Fault::Conflicts);
    api.post("/v1/devices/0001/disable", json!({}))
        .await
        .problem("busy");
    faults.set(Fault::Corrupt);
    let answer = api.get("/v1/devices/0001").await;
    answer.problem("internal");
    assert!(!answer.text.contains("half-open"), "{}", answer.text);
    faults.set(Fault::Nothing);
    assert_eq!(
        api.get("/v1/devices/0001").await.expect(200)["state"],
        "active"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_gone_signs_nothing_and_delays_no_revocation() {
    let (world, faults) = world().await;
    let api = &world.admin;
    issue(api, "0001").await;
    faults.set(Fault::IssuerGone);
    let path = "/v1/devices/0001/certificates";
    let answer = api.post(path, json!({ "csr": csr() })).await;
    answer.problem("issuer-unavailable");
    assert!(!answer.text.contains("pki.internal"), "{}", answer.text);
    api.post("/v1/devices/0001/revoke", json!({}))
        .await
        .problem("revocation-not-served");
    assert_eq!(
        api.get("/v1/devices/0001").await.expect(200)["state"],
        "revoked"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_number_that_two_issuers_gave_out_is_not_guessed_about() {
    let (world, _) = world().await;
    let api = &world.admin;
    let issued = issue(api, "0001").await;
    let serial: SerialNumber = issued["serial"].as_str().unwrap().parse().unwrap();
    let issuer = SpkiHash::from_bytes([7; 32]);
    let twin = NewCertificate {
        id: CertificateId { issuer, serial },
        profile: "nats-server".to_owned(),
        public_key: SpkiHash::from_bytes([8; 32]),
        validity: Validity {
            not_before: UnixMs::new(0),
            not_after: UnixMs::MAX,
        },
    };
    let twin = Change::prepare_service_certificate("leaf-0", twin, &act()).unwrap();
    world.store.commit(&[twin]).await.unwrap();
    let path = format!("/v1/certificates/{serial}");
    let detail = api.get(&path).await.problem("certificate-ambiguous");
    assert!(detail.contains(&issuer.to_string()), "{detail}");
    let revoke = |name: String| format!("/v1/certificates/{name}/revoke");
    let answer = api.post(&revoke(serial.to_string()), json!({})).await;
    answer.problem("certificate-ambiguous");
    let named = format!("{issuer}:{serial}");
    let revoked = api.post(&revoke(named), json!({})).await.expect(200);
    assert_eq!(revoked["service"], "leaf-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_there_is_room_for_are_refused() {
    let world = World::start_with("[limits]\nrequests = 1").await;
    let refused = AtomicU8::new(0);
    let asks = (0..32).map(|_| async {
        let answer = world.admin.get("/v1/devices").await;
        if answer.status != 200 {
            answer.problem("overloaded");
            refused.fetch_add(1, Ordering::Relaxed);
        }
    });
    for _ in 0..100 {
        futures::future::join_all(asks.clone()).await;
        if refused.load(Ordering::Relaxed) > 0 {
            assert_eq!(world.admin.get("/v1/devices").await.status, 200);
            return;
        }
    }
    panic!("32 requests at a time found room for one each time");
}
