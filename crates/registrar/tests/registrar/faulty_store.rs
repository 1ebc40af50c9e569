use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::BoxFuture;
use leafgate_identity::{DeviceId, SpkiHash, UnixMs};
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, Change, CommitError, Crl, Cursor, DeviceRecord,
    DeviceStore, Document, DocumentKind, DocumentName, Event, FeedPosition, Page, Query,
    StoreError,
};

/// Shows other events than the store has.
pub(crate) type Tampering = fn(Vec<Event>) -> Vec<Event>;
type Act = Box<dyn FnOnce(Arc<dyn DeviceStore>) -> BoxFuture<'static, ()> + Send>;

/// What happens to one commit.
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is not applied, and the store says it can't be reached.
    Lost,
    /// It is applied, and the store says it can't be reached.
    AnswerLost,
    /// The process dies before it is applied: this and every later call fails.
    DeadBefore,
    /// The process dies after it is applied.
    DeadAfter,
    /// Somebody else changed the record.
    Conflict,
    /// Somebody else does this right before.
    Preceded(Act),
    /// Somebody else does this right after.
    Followed(Act),
}

impl Fault {
    pub(crate) fn preceded<F: Future<Output = ()> + Send + 'static>(
        act: impl FnOnce(Arc<dyn DeviceStore>) -> F + Send + 'static,
    ) -> Self {
        Self::Preceded(Box::new(|store| Box::pin(act(store))))
    }

    pub(crate) fn followed<F: Future<Output = ()> + Send + 'static>(
        act: impl FnOnce(Arc<dyn DeviceStore>) -> F + Send + 'static,
    ) -> Self {
        Self::Followed(Box::new(|store| Box::pin(act(store))))
    }
}

/// A store whose commits meet with the faults that a test has planned, in their order.
pub(crate) struct FaultyStore {
    inner: Arc<dyn DeviceStore>,
    faults: Mutex<VecDeque<Fault>>,
    dead: AtomicBool,
    tampering: Mutex<Option<Tampering>>,
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<dyn DeviceStore>) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
            dead: AtomicBool::new(false),
            tampering: Mutex::new(None),
        }
    }

    pub(crate) fn inner(&self) -> Arc<dyn DeviceStore> {
        Arc::clone(&self.inner)
    }

    pub(crate) fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// Shows other events than there are.
    pub(crate) fn tamper(&self, with: Tampering) {
        *self.tampering.lock().unwrap() = Some(with);
    }

    fn alive(&self) -> Result<(), StoreError> {
        if self.dead.load(Ordering::SeqCst) {
            Err(unreachable_store())
        } else {
            Ok(())
        }
    }
}

fn unreachable_store() -> StoreError {
    StoreError::Unavailable {
        what: "planned fault".into(),
        source: None,
    }
}

#[async_trait]
impl DeviceStore for FaultyStore {
    async fn load(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        self.alive()?;
        self.inner.load(id).await
    }

    async fn find(&self, query: &Query) -> Result<Page<DeviceRecord, DeviceId>, StoreError> {
        self.alive()?;
        self.inner.find(query).await
    }

    async fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, StoreError> {
        self.alive()?;
        self.inner.find_certificates(query).await
    }

    async fn crl(&self, issuer: &SpkiHash) -> Result<Option<Crl>, StoreError> {
        self.alive()?;
        self.inner.crl(issuer).await
    }

    async fn document(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, StoreError> {
        self.alive()?;
        self.inner.document(kind, name).await
    }

    async fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<Document, DocumentName>, StoreError> {
        self.alive()?;
        self.inner.documents(kind, after, limit).await
    }

    async fn forget_expired(&self, now: UnixMs, limit: usize) -> Result<usize, StoreError> {
        self.alive()?;
        self.inner.forget_expired(now, limit).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<FeedPosition, CommitError> {
        self.alive()?;
        let fault = self.faults.lock().unwrap().pop_front();
        match fault.unwrap_or(Fault::None) {
            Fault::None => self.inner.commit(changes).await,
            Fault::Lost => Err(unreachable_store().into()),
            Fault::AnswerLost => {
                self.inner.commit(changes).await?;
                Err(unreachable_store().into())
            }
            Fault::DeadBefore => {
                self.dead.store(true, Ordering::SeqCst);
                Err(unreachable_store().into())
            }
            Fault::DeadAfter => {
                self.inner.commit(changes).await?;
                self.dead.store(true, Ordering::SeqCst);
                Err(unreachable_store().into())
            }
            Fault::Conflict => Err(CommitError::Conflict {
                what: "planned".into(),
            }),
            Fault::Preceded(act) => {
                act(self.inner()).await;
                self.inner.commit(changes).await
            }
            Fault::Followed(act) => {
                let position = self.inner.commit(changes).await?;
                act(self.inner()).await;
                Ok(position)
            }
        }
    }

    async fn position(&self) -> Result<FeedPosition, StoreError> {
        self.alive()?;
        self.inner.position().await
    }

    async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.alive()?;
        let mut events = self.inner.events_after(seq, limit).await?;
        if let Some(tamper) = *self.tampering.lock().unwrap() {
            events = tamper(events);
        }
        Ok(events)
    }

    async fn wake(&self) {
        self.inner.wake().await;
    }
}
