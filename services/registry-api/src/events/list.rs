use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use leafgate_access::Permission;
use leafgate_api::{Event, EventList, schema};
use leafgate_registry::DocumentName;
use serde::Deserialize;
use utoipa::IntoParams;

use super::check_position;
use crate::app::App;
use crate::extract::Read;
use crate::list::PageOf;
use crate::problem::Problem;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Position {
    /// Those that follow this one; all from the first if left out.
    after: Option<u64>,
    /// The `epoch` of the answer that `after` is from: a restored registry is then noticed.
    #[param(value_type = Option<schema::Epoch>)]
    epoch: Option<String>,
    /// How many are looked at, from 1 to 1000; 100 if left out. Those outside of your scope are not shown.
    #[param(minimum = 1, maximum = 1000)]
    page_size: Option<u32>,
}

/// List events
///
/// In their order. Go on with `after` = `next_after` until that is `newest`.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    params(Position),
    responses((status = OK, description = "Events", body = EventList)),
)]
pub(super) async fn list_events(
    State(app): State<Arc<App>>,
    read: Read<Position>,
) -> Result<Json<EventList>, Problem> {
    let Read {
        caller,
        query: position,
        list,
        ..
    } = read;
    caller.principal.check(Permission::ReadEvents)?;
    let after = position.after.unwrap_or(0);
    let limit = PageOf::<DocumentName>::new(position.page_size, None, &list)?.size;
    let newest = app.store.position().await?;
    check_position(&newest, after, position.epoch.as_deref())?;
    let found = app.events_after(&caller, after, limit).await?;
    Ok(Json(EventList {
        events: found.events.into_iter().map(Event::from).collect(),
        next_after: found.looked_at,
        newest: newest.seq.max(found.looked_at),
        epoch: newest.epoch.to_string(),
    }))
}
