//! A store that takes its time, can't be reached, or fails: for tests of what may happen between any
//! two steps of those who read it, and of what they make of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, UnixMs};
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, Change, CommitError, Crl, Cursor, DeviceRecord,
    DeviceStore, Document, DocumentKind, DocumentName, Event, FeedPosition, Outstanding, Page,
    Query, StoreError,
};
use tokio::sync::oneshot;

/// A reader's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// [`DeviceStore::load`]
    Load,
    /// [`DeviceStore::find_certificates`]
    FindCertificates,
    /// [`DeviceStore::position`]
    Position,
    /// [`DeviceStore::events_after`]
    Events,
    /// [`DeviceStore::wake`]
    Wake,
}

/// A side of a step: what the store holds is read between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing has been read yet.
    Before,
    /// It has been read, and the reader has not been told yet.
    After,
}

/// What the store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// Commits are applied, and it says that it can't be reached.
    AnswersLost,
    /// Somebody else is always faster: no commit is applied.
    Conflicts,
    /// Devices can't be read.
    Corrupt,
}

/// Another store behind delays and faults; see [`DelayControl`].
pub struct DelayingStore {
    inner: Arc<dyn DeviceStore>,
    control: DelayControl,
}

/// Says how a [`DelayingStore`] behaves. Without instructions it adds nothing.
#[derive(Debug, Clone, Default)]
pub struct DelayControl(Arc<Control>);

#[derive(Debug, Default)]
struct Control {
    gates: Mutex<Vec<Gate>>,
    unreachable: AtomicBool,
    broken: Mutex<Option<SerialNumber>>,
    fault: Mutex<Option<StoreFault>>,
    longest_delay_ms: AtomicU64,
    random: AtomicU64,
}

#[derive(Debug)]
struct Gate {
    step: Step,
    moment: Moment,
    /// None for every device.
    device: Option<DeviceId>,
    reached: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
}

/// A point at which one reader is held until this is dropped.
#[derive(Debug)]
pub struct Hold {
    reached: oneshot::Receiver<()>,
    _release: oneshot::Sender<()>,
}

impl DelayingStore {
    /// Puts `inner` behind delays.
    pub fn new(inner: Arc<dyn DeviceStore>, control: DelayControl) -> Self {
        Self { inner, control }
    }
}

impl DelayControl {
    /// Lets every step wait, before and after, for a random time of up to `longest`; every other
    /// time on average not at all. `seed` fixes the order of the times.
    pub fn delay_at_random(&self, seed: u64, longest: Duration) {
        self.0.random.store(seed, Ordering::Relaxed);
        let longest_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        self.0.longest_delay_ms.store(longest_ms, Ordering::Relaxed);
    }

    /// Says whether the store answers; while it does not, all but `wake` fails as unavailable.
    pub fn set_reachable(&self, reachable: bool) {
        self.0.unreachable.store(!reachable, Ordering::SeqCst);
    }

    /// Makes this certificate one that can't be read, where it is looked for by its number.
    pub fn break_certificate(&self, serial: SerialNumber) {
        let mut broken = self.0.broken.lock().unwrap_or_else(PoisonError::into_inner);
        *broken = Some(serial);
    }

    /// Says what the store does wrong from now on.
    pub fn set_fault(&self, fault: Option<StoreFault>) {
        *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn has(&self, fault: StoreFault) -> bool {
        *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) == Some(fault)
    }

    /// Holds the next reader that comes to this point.
    pub fn hold(&self, step: Step, moment: Moment) -> Hold {
        self.hold_at(step, moment, None)
    }

    /// Holds the next reader that loads this device, and nobody who loads another one.
    pub fn hold_load(&self, device: &DeviceId, moment: Moment) -> Hold {
        self.hold_at(Step::Load, moment, Some(device.clone()))
    }

    fn hold_at(&self, step: Step, moment: Moment, device: Option<DeviceId>) -> Hold {
        let (reached, is_reached) = oneshot::channel();
        let (release, released) = oneshot::channel();
        self.0.lock_gates().push(Gate {
            step,
            moment,
            device,
            reached,
            released,
        });
        Hold {
            reached: is_reached,
            _release: release,
        }
    }

    async fn pass(&self, step: Step, moment: Moment) {
        self.pass_with(step, moment, None).await;
    }

    async fn pass_with(&self, step: Step, moment: Moment, device: Option<&DeviceId>) {
        if let Some(delay) = self.0.next_delay() {
            tokio::time::sleep(delay).await;
        }
        if let Some(gate) = self.0.take_gate(step, moment, device) {
            // Nobody may have waited to hear it.
            let _ = gate.reached.send(());
            // Fails when the hold is dropped, which is how it ends.
            let _ = gate.released.await;
        }
    }

