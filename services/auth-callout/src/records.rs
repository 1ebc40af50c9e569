use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use leafgate_identity::DeviceId;
use leafgate_registry::{DeviceRecord, DeviceStore, StoreError};
use quick_cache::sync::Cache;

use crate::versions::{Version, Versions};

/// Without a confirmation for this long the cache counts as stale. The follower confirms once a
/// second at least.
const FRESH: Duration = Duration::from_secs(3);

/// How long the store may take for one record before the registry counts as unavailable.
const LOOK_UP_TIMEOUT: Duration = Duration::from_millis(800);

/// Device records: from memory where the change feed vouches for them, else from the store.
pub(crate) struct Records {
    store: Arc<dyn DeviceStore>,
    cache: Cache<DeviceId, Entry>,
    versions: Versions,
    /// Monotonic time of the last confirmation plus one; 0 before the first.
    confirmed_ms: AtomicU64,
    failing: AtomicBool,
    serve_stale: Duration,
}

#[derive(Clone)]
struct Entry {
    version: Version,
    record: Arc<DeviceRecord>,
}

/// A record as of a version.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) record: Option<Arc<DeviceRecord>>,
    pub(crate) version: Version,
    pub(crate) source: Source,
    /// For how long an answer may rest on it; `None` without limit.
    pub(crate) good_for: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Cache,
    Store,
    Stale,
}

impl Source {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Store => "store",
            Self::Stale => "stale",
        }
    }
}

impl Records {
    pub(crate) fn new(store: Arc<dyn DeviceStore>, capacity: usize, serve_stale: Duration) -> Self {
        Self {
            store,
            cache: Cache::new(capacity),
            versions: Versions::new(),
            confirmed_ms: AtomicU64::new(0),
            failing: AtomicBool::new(true),
            serve_stale,
        }
    }

    /// The record from memory, if that is good enough at the monotonic time `now`.
    pub(crate) fn cached(&self, id: &DeviceId, now: Duration) -> Option<Found> {
        let version = self.versions.of(id);
        let entry = self
            .cache
            .get(id)
            .filter(|entry| entry.version == version)?;
        let age = self.unconfirmed_for(now)?;
        let (source, good_for) = if self.failing.load(Ordering::Relaxed) {
            // The store is known not to answer: waiting for it again would only be slow.
            (Source::Stale, Some(self.serve_stale.checked_sub(age)?))
        } else if age < FRESH {
            (Source::Cache, None)
        } else {
            return None;
        };
        Some(Found {
            record: Some(entry.record),
            version,
            source,
            good_for,
        })
    }

    /// The record from the store, or, where that fails, from memory within the stale limit.
    pub(crate) async fn look_up(&self, id: &DeviceId, now: Duration) -> Result<Found, StoreError> {
        // Read first: what an eviction overtakes must not be kept.
        let version = self.versions.of(id);
        match tokio::time::timeout(LOOK_UP_TIMEOUT, self.store.load(id)).await {
            Ok(Ok(record)) => Ok(self.keep(id, version, record)),
            Ok(Err(error)) => self.stale(id, now).ok_or(error),
            Err(_elapsed) => self.stale(id, now).ok_or_else(timed_out),
        }
    }

    fn keep(&self, id: &DeviceId, version: Version, record: Option<DeviceRecord>) -> Found {
        let record = record.map(Arc::new);
        if let Some(record) = record.clone() {
            self.cache.insert(id.clone(), Entry { version, record });
        }
        Found {
            record,
            version,
            source: Source::Store,
            good_for: None,
        }
    }

    fn stale(&self, id: &DeviceId, now: Duration) -> Option<Found> {
        let version = self.versions.of(id);
        let entry = self
            .cache
            .get(id)
            .filter(|entry| entry.version == version)?;
        Some(Found {
            record: Some(entry.record),
            version,
            source: Source::Stale,
            good_for: Some(self.serve_stale.checked_sub(self.unconfirmed_for(now)?)?),
        })
    }

    /// Whether nothing has been evicted of the device since `version`.
    pub(crate) fn is_current(&self, id: &DeviceId, version: Version) -> bool {
        self.versions.of(id) == version
    }

    pub(crate) fn evict(&self, id: &DeviceId) {
        self.versions.evict(id);
        self.cache.remove(id);
    }

    pub(crate) fn evict_all(&self) {
        self.versions.evict_all();
        self.cache.clear();
    }

    /// The follower has applied everything there was at the monotonic time `now`.
    pub(crate) fn confirm(&self, now: Duration) {
        self.confirmed_ms.store(millis(now) + 1, Ordering::Relaxed);
        self.failing.store(false, Ordering::Relaxed);
    }

    /// The feed can't be followed. A store that gave an answer, if a bad one, is still asked for
    /// records: what memory says of them grows old, and nothing will evict it.
    pub(crate) fn fail(&self, error: &StoreError) {
        let is_away = matches!(error, StoreError::Unavailable { .. });
        self.failing.store(is_away, Ordering::Relaxed);
    }

    /// Whether anybody could be answered: the registry has been read, and not too long ago.
    pub(crate) fn may_serve(&self, now: Duration) -> bool {
        // However short the limit, nothing is stale between two confirmations.
        let limit = self.serve_stale.max(FRESH);
        self.unconfirmed_for(now).is_some_and(|age| age < limit)
    }

    /// How long ago the feed was last known to be applied, if it ever was.
    fn unconfirmed_for(&self, now: Duration) -> Option<Duration> {
        let confirmed_ms = self.confirmed_ms.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.saturating_sub(Duration::from_millis(confirmed_ms)))
    }

    /// Whether the registry is being followed without delay.
    pub(crate) fn is_fresh(&self, now: Duration) -> bool {
        self.unconfirmed_for(now).is_some_and(|age| age < FRESH)
            && !self.failing.load(Ordering::Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }
}

fn timed_out() -> StoreError {
    StoreError::Unavailable {
        what: format!("the registry did not answer within {LOOK_UP_TIMEOUT:?}"),
        source: None,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
