//! The in-memory store does what every store has to do.

use std::sync::Arc;

use async_trait::async_trait;
use leafgate_registry::{DeviceStore, MemoryStore};
use leafgate_testkit::store_conformance::StoreFixture;

struct Memory(MemoryStore);

impl Memory {
    async fn new() -> Self {
        Self(MemoryStore::new())
    }
}

#[async_trait]
impl StoreFixture for Memory {
    async fn open(&self) -> Arc<dyn DeviceStore> {
        Arc::new(self.0.clone())
    }
}

leafgate_testkit::store_conformance!(Memory::new);
