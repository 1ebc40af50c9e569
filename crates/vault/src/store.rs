mod certificates;
mod devices;
mod draft;
mod registry;
mod roster;
mod turn;
mod writer;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, TrustDomainName, UnixMs};
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, Change, CommitError, Crl, Cursor, DeviceRecord,
    DeviceStore, Document, DocumentKind, DocumentName, Event, FeedPosition, Page, Query,
    StoreError,
};
use tokio::sync::watch;

use self::registry::Registry;
use self::roster::Roster;
use self::writer::Writer;
use crate::client::Vault;
use crate::journal::Journal;
use crate::kv::Kv;

/// The longest that a [`DeviceStore::wake`] takes.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The registry in a KV engine of Vault.
///
/// A clone is a further handle. It works on the tokio runtime that it was opened on, which must outlive it. Commits of
/// one handle and its clones that wait at the same time share a turn.
pub struct VaultStore {
    shared: Arc<Shared>,
    /// The number of the event that the last `wake` of this handle told of.
    seen: AtomicU64,
}

struct Shared {
    registry: Arc<Registry>,
    /// None where the store was opened for reading only.
    writer: Option<Writer>,
    /// The newest event that this process knows of.
    newest: watch::Sender<u64>,
}

/// Where in a Vault the registry is.
#[derive(Debug, Clone)]
pub struct VaultStoreConfig {
    /// Where the KV engine is mounted.
    pub mount: String,
    /// The trust domain of devices that leafgate has no record of: scripts registered them.
    pub trust_domain: TrustDomainName,
}

impl VaultStoreConfig {
    /// The mount that Vault's documentation and its development server use.
    pub const DEFAULT_MOUNT: &'static str = "secret";
}

impl VaultStore {
    /// Opens the registry, and makes an empty one where there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Vault doesn't answer, is sealed, or denies what a registry has to do;
    /// [`StoreError::Unsupported`] if there is no KV engine of version 2; [`StoreError::Corrupt`] if parts of the
    /// registry are gone.
    pub async fn open(vault: &Vault, config: &VaultStoreConfig) -> Result<Self, StoreError> {
        let registry = registry(vault, config).await?;
        registry.journal.initialize().await?;
        Self::start(registry, true).await
    }

    /// Opens the registry for reading. It writes nothing; where no leafgate has written yet, it is that of the scripts
    /// alone, without events.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn open_read_only(
        vault: &Vault,
        config: &VaultStoreConfig,
    ) -> Result<Self, StoreError> {
        Self::start(registry(vault, config).await?, false).await
    }

    async fn start(registry: Registry, writes: bool) -> Result<Self, StoreError> {
        let seq = registry.journal.snapshot().await?.position.seq;
        let registry = Arc::new(registry);
        let newest = watch::Sender::new(seq);
        let writer = writes.then(|| Writer::start(Arc::clone(&registry), newest.clone()));
        let shared = Shared {
            registry,
            writer,
            newest,
        };
        Ok(Self {
            shared: Arc::new(shared),
            seen: AtomicU64::new(seq),
        })
    }

    fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        self.shared.writer.as_ref().ok_or_else(|| {
            let kv = &self.registry().journal.kv;
            let what = format!(
                "the registry at {} of Vault at {} was opened for reading only",
                kv.mount(),
                kv.address()
            );
            StoreError::Unsupported { what }
        })
    }

    /// Gives the newest number of an event if it is not `seen`, else never.
    async fn look_once(&self, seen: u64) -> u64 {
        match self.registry().journal.snapshot().await {
            Ok(snapshot) if snapshot.position.seq != seen => snapshot.position.seq,
            _ => pending().await,
        }
    }
}

async fn registry(vault: &Vault, config: &VaultStoreConfig) -> Result<Registry, StoreError> {
    let kv = Kv::open(vault.clone(), &config.mount).await?;
    Ok(Registry {
        journal: Journal::new(kv),
        trust_domain: config.trust_domain.clone(),
        roster: Roster::default(),
    })
}

impl Clone for VaultStore {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            seen: AtomicU64::new(*self.shared.newest.borrow()),
        }
    }
}

#[async_trait]
impl DeviceStore for VaultStore {
    async fn load(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        Ok(self.registry().load(id).await?)
    }

    async fn find(&self, query: &Query) -> Result<Page<DeviceRecord, DeviceId>, StoreError> {
        Ok(self.registry().find(query).await?)
    }

    async fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, StoreError> {
        Ok(self.registry().find_certificates(query).await?)
    }

    async fn certificates(
        &self,
        issuer: &SpkiHash,
        serials: &[SerialNumber],
    ) -> Result<Vec<Certificate>, StoreError> {
        Ok(self.registry().certificates(issuer, serials).await?)
    }

    async fn crl(&self, issuer: &SpkiHash) -> Result<Option<Crl>, StoreError> {
        Ok(self.registry().crl(issuer).await?)
    }

    async fn document(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, StoreError> {
        Ok(self.registry().document(kind, name).await?)
    }

    async fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<Document, DocumentName>, StoreError> {
        Ok(self.registry().documents(kind, after, limit).await?)
    }

    async fn forget_expired(&self, now: UnixMs, limit: usize) -> Result<usize, StoreError> {
        self.writer()?.forget_expired(now, limit).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<FeedPosition, CommitError> {
        self.writer()?.commit(changes.to_vec()).await
    }

    async fn position(&self) -> Result<FeedPosition, StoreError> {
        Ok(self.registry().journal.snapshot().await?.position)
    }

    async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        Ok(self.registry().events_after(seq, limit).await?)
    }

    async fn wake(&self) {
        let seen = self.seen.load(Ordering::Acquire);
        let mut newest = self.shared.newest.subscribe();
        let now = tokio::select! {
            newest = newest.wait_for(|newest| *newest > seen) => newest.map_or(seen, |newest| *newest),
            now = self.look_once(seen) => now,
            () = tokio::time::sleep(MAX_WAIT) => seen,
        };
        self.seen.store(now, Ordering::Release);
    }
}
