use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use leafgate_identity::{SerialNumber, SpkiHash, UnixMs};
use leafgate_pki::{
    EmbeddedCa, IssueError, Issued, Issuer, OcspResponseData, PrepareError, Prepared, Profile,
    PublicKeyInfo, RevokedEntry, SignCrlError, SignOcspError,
};
use tokio::sync::RwLock;

/// The embedded CA, which can be made to wait or to fail, and remembers its lists.
pub(super) struct Signer {
    ca: EmbeddedCa,
    lists: Mutex<Vec<List>>,
    /// Whoever writes it holds all lists back.
    pub(super) gate: RwLock<()>,
    pub(super) at_gate: AtomicUsize,
    pub(super) fails: AtomicBool,
}

#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) number: u64,
    pub(super) revoked: BTreeSet<SerialNumber>,
}

impl Signer {
    pub(super) fn new(ca: EmbeddedCa) -> Self {
        Self {
            ca,
            lists: Mutex::default(),
            gate: RwLock::default(),
            at_gate: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
        }
    }

    pub(super) fn lists(&self) -> Vec<List> {
        self.lists.lock().unwrap().clone()
    }
}

#[async_trait]
impl Issuer for Signer {
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
        self.ca.issue(prepared).await
    }

    async fn sign_crl(
        &self,
        entries: &[RevokedEntry],
        number: u64,
        now: UnixMs,
        next_update: UnixMs,
    ) -> Result<Vec<u8>, SignCrlError> {
        self.at_gate.fetch_add(1, Ordering::SeqCst);
        let _open = self.gate.read().await;
        if self.fails.load(Ordering::SeqCst) {
            return Err(SignCrlError::Unavailable("planned fault".into()));
        }
        self.lists.lock().unwrap().push(List {
            number,
            revoked: entries.iter().map(|entry| entry.serial).collect(),
        });
        self.ca.sign_crl(entries, number, now, next_update).await
    }

    async fn sign_ocsp(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(SignOcspError::Unavailable("planned fault".into()));
        }
        self.ca.sign_ocsp(data).await
    }
}
