//! Issuers that draw serial numbers when they sign: what they signed and nobody recorded is found, and nothing else is
//! taken for it, whatever happens meanwhile. How it goes with a real one is in the tests of leafgate-vault.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use leafgate_identity::{SerialNumber, SpkiHash, UnixMs};
use leafgate_pki::{
    EmbeddedCa, Intermediate, Inventory, InventoryError, IssueError, Issued, Issuer,
    OcspResponseData, PrepareError, Prepared, Profile, PublicKeyInfo, RevokedEntry, SignCrlError,
    SignOcspError,
};
use leafgate_registrar::{
    CertificateKey, Issuers, KeptRequests, Registrar, RegistrarError, RequestKeeper, Service,
};
use leafgate_registry::{CertificateStatusKind, RevocationReason};

use crate::support::{Bench, NOW, act, act_at, id, openssl_csr, random, statuses};

over_every_store!(
    a_certificate_signed_during_the_search_is_found_later,
    a_key_asked_for_again_during_the_search_keeps_its_certificates,
    a_certificate_recorded_during_the_search_is_not_revoked,
    a_service_whose_key_is_compromised_while_it_is_signed_gets_no_certificate,
);

/// Longer than any request is left alone.
const PATIENCE: Duration = Duration::from_secs(300);

type Meanwhile = BoxFuture<'static, ()>;

/// An issuer elsewhere, which keeps account of what it signs.
struct Elsewhere {
    ca: EmbeddedCa,
    signed: Mutex<Vec<(SerialNumber, Vec<u8>)>>,
    revoked: Mutex<Vec<SerialNumber>>,
    /// Whether its certificates don't arrive.
    loses_answers: AtomicBool,
    /// Happens once what it signed next is signed, and before that arrives.
    before_answer: Mutex<Option<Meanwhile>>,
    /// Happens before it makes the next list of what it signed.
    before_list: Mutex<Option<Meanwhile>>,
    /// Happens before it shows the next certificate.
    before_certificate: Mutex<Option<Meanwhile>>,
}

impl Elsewhere {
    fn new(bench: &Bench) -> Arc<Self> {
        Arc::new(Self {
            ca: bench.ca.load(Intermediate::Devices).unwrap(),
            signed: Mutex::default(),
            revoked: Mutex::default(),
            loses_answers: AtomicBool::new(false),
            before_answer: Mutex::default(),
            before_list: Mutex::default(),
            before_certificate: Mutex::default(),
        })
    }

    fn registrar(self: &Arc<Self>, bench: &Bench) -> Registrar {
        let servers = Arc::new(bench.ca.load(Intermediate::Servers).unwrap());
        let issuers = Issuers::new(self.clone(), servers);
        Registrar::new(bench.store.clone(), issuers, bench.domains.clone(), random)
    }

    fn lose_answers(&self) {
        self.loses_answers.store(true, Ordering::SeqCst);
    }

    fn signed(&self) -> Vec<SerialNumber> {
        let signed = self.signed.lock().unwrap();
        signed.iter().map(|(serial, _)| *serial).collect()
    }

    fn revoked(&self) -> Vec<SerialNumber> {
        let mut revoked = self.revoked.lock().unwrap().clone();
        revoked.sort_unstable();
        revoked
    }
}

async fn happen(what: &Mutex<Option<Meanwhile>>) {
    let planned = mem::take(&mut *what.lock().unwrap());
    if let Some(planned) = planned {
        planned.await;
    }
}

#[async_trait]
impl Issuer for Elsewhere {
    fn spki(&self) -> SpkiHash {
        self.ca.spki()
    }

    fn certificate_pem(&self) -> &str {
        self.ca.certificate_pem()
    }

    fn prepare(
        &self,
        profile: Profile,
        key: PublicKeyInfo,
        now: UnixMs,
    ) -> Result<Prepared, PrepareError> {
        let settled = self.ca.prepare(profile.clone(), key.clone(), now)?;
        let validity = settled.validity();
        Ok(Prepared::new(self.spki(), profile, key, None, validity))
    }

    async fn issue(&self, prepared: Prepared) -> Result<Issued, IssueError> {
        let (profile, key) = (prepared.profile().clone(), prepared.public_key().clone());
        let issued = self.ca.issue(self.ca.prepare(profile, key, NOW).unwrap());
        let issued = issued.await?;
        let der = pem::parse(&issued.certificate_pem).unwrap().into_contents();
        self.signed.lock().unwrap().push((issued.serial, der));
        happen(&self.before_answer).await;
        if self.loses_answers.load(Ordering::SeqCst) {
            return Err(IssueError::Unavailable("planned fault".into()));
        }
        Ok(issued)
    }

    async fn sign_crl(
        &self,
        entries: &[RevokedEntry],
        number: u64,
        now: UnixMs,
        next_update: UnixMs,
    ) -> Result<Vec<u8>, SignCrlError> {
        self.ca.sign_crl(entries, number, now, next_update).await
    }

    async fn sign_ocsp(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError> {
        self.ca.sign_ocsp(data).await
    }

    fn inventory(&self) -> Option<&dyn Inventory> {
        Some(self)
    }
}

#[async_trait]
impl Inventory for Elsewhere {
    async fn serials(&self) -> Result<Vec<SerialNumber>, InventoryError> {
        happen(&self.before_list).await;
        Ok(self.signed())
    }

    async fn certificate(&self, serial: &SerialNumber) -> Result<Option<Vec<u8>>, InventoryError> {
        happen(&self.before_certificate).await;
        let signed = self.signed.lock().unwrap();
        let found = signed.iter().find(|(it, _)| it == serial);
        Ok(found.map(|(_, der)| der.clone()))
    }

