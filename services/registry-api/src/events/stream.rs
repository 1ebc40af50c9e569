use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use futures::stream::{self, Stream};
use leafgate_access::Permission;
use leafgate_api::{Event, ProblemType, schema};
use leafgate_registry::FeedPosition;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::IntoParams;

use super::check_position;
use crate::app::App;
use crate::authenticate::Caller;
use crate::extract::Read;
use crate::problem::{LATER, Problem};

/// How often a silent stream shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often it is asked whether the caller's key still counts.
const RECHECK: Duration = Duration::from_secs(5);
/// Events read at once.
const BATCH: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Position {
    /// Those that follow this one. If left out, and no `Last-Event-ID` is given, only what comes from now on.
    after: Option<u64>,
    /// The `epoch` of the answer that `after` is from.
    #[param(value_type = Option<schema::Epoch>)]
    epoch: Option<String>,
}

/// Follow events
///
/// As server-sent events, for as long as the connection and your key last. The data of each is an event as
/// `/v1/events` lists it; its id, sent back as `Last-Event-ID`, is where to go on. The stream ends when the registry is
/// restored, and going on is then refused.
#[utoipa::path(
    get,
    path = "/v1/events/stream",
    tag = "events",
    params(
        Position,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received"),
    ),
    responses((
        status = OK,
        description = "Events as they come",
        body = String,
        content_type = "text/event-stream",
    )),
)]
pub(super) async fn stream_events(
    State(app): State<Arc<App>>,
    read: Read<Position>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    read.caller.principal.check(Permission::ReadEvents)?;
    let place = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        let detail = "as many streams of events are open as there may be";
        Problem::new(ProblemType::Overloaded, detail).retry_after(LATER)
    })?;
    let newest = app.store.position().await?;
    let (after, epoch) = match last_event_id(&read)? {
        Some((epoch, after)) => (Some(after), Some(epoch)),
        None => (read.query.after, read.query.epoch.clone()),
    };
    let after = after.unwrap_or(newest.seq);
    check_position(&newest, after, epoch.as_deref())?;
    let following = Following {
        feed: app.feed.subscribe(),
        epoch: newest.epoch.to_string(),
        _counted: Counted::new(&app, place),
        app,
        caller: read.caller,
        after,
        ready: VecDeque::new(),
    };
    let events = stream::unfold(following, |mut following| async {
        following.next().await.map(|event| (Ok(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The place after an event, as its id in the stream says it.
fn last_event_id(read: &Read<Position>) -> Result<Option<(String, u64)>, Problem> {
    let Some(value) = read.headers.get("last-event-id") else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(|text| {
        let (epoch, seq) = text.split_once(':')?;
        Some((epoch.to_owned(), seq.parse().ok()?))
    });
    let malformed = || Problem::malformed("Last-Event-ID is not the id of an event of this stream");
    parsed.map(Some).ok_or_else(malformed)
}

/// One client's way along the feed.
struct Following {
    app: Arc<App>,
    caller: Caller,
    feed: watch::Receiver<Option<FeedPosition>>,
    epoch: String,
    /// The newest event that was looked at.
    after: u64,
    ready: VecDeque<leafgate_registry::Event>,
    _counted: Counted,
}

impl Following {
    /// The next event, or nothing when the stream is to end.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(self.shown(event));
            }
            let newest = *self.feed.borrow_and_update();
            if newest.is_some_and(|newest| newest.epoch.to_string() != self.epoch) {
                return None;
            }
            if newest.is_some_and(|newest| newest.seq > self.after) {
                self.read_on().await?;
            } else {
                self.wait().await?;
            }
        }
    }

    async fn read_on(&mut self) -> Option<()> {
        self.check_key().await?;
        let found = self.app.events_after(&self.caller, self.after, BATCH).await;
        let found = found.ok()?;
        if found.looked_at == self.after {
            return None;
        }
        self.after = found.looked_at;
        self.ready = found.events.into();
        Some(())
    }

    async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            () = self.app.shutdown.cancelled() => None,
            changed = self.feed.changed() => changed.ok(),
            () = tokio::time::sleep(RECHECK) => self.check_key().await,
        }
    }

    /// A stream that is open must not outlive the right to open it.
    async fn check_key(&self) -> Option<()> {
        self.app.still_counts(&self.caller).await.ok()
    }

    fn shown(&self, event: leafgate_registry::Event) -> sse::Event {
        let id = format!("{}:{}", self.epoch, event.seq);
        let data = serde_json::to_string(&Event::from(event))
            .expect("events are texts, numbers and JSON values");
        sse::Event::default().id(id).data(data)
    }
}

/// A stream's place among those that may be open, and in the metric.
struct Counted {
    app: Arc<App>,
    _place: OwnedSemaphorePermit,
}

impl Counted {
    fn new(app: &Arc<App>, place: OwnedSemaphorePermit) -> Self {
        app.metrics.event_streams.inc();
        Self {
            app: Arc::clone(app),
            _place: place,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.app.metrics.event_streams.dec();
    }
}
