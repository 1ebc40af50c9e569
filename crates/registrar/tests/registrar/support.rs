use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use leafgate_identity::{
    Binding, CnPattern, DeviceId, DeviceIdentity, ParsedChain, SerialNumber, SpkiHash, TrustDomain,
    TrustDomainName, TrustDomains, UnixMs,
};
use leafgate_pki::{
    CaDirectory, DrawSerialError, EmbeddedCa, Intermediate, IssueError, Issued, Issuer,
    OcspResponseData, PrepareError, Prepared, Profile, PublicKeyInfo, RevokedEntry, RootKey,
    SerialSource, SignCrlError, SignOcspError, init,
};
use leafgate_registrar::{DeviceCredentials, Issuers, Registrar, RegistrarError, SignedCrl};
use leafgate_registry::{
    Act, Actor, Certificate, CertificateQuery, CertificateStatusKind, DeviceRecord, DeviceStore,
    Event, MemoryStore, NewDevice,
};
use leafgate_store_sql::SqliteStore;
use tempfile::TempDir;

use crate::faulty_store::FaultyStore;

/// 2026-03-01T12:00:00.250Z
pub(crate) const NOW: UnixMs = UnixMs::new(1_772_366_400_250);

/// A registrar with all that it needs, each part within a test's reach.
pub(crate) struct Bench {
    _dir: TempDir,
    pub(crate) ca: CaDirectory,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) devices: Arc<FaultyIssuer>,
    pub(crate) domains: Arc<TrustDomains>,
    pub(crate) registrar: Registrar,
}

impl Bench {
    pub(crate) fn in_memory() -> Self {
        Self::over(tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new()))
    }

    pub(crate) async fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("registry.db"))
            .await
            .unwrap();
        Self::over(dir, Arc::new(store))
    }

    fn over(dir: TempDir, store: Arc<dyn DeviceStore>) -> Self {
        let ca = init(&dir.path().join("ca"), RootKey::DevPlain, NOW).unwrap();
        let store = Arc::new(FaultyStore::new(store));
        let devices = Arc::new(FaultyIssuer::new(ca.load(Intermediate::Devices).unwrap()));
        let domains = Arc::new(domains(devices.spki()));
        let registrar = Registrar::new(
            store.clone(),
            Issuers::new(
                devices.clone(),
                Arc::new(ca.load(Intermediate::Servers).unwrap()),
            ),
            domains.clone(),
            random,
        );
        Self {
            _dir: dir,
            ca,
            store,
            devices,
            domains,
            registrar,
        }
    }

    /// The registrar of a new process over the same data.
    pub(crate) fn restarted(&self) -> Registrar {
        self.with_store(self.store.inner())
    }

    pub(crate) fn with_store(&self, store: Arc<dyn DeviceStore>) -> Registrar {
        Registrar::new(store, self.issuers(), self.domains.clone(), random)
    }

    /// A registrar that tries again at once.
    pub(crate) fn hasty(&self) -> Registrar {
        let store = self.store.clone();
        Registrar::new(store, self.issuers(), self.domains.clone(), || 0)
    }

    pub(crate) fn issuers(&self) -> Issuers {
        Issuers::new(
            Arc::new(self.ca.load(Intermediate::Devices).unwrap()),
            Arc::new(self.ca.load(Intermediate::Servers).unwrap()),
        )
    }

    /// A registrar whose two issuers draw these serial numbers.
    pub(crate) fn with_serials(&self, devices: &[&[u8]], servers: &[&[u8]]) -> Registrar {
        let load = |intermediate, serials: &[&[u8]]| -> Arc<dyn Issuer> {
            let ca = self.ca.load(intermediate).unwrap();
            Arc::new(ca.with_serials(Arc::new(PlannedSerials::new(serials))))
        };
        let issuers = Issuers::new(
            load(Intermediate::Devices, devices),
            load(Intermediate::Servers, servers),
        );
        Registrar::new(self.store.clone(), issuers, self.domains.clone(), random)
    }

    /// A registrar over the same data of a process that has these issuers.
    pub(crate) fn with_issuers(&self, issuers: Issuers, domains: TrustDomains) -> Registrar {
        Registrar::new(self.store.clone(), issuers, Arc::new(domains), random)
    }

    pub(crate) async fn registered(&self, id_text: &str) -> DeviceId {
        self.registrar
            .register(new_device(id_text), &act())
            .await
            .unwrap();
        id(id_text)
    }

    /// A certificate for a new key.
    pub(crate) async fn issued(&self, id: &DeviceId) -> DeviceCredentials {
        self.registrar.issue_with_new_key(id, &act()).await.unwrap()
    }

    /// Why there is no certificate for a new key.
    pub(crate) async fn not_issued(&self, id: &DeviceId) -> RegistrarError {
        let outcome = self.registrar.issue_with_new_key(id, &act()).await;
        outcome.unwrap_err()
    }

    /// What the store holds, past all faults.
    pub(crate) async fn record(&self, id: &DeviceId) -> DeviceRecord {
        self.store.inner().load(id).await.unwrap().unwrap()
    }

    /// All certificates that the store holds, of devices and services.
    pub(crate) async fn certificates(&self) -> Vec<Certificate> {
        let all = CertificateQuery::default();
        let found = self.store.inner().find_certificates(&all).await.unwrap();
        assert_eq!(found.next, None, "one page");
        found.items
    }

    /// The statuses of a device's certificates, in the order of [`CertificateStatusKind`].
    pub(crate) async fn statuses(&self, id: &DeviceId) -> Vec<CertificateStatusKind> {
        statuses(&self.record(id).await.certificates)
    }

    /// All events so far.
    pub(crate) async fn events(&self) -> Vec<Event> {
        self.store.inner().events_after(0, 10_000).await.unwrap()
    }

    /// The kinds of the events so far, as text.
    pub(crate) async fn event_kinds(&self) -> Vec<String> {
        let events = self.events().await;
        events
            .iter()
            .map(|event| event.kind.as_str().to_owned())
            .collect()
    }

    /// Who a certificate chain makes somebody.
    pub(crate) fn identity(&self, issued: &Issued) -> DeviceIdentity {
        let chain: Vec<String> = pem::parse_many(&issued.chain_pem)
            .unwrap()
            .iter()
            .map(pem::encode)
            .collect();
        DeviceIdentity::resolve(&ParsedChain::parse(&chain).unwrap(), &self.domains).unwrap()
    }
}

