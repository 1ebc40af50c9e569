//! `/v1/events`

mod list;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;

use leafgate_api::ProblemType;
use leafgate_identity::DeviceId;
use leafgate_registry::{Event, FeedPosition};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::authenticate::Caller;
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(list::list_events))
        .routes(routes!(stream::stream_events))
}

/// Events that were read in one go, as far as the caller may see them.
struct Found {
    events: Vec<Event>,
    /// The newest that was looked at.
    looked_at: u64,
}

impl App {
    /// The next events after one, of the devices that the caller's scope reaches as they are now. What is about no
    /// device is for those whose scope is everything.
    async fn events_after(
        &self,
        caller: &Caller,
        after: u64,
        limit: usize,
    ) -> Result<Found, Problem> {
        let mut events = self.store.events_after(after, limit).await?;
        let looked_at = events.last().map_or(after, |event| event.seq);
        if !caller.reaches_everything() {
            let mut reached: HashMap<DeviceId, bool> = HashMap::new();
            for id in events.iter().filter_map(|event| event.device.as_ref()) {
                if !reached.contains_key(id) {
                    let record = self.store.load(id).await?;
                    let reaches = record.is_some_and(|record| caller.reaches(&record));
                    reached.insert(id.clone(), reaches);
                }
            }
            let visible = |id: &DeviceId| reached.get(id).copied().unwrap_or(false);
            events.retain(|event| event.device.as_ref().is_some_and(visible));
        }
        Ok(Found { events, looked_at })
    }
}

/// That what a client has read so far can be a part of this feed.
fn check_position(newest: &FeedPosition, after: u64, epoch: Option<&str>) -> Result<(), Problem> {
    let other_epoch = epoch.is_some_and(|epoch| epoch != newest.epoch.to_string());
    if !other_epoch && after <= newest.seq {
        return Ok(());
    }
    let detail = format!(
        "the newest event is {} of epoch {}: the registry was restored; begin anew",
        newest.seq, newest.epoch
    );
    Err(Problem::new(ProblemType::FeedRestarted, detail))
}