    fn check_reachable(&self) -> Result<(), StoreError> {
        if self.0.unreachable.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable {
                what: "the test has made the store unreachable".to_owned(),
                source: None,
            });
        }
        Ok(())
    }
}

impl Hold {
    /// Returns when a reader is held.
    ///
    /// # Panics
    /// The store was dropped before.
    pub async fn reached(&mut self) {
        (&mut self.reached)
            .await
            .expect("the store lives as long as a reader can come");
    }
}

impl Control {
    fn check_whole(&self, query: &CertificateQuery) -> Result<(), StoreError> {
        let broken = *self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        match broken {
            Some(serial) if query.serial == Some(serial) => Err(StoreError::Corrupt {
                what: format!("the test has broken certificate {serial}"),
            }),
            _ => Ok(()),
        }
    }

    fn lock_gates(&self) -> std::sync::MutexGuard<'_, Vec<Gate>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_gate(&self, step: Step, moment: Moment, device: Option<&DeviceId>) -> Option<Gate> {
        let mut gates = self.lock_gates();
        let found = gates.iter().position(|gate| {
            gate.step == step
                && gate.moment == moment
                && (gate.device.is_none() || gate.device.as_ref() == device)
        })?;
        Some(gates.remove(found))
    }

    fn next_delay(&self) -> Option<Duration> {
        let longest_ms = self.longest_delay_ms.load(Ordering::Relaxed);
        if longest_ms == 0 {
            return None;
        }
        let random = self.next_random();
        (random & 1 == 0).then(|| Duration::from_millis((random >> 1) % (longest_ms + 1)))
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    fn next_random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.random.fetch_add(STEP, Ordering::Relaxed);
        let mut z = state.wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[async_trait]
impl DeviceStore for DelayingStore {
    async fn load(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        let pass = |moment| self.control.pass_with(Step::Load, moment, Some(id));
        pass(Moment::Before).await;
        self.control.check_reachable()?;
        if self.control.has(StoreFault::Corrupt) {
            let what = format!("device {id} is in the state half-open");
            return Err(StoreError::Corrupt { what });
        }
        let loaded = self.inner.load(id).await;
        pass(Moment::After).await;
        loaded
    }

    async fn find(&self, query: &Query) -> Result<Page<DeviceRecord, DeviceId>, StoreError> {
        self.control.check_reachable()?;
        self.inner.find(query).await
    }

    async fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, StoreError> {
        self.control
            .pass(Step::FindCertificates, Moment::Before)
            .await;
        self.control.check_reachable()?;
        self.control.0.check_whole(query)?;
        let found = self.inner.find_certificates(query).await;
        self.control
            .pass(Step::FindCertificates, Moment::After)
            .await;
        found
    }

    async fn outstanding(&self, issuer: &SpkiHash, now: UnixMs) -> Result<Outstanding, StoreError> {
        self.control.check_reachable()?;
        self.inner.outstanding(issuer, now).await
    }

    async fn crl(&self, issuer: &SpkiHash) -> Result<Option<Crl>, StoreError> {
        self.control.check_reachable()?;
        self.inner.crl(issuer).await
    }

    async fn document(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, StoreError> {
        self.control.check_reachable()?;
        self.inner.document(kind, name).await
    }

    async fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<Document, DocumentName>, StoreError> {
        self.control.check_reachable()?;
        self.inner.documents(kind, after, limit).await
    }

    async fn forget_expired(&self, now: UnixMs, limit: usize) -> Result<usize, StoreError> {
        self.control.check_reachable()?;
        self.inner.forget_expired(now, limit).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<FeedPosition, CommitError> {
        self.control.check_reachable()?;
        if self.control.has(StoreFault::Conflicts) {
            let what = "a record".to_owned();
            return Err(CommitError::Conflict { what });
        }
        let committed = self.inner.commit(changes).await?;
        if self.control.has(StoreFault::AnswersLost) {
            let gone = std::io::Error::other("the connection to db.internal:5432 was reset");
            return Err(StoreError::unavailable("db.internal:5432 is gone", gone).into());
        }
        Ok(committed)
    }

    async fn position(&self) -> Result<FeedPosition, StoreError> {
        self.control.pass(Step::Position, Moment::Before).await;
        self.control.check_reachable()?;
        let position = self.inner.position().await;
        self.control.pass(Step::Position, Moment::After).await;
        position
    }

    async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.control.pass(Step::Events, Moment::Before).await;
        self.control.check_reachable()?;
        let events = self.inner.events_after(seq, limit).await;
        self.control.pass(Step::Events, Moment::After).await;
        events
    }

    async fn wake(&self) {
        self.control.pass(Step::Wake, Moment::Before).await;
        self.inner.wake().await;
        self.control.pass(Step::Wake, Moment::After).await;
    }
}
