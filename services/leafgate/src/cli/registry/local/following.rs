use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use leafgate_api::Event;
use leafgate_registry::{DeviceStore, FeedPosition};

use crate::cli::error::{CliError, Exit};
use crate::cli::registry::Results;

/// Events that are read at once.
const BATCH: usize = 100;

/// Events as they come, after one or from now on.
pub(super) async fn follow(
    store: Arc<dyn DeviceStore>,
    after: Option<u64>,
) -> Result<Results<Event>, CliError> {
    let begin = store.position().await?;
    let following = Following {
        after: after.unwrap_or(begin.seq),
        begin,
        store,
        ready: VecDeque::new(),
    };
    let events = stream::unfold(Some(following), |following| async {
        let mut following = following?;
        match following.next().await {
            Ok(event) => Some((Ok(event), Some(following))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(events.boxed())
}

/// The feed of a store, along which somebody goes.
struct Following {
    store: Arc<dyn DeviceStore>,
    begin: FeedPosition,
    after: u64,
    ready: VecDeque<leafgate_registry::Event>,
}

impl Following {
    async fn next(&mut self) -> Result<Event, CliError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = event.seq;
                return Ok(Event::from(event));
            }
            let newest = self.store.position().await?;
            if newest.epoch != self.begin.epoch || newest.seq < self.after {
                let error = "the registry was restored: its event numbers mean other events";
                return Err(
                    CliError::new(Exit::Conflict, error).hint("begin anew, without --after")
                );
            }
            self.ready = self.store.events_after(self.after, BATCH).await?.into();
            if self.ready.is_empty() {
                self.store.wake().await;
            }
        }
    }
}
