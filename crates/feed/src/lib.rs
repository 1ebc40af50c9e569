//! Follows the registry's change feed: every event once, in order, each proven to continue the
//! chain; a feed that does not continue (restored, rewritten, cut) is said to be another one.

use std::sync::Arc;
use std::time::Duration;

use leafgate_registry::{DeviceStore, Event, FeedPosition, StoreError};
use tokio_util::sync::CancellationToken;

/// Events read from the store at once.
const PAGE: usize = 1000;

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
    /// The store could not be read; called once for each attempt.
    fn fail(&self, error: &StoreError);
}

/// Follows the feed of `store` until `cancel`.
pub async fn follow(
    store: Arc<dyn DeviceStore>,
    sink: Arc<dyn FeedSink>,
    cancel: CancellationToken,
) {
    let mut follower = Follower {
        store,
        sink,
        position: None,
    };
    let mut retry = RETRY_FIRST;
    loop {
        let pause = match follower.catch_up().await {
            Ok(()) => {
                retry = RETRY_FIRST;
                None
            }
            Err(error) => {
                follower.sink.fail(&error);
                let pause = retry;
                retry = (retry * 2).min(RETRY_LONGEST);
                Some(pause)
            }
        };
        let next = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => follower.store.wake().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = next => {}
        }
    }
}

struct Follower {
    store: Arc<dyn DeviceStore>,
    sink: Arc<dyn FeedSink>,
    position: Option<FeedPosition>,
}

impl Follower {
    /// Applies all that the store has, then confirms.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            let head = self.store.position().await?;
            let Some(position) = self.position.filter(|own| may_lead_to(own, &head)) else {
                self.begin_at(head);
                continue;
            };
            if position.seq == head.seq {
                self.sink.confirm(&position);
                return Ok(());
            }
            let events = self.store.events_after(position.seq, PAGE).await?;
            self.apply_all(position, &events);
        }
    }

    fn apply_all(&mut self, mut position: FeedPosition, events: &[Event]) {
        for event in events {
            if event.seq != position.seq + 1 || event.previous_hash != position.hash {
                tracing::error!(
                    seq = event.seq,
                    expected_seq = position.seq + 1,
                    "the change feed does not continue: starting over"
                );
                self.position = None;
                return;
            }
            self.sink.apply(event);
            position.seq = event.seq;
            position.hash = event.hash;
        }
        // A store whose head is ahead of its events is cut; reading it again can't help.
        self.position = (!events.is_empty()).then_some(position);
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
