use std::hash::{DefaultHasher, Hash, Hasher};

use leafgate_access::EnrolmentTokenId;
use tokio::sync::{Mutex, MutexGuard};

/// How many tokens are used at a time, at most. Two of them may have to take turns with each other.
const LANES: usize = 16;

/// Whose turn it is among those who enrol with one token in one process.
#[derive(Default)]
pub(crate) struct Turns([Mutex<()>; LANES]);

impl Turns {
    /// Waits for a turn, which lasts until it is dropped.
    pub(crate) async fn of(&self, id: &EnrolmentTokenId) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let [lane, ..] = hasher.finish().to_le_bytes();
        self.0[usize::from(lane) % LANES].lock().await
    }
}
