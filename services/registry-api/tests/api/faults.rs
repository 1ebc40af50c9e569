//! What is said when the store or the issuer fails in ways that real ones can't be made to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use async_trait::async_trait;
use leafgate_identity::{SerialNumber, SpkiHash, UnixMs, Validity};
use leafgate_pki::{
    Intermediate, IssueError, Issued, Issuer, OcspResponseData, PrepareError, Prepared, Profile,
    PublicKeyInfo, RevokedEntry, SignCrlError, SignOcspError,
};
use leafgate_registrar::Issuers;
use leafgate_registry::{CertificateId, Change, DeviceStore, NewCertificate};
use leafgate_runtime::SystemClock;
use leafgate_testkit::delaying_store::{DelayControl, DelayingStore, StoreFault};
use reqwest::Method;
use serde_json::json;

use crate::certificates::issue;
use crate::support::requests::csr;
use crate::support::{Answer, World, act, captured_log};

/// What fails, and when.
#[derive(Clone, Default)]
struct Faults {
    store: DelayControl,
    /// The issuer can't be reached.
    issuer_gone: Arc<AtomicBool>,
}

struct FaultyIssuer {
    inner: Arc<dyn Issuer>,
    gone: Arc<AtomicBool>,
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
        if self.gone.load(Ordering::SeqCst) {
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
        if self.gone.load(Ordering::SeqCst) {
            return Err(SignCrlError::Unavailable("pki.internal is gone".into()));
        }
        self.inner.sign_crl(entries, number, now, next_update).await
    }

    async fn sign_ocsp(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError> {
        self.inner.sign_ocsp(data).await
    }
}

async fn world() -> (World, Faults) {
    let faults = Faults::default();
    let control = faults.store.clone();
    let store =
        |inner| -> Arc<dyn DeviceStore> { Arc::new(DelayingStore::new(Arc::new(inner), control)) };
    let issuers = |issuers: Issuers| {
        let first = |intermediate| {
            Arc::new(FaultyIssuer {
                inner: issuers.of(intermediate).swap_remove(0),
                gone: Arc::clone(&faults.issuer_gone),
            })
        };
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
    faults.store.set_fault(Some(StoreFault::AnswersLost));
    let answer = disable().await;
    answer.problem("outcome-unknown");
    assert!(!answer.text.contains("db.internal"), "{}", answer.text);
    let log = captured_log();
    let mut told = log
        .lines()
        .filter(|line| line.contains("db.internal:5432 was reset"));
    assert!(told.next().unwrap().contains("unknown-outcome") && told.next().is_none());
    faults.store.set_fault(None);
    assert_eq!(disable().await.expect(200)["state"], "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_keep_changing_is_left_and_what_is_broken_is_not_told() {
    let (world, faults) = world().await;
    let api = &world.admin;
    faults.store.set_fault(Some(StoreFault::Conflicts));
    api.post("/v1/devices/0001/disable", json!({}))
        .await
        .problem("busy");
    faults.store.set_fault(Some(StoreFault::Corrupt));
    let answer = api.get("/v1/devices/0001").await;
    answer.problem("internal");
    assert!(!answer.text.contains("half-open"), "{}", answer.text);
    faults.store.set_fault(None);
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
    faults.issuer_gone.store(true, Ordering::SeqCst);
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
