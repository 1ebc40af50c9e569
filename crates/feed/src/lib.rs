//! Follows the registry's change feed: every event once, in order, each proven to continue the
//! chain; a feed that does not continue (restored, rewritten, cut) is said to be another one.

use std::sync::Arc;
use std::time::Duration;

use leafgate_registry::{ChainError, DeviceStore, Event, FeedPosition, StoreError};
use tokio_util::sync::CancellationToken;

/// Events read from the store at once.
const PAGE: usize = 1000;

/// How long one answer of the store is awaited: a connection that went silent counts as a failure.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// Pauses between attempts to reach a store that fails: the first, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// What a follower tells. Called from one task, in order; must not block.
pub trait FeedSink: Send + Sync {
    /// The next event.
    fn apply(&self, event: &Event);
    /// Nothing that was learnt before holds: the follower begins here, or the store's feed is not
    /// the one that was followed.
    fn reset(&self, position: &FeedPosition);
    /// Everything up to `position` has been applied, and nothing later existed just now.
    fn confirm(&self, position: &FeedPosition);
    /// The store could not be read, or went silent; called once for each attempt.
    fn fail(&self, error: &StoreError);
}

/// Follows the feed of `store` until `cancel`, which is heeded whatever the store does.
pub async fn follow(
    store: Arc<dyn DeviceStore>,
    sink: Arc<dyn FeedSink>,
    cancel: CancellationToken,
) {
    let follower = Follower {
        store,
        sink,
        position: None,
    };
    cancel.run_until_cancelled(follower.run()).await;
}

struct Follower {
    store: Arc<dyn DeviceStore>,
    sink: Arc<dyn FeedSink>,
    position: Option<FeedPosition>,
}

impl Follower {
    async fn run(mut self) {
        let mut retry = RETRY_FIRST;
        loop {
            match self.catch_up().await {
                Ok(()) => {
                    retry = RETRY_FIRST;
                    self.store.wake().await;
                }
                Err(error) => {
                    self.sink.fail(&error);
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_LONGEST);
                }
            }
        }
    }

    /// Applies all that the store has, then confirms.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            let head = within_limit(self.store.position()).await?;
            let Some(position) = self.position.filter(|own| may_lead_to(own, &head)) else {
                self.begin_at(head);
                continue;
            };
            if position.seq == head.seq {
                self.sink.confirm(&position);
                return Ok(());
            }
            let events = within_limit(self.store.events_after(position.seq, PAGE)).await?;
            if events.is_empty() {
                // Reading a store again whose head is ahead of its events can't help.
                tracing::error!(
                    own_seq = position.seq,
                    store_seq = head.seq,
                    "the change feed is cut off before its head: starting over"
                );
                self.position = None;
            } else if let Err(error) = self.apply_all(position, &events) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the change feed does not continue: starting over"
                );
                self.position = None;
            }
        }
    }

    /// Applies events up to the first that does not continue the chain.
    fn apply_all(
        &mut self,
        mut position: FeedPosition,
        events: &[Event],
    ) -> Result<(), ChainError> {
        for event in events {
            let head = position.head().follow(event)?;
            self.sink.apply(event);
            position.seq = head.seq;
            position.hash = head.hash;
        }
        self.position = Some(position);
        Ok(())
    }

    fn begin_at(&mut self, head: FeedPosition) {
        if let Some(own) = &self.position {
            tracing::warn!(
                own_seq = own.seq,
                store_seq = head.seq,
                "the registry's feed is another one (restored or rewritten): starting over"
            );
        }
        self.sink.reset(&head);
        self.position = Some(head);
    }
}

/// Whether `head` can be what became of the feed that was followed up to `own`.
fn may_lead_to(own: &FeedPosition, head: &FeedPosition) -> bool {
    own.epoch == head.epoch
        && (head.seq > own.seq || (head.seq == own.seq && head.hash == own.hash))
}

async fn within_limit<T>(
    reading: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let read = tokio::time::timeout(READ_LIMIT, reading).await;
    read.unwrap_or_else(|_elapsed| {
        Err(StoreError::Unavailable {
            what: format!("the registry did not answer within {READ_LIMIT:?}"),
            source: None,
        })
    })
}
