use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use leafgate_access::{Permission, Selection};
use leafgate_api::{Device, DeviceList, schema};
use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{Cursor, DeviceRecord, DeviceState, Page, Query};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::authenticate::Caller;
use crate::common_name::CommonNamePrefix;
use crate::extract::Read;
use crate::list::{Listing, PageOf};
use crate::problem::Problem;

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
    /// How many at most, from 1 to 1000; 100 if left out. A page may have fewer and still not be the last.
    #[param(minimum = 1, maximum = 1000)]
    page_size: Option<u32>,
    /// The `next_page_token` of the page before.
    page_token: Option<String>,
}

/// List devices
///
/// In the order of their ids, as far as your scope reaches. Every filter that is given must hold.
#[utoipa::path(
    get,
    path = "/v1/devices",
    tag = "devices",
    params(Filter),
    responses((status = OK, description = "A page of devices", body = DeviceList)),
)]
pub(super) async fn list_devices(
    State(app): State<Arc<App>>,
    read: Read<Filter>,
) -> Result<Json<DeviceList>, Problem> {
    let Read {
        caller,
        query: filter,
        list,
        ..
    } = read;
    caller.principal.check(Permission::ReadDevices)?;
    let page = PageOf::<DeviceId>::new(filter.page_size, filter.page_token.as_deref(), &list)?;
    let names = filter
        .common_name_prefix
        .as_deref()
        .map(|prefix| CommonNamePrefix::new(&app.domains, prefix));
    let conditions = DeviceConditions {
        state: filter.state,
        device_type: filter.device_type,
        attribute: filter.attribute,
        site: filter.site,
        id_prefix: filter.id_prefix,
        expires_by: filter.expires_by,
    };
    let Some(query) = query_of(&conditions, &caller, names.as_ref())? else {
        return Ok(Json(DeviceList {
            devices: Vec::new(),
            next_page_token: None,
        }));
    };
    let found = page
        .fill(Devices {
            app: &app,
            caller: &caller,
            query,
            names,
        })
        .await?;
    Ok(Json(DeviceList {
        devices: found.items.iter().map(Device::from).collect(),
        next_page_token: found.next.map(|next| list.token(&next)),
    }))
}

struct Devices<'a> {
    app: &'a App,
    caller: &'a Caller,
    query: Query,
    names: Option<CommonNamePrefix<'a>>,
}

impl Listing for Devices<'_> {
    type Item = DeviceRecord;
    type Key = DeviceId;

    async fn read(
        &mut self,
        after: Option<Cursor<DeviceId>>,
        limit: usize,
    ) -> Result<Page<DeviceRecord, DeviceId>, Problem> {
        self.query.after = after;
        self.query.limit = limit;
        Ok(self.app.store.find(&self.query).await?)
    }

    fn shows_all(&self) -> bool {
        self.names.is_none() && self.caller.reaches_everything()
    }

    async fn shows(&mut self, record: &DeviceRecord) -> Result<bool, Problem> {
        let names = self.names.as_ref();
        let named = names.is_none_or(|names| names.fits(&record.device));
        Ok(named && self.caller.reaches(record))
    }

    fn key(record: &DeviceRecord) -> DeviceId {
        record.device.id.clone()
    }
}

/// What devices can be looked for by, as clients write it.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviceConditions {
    pub(crate) state: Option<DeviceState>,
    pub(crate) device_type: Option<String>,
    /// As NAME=VALUE.
    pub(crate) attribute: Option<String>,
    pub(crate) site: Option<String>,
    pub(crate) id_prefix: Option<String>,
    pub(crate) expires_by: Option<UnixMs>,
}

/// What the store is asked for; nothing if no device can meet it.
pub(crate) fn query_of(
    conditions: &DeviceConditions,
    caller: &Caller,
    names: Option<&CommonNamePrefix<'_>>,
) -> Result<Option<Query>, Problem> {
    let scope = &caller.principal.authority.scope;
    let Some(id_prefix) = both_prefixes(conditions.id_prefix.as_deref(), names) else {
        return Ok(None);
    };
    Ok(Some(Query {
        state: conditions.state,
        device_type: conditions
            .device_type
            .clone()
            .or_else(|| only(&scope.device_types)),
        attribute: conditions
            .attribute
            .as_deref()
            .map(name_and_value)
            .transpose()?,
        site: conditions.site.clone().or_else(|| only(&scope.sites)),
        id_prefix,
        expires_by: conditions.expires_by,
        ..Query::default()
    }))
}

/// What every id must begin with to meet both conditions; `None` if none can.
fn both_prefixes(
    id_prefix: Option<&str>,
    names: Option<&CommonNamePrefix<'_>>,
) -> Option<Option<String>> {
    let of_names = match names {
        Some(names) => Some(names.id_prefix()?),
        None => None,
    };
    match (id_prefix, of_names) {
        (Some(one), Some(other)) if one.starts_with(other) => Some(Some(one.to_owned())),
        (Some(one), Some(other)) if other.starts_with(one) => Some(Some(other.to_owned())),
        (Some(_), Some(_)) => None,
        (one, other) => Some(one.or(other).map(str::to_owned)),
    }
}

/// The one name that is selected, which the store can look for.
fn only(selection: &Selection) -> Option<String> {
    match selection {
        Selection::Only(names) if names.len() == 1 => names.first().cloned(),
        Selection::Only(_) | Selection::Any => None,
    }
}

fn name_and_value(text: &str) -> Result<(String, String), Problem> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Problem::malformed("attribute: write NAME=VALUE")),
    }
}