    async fn revoked(&self) -> Result<Vec<SerialNumber>, InventoryError> {
        Ok(self.revoked())
    }

    async fn revoke(&self, serial: &SerialNumber) -> Result<(), InventoryError> {
        self.revoked.lock().unwrap().push(*serial);
        Ok(())
    }
}

async fn keep(keeper: &mut RequestKeeper, after: Duration) -> KeptRequests {
    let act = act_at(NOW.saturating_add(after));
    keeper.keep(&act).await.unwrap()
}

/// Asks for a certificate at this time, which is signed and does not arrive.
async fn lost(registrar: &Registrar, name: &str, csr: &str, at: UnixMs) {
    let asked = registrar.sign_csr(&id(name), csr, &act_at(at)).await;
    asked.unwrap_err();
}

async fn a_certificate_signed_during_the_search_is_found_later(bench: Bench) {
    let elsewhere = Elsewhere::new(&bench);
    elsewhere.lose_answers();
    let registrar = elsewhere.registrar(&bench);
    for name in ["0001", "0002"] {
        bench.registered(name).await;
    }
    lost(&registrar, "0001", &openssl_csr(), NOW).await;
    let later = NOW.saturating_add(PATIENCE);
    let other = registrar.clone();
    *elsewhere.before_list.lock().unwrap() = Some(Box::pin(async move {
        lost(&other, "0002", &openssl_csr(), later).await;
    }));

    let mut keeper = RequestKeeper::new(registrar);
    assert_eq!(keep(&mut keeper, PATIENCE).await.found, 1);
    let [first, second] = elsewhere.signed()[..] else {
        panic!("two are signed")
    };
    assert_eq!(elsewhere.revoked(), [first]);
    assert_eq!(keep(&mut keeper, 2 * PATIENCE).await.found, 1);
    let mut both = [first, second];
    both.sort_unstable();
    assert_eq!(elsewhere.revoked(), both);
}

async fn a_key_asked_for_again_during_the_search_keeps_its_certificates(bench: Bench) {
    let elsewhere = Elsewhere::new(&bench);
    elsewhere.lose_answers();
    let registrar = elsewhere.registrar(&bench);
    bench.registered("0001").await;
    let csr = openssl_csr();
    lost(&registrar, "0001", &csr, NOW).await;
    let later = NOW.saturating_add(PATIENCE);
    let other = registrar.clone();
    *elsewhere.before_list.lock().unwrap() = Some(Box::pin(async move {
        lost(&other, "0001", &csr, later).await;
    }));

    // Which of the two certificates the device is about to be given can't be told yet.
    let mut keeper = RequestKeeper::new(registrar);
    assert_eq!(keep(&mut keeper, PATIENCE).await, KeptRequests::default());
    assert_eq!(elsewhere.revoked(), []);
    assert_eq!(keep(&mut keeper, 2 * PATIENCE).await.found, 2);
    assert_eq!(elsewhere.revoked().len(), 2);
}

async fn a_certificate_recorded_during_the_search_is_not_revoked(bench: Bench) {
    let elsewhere = Elsewhere::new(&bench);
    let registrar = elsewhere.registrar(&bench);
    bench.registered("0001").await;
    let (is_signed, signed) = tokio::sync::oneshot::channel();
    let (arrive, arrives) = tokio::sync::oneshot::channel::<()>();
    *elsewhere.before_answer.lock().unwrap() = Some(Box::pin(async move {
        is_signed.send(()).unwrap();
        arrives.await.unwrap();
    }));
    let asking = tokio::spawn({
        let (registrar, csr) = (registrar.clone(), openssl_csr());
        async move { registrar.sign_csr(&id("0001"), &csr, &act()).await }
    });
    signed.await.unwrap();
    let (hand_back, handed_out) = tokio::sync::oneshot::channel();
    *elsewhere.before_certificate.lock().unwrap() = Some(Box::pin(async move {
        arrive.send(()).unwrap();
        let made = asking.await.unwrap().unwrap();
        hand_back.send(made).unwrap();
    }));

    let mut keeper = RequestKeeper::new(registrar);
    assert_eq!(keep(&mut keeper, PATIENCE).await, KeptRequests::default());
    let made = handed_out.await.unwrap();
    assert_eq!(elsewhere.signed(), [made.issued.serial]);
    assert_eq!(elsewhere.revoked(), []);
    let statuses = bench.statuses(&id("0001")).await;
    assert_eq!(statuses, [CertificateStatusKind::Issued]);
    assert_eq!(
        keep(&mut keeper, 2 * PATIENCE).await,
        KeptRequests::default()
    );
    assert_eq!(elsewhere.revoked(), []);
}

async fn a_service_whose_key_is_compromised_while_it_is_signed_gets_no_certificate(bench: Bench) {
    let elsewhere = Elsewhere::new(&bench);
    let registrar = elsewhere.registrar(&bench);
    let stolen = openssl_csr();
    let issue = async || {
        let service = Service::NatsClient {
            name: "callout-0".into(),
        };
        let key = CertificateKey::Csr(&stolen);
        registrar
            .issue_service_certificate(&service, key, &act())
            .await
    };
    let first = issue().await.unwrap().issued.serial;
    let other = registrar.clone();
    *elsewhere.before_answer.lock().unwrap() = Some(Box::pin(async move {
        let reason = RevocationReason::KeyCompromise;
        other
            .revoke_certificate(first, None, reason, &act())
            .await
            .unwrap();
    }));
    let refused = issue().await.unwrap_err();
    assert!(
        matches!(refused, RegistrarError::KeyCompromised { .. }),
        "{refused}"
    );
    let statuses = statuses(&bench.certificates().await);
    assert_eq!(statuses, [CertificateStatusKind::Revoked; 2]);
}