/// The lists of an installation with one issuer of each kind.
pub(crate) fn pair(lists: Vec<SignedCrl>) -> [SignedCrl; 2] {
    lists.try_into().unwrap()
}

/// The statuses of certificates, in the order of [`CertificateStatusKind`].
pub(crate) fn statuses(certificates: &[Certificate]) -> Vec<CertificateStatusKind> {
    let mut kinds: Vec<_> = certificates
        .iter()
        .map(|certificate| certificate.status.kind())
        .collect();
    kinds.sort();
    kinds
}

pub(crate) fn domains(issuer: SpkiHash) -> TrustDomains {
    domains_of(vec![issuer])
}

pub(crate) fn domains_of(issuers: Vec<SpkiHash>) -> TrustDomains {
    let domain = |name, issuers| TrustDomain {
        name: TrustDomainName::parse(name).unwrap(),
        issuers,
        cn_pattern: CnPattern::default(),
        binding: Binding::Issued,
    };
    let elsewhere = TrustDomain {
        cn_pattern: CnPattern::parse("{id}.elsewhere.example.org").unwrap(),
        ..domain("elsewhere", vec![SpkiHash::from_bytes([7; 32])])
    };
    TrustDomains::try_from(vec![domain("default", issuers), elsewhere]).unwrap()
}

pub(crate) fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

pub(crate) fn new_device(text: &str) -> NewDevice {
    NewDevice {
        id: id(text),
        trust_domain: TrustDomainName::parse("default").unwrap(),
        pending: false,
        device_type: "pump".into(),
        site: None,
        attributes: BTreeMap::new(),
    }
}

pub(crate) fn act() -> Act {
    act_at(NOW)
}

pub(crate) fn act_at(at: UnixMs) -> Act {
    Act {
        actor: Actor::parse("cli:test").unwrap(),
        at,
    }
}

/// A certificate request for a new key that asks for more than it may have.
pub(crate) fn openssl_csr() -> String {
    DeviceKey::new().csr("/CN=device-9999.device.synadia.local")
}

/// A device's key, made by openssl.
pub(crate) struct DeviceKey(TempDir);

impl DeviceKey {
    pub(crate) fn new() -> Self {
        let key = Self(tempfile::tempdir().unwrap());
        openssl(&[
            "genpkey",
            "-algorithm",
            "ed25519",
            "-out",
            key.path().as_str(),
        ]);
        key
    }

    /// A certificate request for it, under a name of its own choice.
    pub(crate) fn csr(&self, subject: &str) -> String {
        let extension = "basicConstraints=critical,CA:TRUE";
        let key = self.path();
        let args = [
            "req", "-new", "-key", &key, "-subj", subject, "-addext", extension,
        ];
        openssl(&args)
    }

    fn path(&self) -> String {
        self.0.path().join("key").to_str().unwrap().to_owned()
    }
}

fn openssl(args: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(args)
        .output()
        .expect("these tests need openssl on PATH");
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The hash of the key in a certificate request.
pub(crate) fn key_of(csr: &str) -> SpkiHash {
    PublicKeyInfo::from_csr_pem(csr).unwrap().spki_hash()
}

/// Uniform numbers: each state hashes with keys of its own.
pub(crate) fn random() -> u32 {
    u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap()
}

/// An embedded CA that can be told to fail.
pub(crate) struct FaultyIssuer {
    ca: EmbeddedCa,
    fails: AtomicBool,
}

impl FaultyIssuer {
    fn new(ca: EmbeddedCa) -> Self {
        Self {
            ca,
            fails: AtomicBool::new(false),
        }
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }
}

#[async_trait]
impl Issuer for FaultyIssuer {
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
        self.ca.prepare(profile, key, now)
    }

    async fn issue(&self, prepared: Prepared) -> Result<Issued, IssueError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(IssueError::Unavailable("planned fault".into()));
        }
        self.ca.issue(prepared).await
    }

    async fn sign_crl(
        &self,
        entries: &[RevokedEntry],
        number: u64,
        now: UnixMs,
        next_update: UnixMs,
    ) -> Result<Vec<u8>, SignCrlError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(SignCrlError::Unavailable("planned fault".into()));
        }
        self.ca.sign_crl(entries, number, now, next_update).await
    }

    async fn sign_ocsp(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError> {
        self.ca.sign_ocsp(data).await
    }
}

struct PlannedSerials(Mutex<Vec<SerialNumber>>);

impl PlannedSerials {
    fn new(serials: &[&[u8]]) -> Self {
        let serials = serials.iter().rev();
        Self(Mutex::new(
            serials
                .map(|bytes| SerialNumber::from_be_bytes(bytes).unwrap())
                .collect(),
        ))
    }
}

impl SerialSource for PlannedSerials {
    fn draw(&self) -> Result<SerialNumber, DrawSerialError> {
        self.0.lock().unwrap().pop().ok_or(DrawSerialError)
    }
}
