use std::time::Duration;

use tokio::sync::watch;

const MAX_WAIT: Duration = Duration::from_secs(1);

/// Counts the signs that something was committed, by whatever process, for those who wait for one.
pub(crate) struct Notices {
    count: watch::Sender<u64>,
}

impl Notices {
    pub(crate) fn new() -> Self {
        Self {
            count: watch::Sender::new(0),
        }
    }

    /// How many there were so far.
    pub(crate) fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// Tells those who wait.
    pub(crate) fn notice(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    /// Waits until the count is no longer `seen`, for at most a second, and returns it.
    pub(crate) async fn changed_since(&self, seen: u64) -> u64 {
        let mut count = self.count.subscribe();
        // No further sign within that time is an answer too.
        let _ = tokio::time::timeout(MAX_WAIT, count.wait_for(|count| *count != seen)).await;
        self.count()
    }
}
