use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use leafgate_access::Permission;
use leafgate_api::{Device, schema};
use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{Cursor, DeviceRecord, DeviceState, Page};
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::{BrokenOff, answer};
use crate::app::App;
use crate::common_name::CommonNamePrefix;
use crate::devices::{DeviceConditions, query_of};
use crate::extract::Read;
use crate::problem::Problem;

/// Devices read at once.
const BATCH: usize = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// In this state. Without it: in any but `deleted`.
    #[param(value_type = Option<schema::DeviceState>)]
    state: Option<DeviceState>,
    /// Of this type.
    device_type: Option<String>,
    /// With this attribute, as NAME=VALUE.
    #[param(example = "line=4")]
    attribute: Option<String>,
    /// Of this site.
    site: Option<String>,
    /// With an id that begins with this, case included.
    id_prefix: Option<String>,
    /// With a common name that begins with this, case included.
    #[param(example = "device-00")]
    common_name_prefix: Option<String>,
    /// Whose last issued certificate ends by this time.
    #[param(value_type = Option<schema::Time>)]
    expires_by: Option<UnixMs>,
    /// Only those that follow this id in the order of ids: the last one of an answer that broke off.
    #[param(value_type = Option<schema::DeviceId>)]
    after: Option<DeviceId>,
}

/// Export devices
///
/// One device on each line (schema `Device`), in the order of their ids, as far as your scope reaches. Devices that are
/// changed meanwhile come as they are when their turn comes. An answer that broke off is continued with `after`.
#[utoipa::path(
    get,
    path = "/v1/bulk/export",
    tag = "bulk",
    params(Filter),
    responses((
        status = OK,
        description = "One device on each line",
        body = String,
        content_type = "application/x-ndjson",
    )),
)]
pub(super) async fn export_devices(
    State(app): State<Arc<App>>,
    read: Read<Filter>,
) -> Result<Response, Problem> {
    let Read { caller, query, .. } = read;
    caller.principal.check(Permission::ReadDevices)?;
    let place = app.bulk_place()?;
    let Filter {
        state,
        device_type,
        attribute,
        site,
        id_prefix,
        common_name_prefix,
        expires_by,
        after,
    } = query;
    let conditions = DeviceConditions {
        state,
        device_type,
        attribute,
        site,
        id_prefix,
        expires_by,
    };
    let query = {
        let names = names(&app, common_name_prefix.as_deref());
        query_of(&conditions, &caller, names.as_ref())?
    };
    // What the store can't do at all is told as a problem.
    let (query, first) = match query {
        Some(mut query) => {
            query.limit = BATCH;
            query.after = after.map(Cursor::after);
            let first = app.store.find(&query).await?;
            (query, first)
        }
        None => {
            let (items, next) = (Vec::new(), None);
            (Default::default(), Page { items, next })
        }
    };
    let (reading, by) = (Arc::clone(&app), caller.clone());
    Ok(answer(app, caller, move |answer| async move {
        let _place = place;
        let (mut query, mut page) = (query, first);
        loop {
            let Page { items, next } = page;
            let shown = {
                let names = names(&reading, common_name_prefix.as_deref());
                let shows = |record: &DeviceRecord| {
                    let named = names.as_ref();
                    named.is_none_or(|names| names.fits(&record.device)) && by.reaches(record)
                };
                let shown = items.iter().filter(|record| shows(record));
                shown.map(Device::from).collect::<Vec<_>>()
            };
            answer.send(shown).await?;
            if next.is_none() {
                return answer.end().await;
            }
            query.after = next;
            page = reading.store.find(&query).await.map_err(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "an export can't go on"
                );
                BrokenOff
            })?;
        }
    }))
}

fn names<'a>(app: &'a App, prefix: Option<&'a str>) -> Option<CommonNamePrefix<'a>> {
    prefix.map(|prefix| CommonNamePrefix::new(&app.domains, prefix))
}
