use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use leafgate_identity::DeviceId;

const SLOTS: usize = 4096;

/// Counts evictions, so that what was read before an eviction can be told from what was read
/// after it without a lock. Devices share slots: a shared eviction costs the other device one
/// more look-up, nothing else.
#[derive(Debug)]
pub(crate) struct Versions {
    slots: Box<[AtomicU64]>,
    all: AtomicU64,
    hasher: RandomState,
}

/// When something was read, in evictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    slot: u64,
    all: u64,
}

impl Versions {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    /// To be read before the store is, and compared after.
    pub(crate) fn of(&self, id: &DeviceId) -> Version {
        Version {
            slot: self.slot(id).load(Ordering::SeqCst),
            all: self.all.load(Ordering::SeqCst),
        }
    }

    /// Makes everything read of this device so far old.
    pub(crate) fn evict(&self, id: &DeviceId) {
        self.slot(id).fetch_add(1, Ordering::SeqCst);
    }

    /// Makes everything read so far old.
    pub(crate) fn evict_all(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
    }

    fn slot(&self, id: &DeviceId) -> &AtomicU64 {
        &self.slots[self.hasher.hash_one(id) as usize % SLOTS]
    }
}
