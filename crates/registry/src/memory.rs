mod tables;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use leafgate_identity::{DeviceId, SpkiHash, UnixMs};

use self::tables::Tables;
use crate::certificate::{Certificate, CertificateId};
use crate::change::Change;
use crate::device::{Crl, DeviceRecord};
use crate::document::{Document, DocumentKind, DocumentName};
use crate::event::Event;
use crate::feed::{Epoch, FeedPosition};
use crate::query::{CertificateQuery, Cursor, Page, Query};
use crate::store::{CommitError, DeviceStore, StoreError};

/// The registry in memory: for tests, and to show what a store has to do. A clone is a further handle on the same data.
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
    /// How many commits the last `wake` of this handle told of.
    seen: Mutex<u64>,
}

struct Shared {
    tables: Tables,
    commits: u64,
    /// Half seconds counted since the first `wake`.
    ticks: u64,
    ticking: bool,
    sleepers: Vec<Waker>,
}

impl MemoryStore {
    /// An empty registry with a random epoch.
    pub fn new() -> Self {
        let tables = Tables::new(Epoch::generate());
        let shared = Shared {
            tables,
            commits: 0,
            ticks: 0,
            ticking: false,
            sleepers: Vec::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            seen: Mutex::new(0),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        let commits = self.shared().commits;
        Self {
            shared: Arc::clone(&self.shared),
            seen: Mutex::new(commits),
        }
    }
}

#[async_trait]
impl DeviceStore for MemoryStore {
    async fn load(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        Ok(self.shared().tables.load(id).cloned())
    }

    async fn find(&self, query: &Query) -> Result<Page<DeviceRecord, DeviceId>, StoreError> {
        Ok(self.shared().tables.find(query))
    }

    async fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, StoreError> {
        Ok(self.shared().tables.find_certificates(query))
    }

    async fn crl(&self, issuer: &SpkiHash) -> Result<Option<Crl>, StoreError> {
        Ok(self.shared().tables.crl(issuer).copied())
    }

    async fn document(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, StoreError> {
        Ok(self.shared().tables.document(kind, name).cloned())
    }

    async fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<Document, DocumentName>, StoreError> {
        Ok(self.shared().tables.documents(kind, after, limit))
    }

    async fn forget_expired(&self, now: UnixMs, limit: usize) -> Result<usize, StoreError> {
        Ok(self.shared().tables.forget_expired(now, limit))
    }

    async fn commit(&self, changes: &[Change]) -> Result<FeedPosition, CommitError> {
        let mut shared = self.shared();
        let position = shared.tables.commit(changes)?;
        if !changes.is_empty() {
            shared.commits += 1;
            wake_sleepers(shared);
        }
        Ok(position)
    }

    async fn position(&self) -> Result<FeedPosition, StoreError> {
        Ok(self.shared().tables.position())
    }

    async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        Ok(self.shared().tables.events_after(seq, limit).to_vec())
    }

    async fn wake(&self) {
        let deadline = {
            let mut shared = self.shared();
            if !std::mem::replace(&mut shared.ticking, true) {
                tick(Arc::downgrade(&self.shared));
            }
            shared.ticks + 2
        };
        poll_fn(|context| {
            let mut shared = self.shared();
            let mut seen = lock(&self.seen);
            if shared.commits == *seen && shared.ticks < deadline {
                shared.sleepers.push(context.waker().clone());
                return Poll::Pending;
            }
            *seen = shared.commits;
            Poll::Ready(())
        })
        .await;
    }
}

/// Wakes after the lock is released: a waker may run what it wakes.
fn wake_sleepers(mut shared: MutexGuard<'_, Shared>) {
    let sleepers = std::mem::take(&mut shared.sleepers);
    drop(shared);
    sleepers.into_iter().for_each(Waker::wake);
}

/// Counts half seconds for as long as the store lives, so that a `wake` ends without a change after one second at most.
fn tick(shared: std::sync::Weak<Mutex<Shared>>) {
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(500));
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let mut shared = lock(&shared);
            shared.ticks += 1;
            wake_sleepers(shared);
        }
    });
}

/// A panic elsewhere leaves the tables whole: a commit is judged before anything is written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
