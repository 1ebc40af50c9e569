//! Lists of devices of the registry in a folder.

use std::sync::Arc;

use futures::stream;
use futures::{StreamExt, TryStreamExt};
use leafgate_api::{Device, DeviceList};
use leafgate_identity::{CnPattern, DeviceId};
use leafgate_registry::{Cursor, DeviceRecord, DeviceStore, Page, Query};

use crate::cli::error::CliError;
use crate::cli::registry::{DeviceFilter, Part, Results};

/// Devices that are read at once.
const BATCH: usize = 500;

/// As many devices as were asked for, if there are so many.
pub(super) async fn list(
    store: &dyn DeviceStore,
    filter: &DeviceFilter,
    part: &Part,
) -> Result<DeviceList, CliError> {
    let mut list = DeviceList {
        devices: Vec::new(),
        next_page_token: None,
    };
    let Some(mut query) = query(filter) else {
        return Ok(list);
    };
    query.after = part.cursor()?;
    loop {
        query.limit = part.limit() - list.devices.len();
        let Page { items, next } = store.find(&query).await?;
        let named = items.iter().filter(|record| fits(record, filter));
        list.devices.extend(named.map(Device::from));
        if next.is_none() || list.devices.len() >= part.limit() {
            list.next_page_token = next.as_ref().map(Cursor::to_string);
            return Ok(list);
        }
        query.after = next;
    }
}

/// Devices in the order of their ids, as they come.
pub(super) fn export(store: Arc<dyn DeviceStore>, filter: &DeviceFilter) -> Results<Device> {
    let begin = query(filter).map(|query| Query {
        limit: BATCH,
        ..query
    });
    let filter = filter.clone();
    let pages = stream::try_unfold(begin.map(|query| (store, filter, query)), |rest| async {
        let Some((store, filter, query)) = rest else {
            return Ok::<_, CliError>(None);
        };
        let Page { items, next } = store.find(&query).await?;
        let named = items.iter().filter(|record| fits(record, &filter));
        let devices: Vec<_> = named.map(Device::from).map(Ok).collect();
        let rest = next.map(|next| {
            let query = Query {
                after: Some(next),
                ..query
            };
            (store, filter, query)
        });
        Ok(Some((stream::iter(devices), rest)))
    });
    pages.try_flatten().boxed()
}

/// What the store is asked for; nothing if no device can be meant.
fn query(filter: &DeviceFilter) -> Option<Query> {
    let pattern = CnPattern::default();
    let of_name = match filter.common_name_prefix.as_deref() {
        Some(prefix) => Some(pattern.id_prefix(prefix)?),
        None => None,
    };
    let id_prefix = match (filter.id_prefix.as_deref(), of_name) {
        (Some(one), Some(other)) if one.starts_with(other) => Some(one),
        (Some(one), Some(other)) if other.starts_with(one) => Some(other),
        (Some(_), Some(_)) => return None,
        (one, other) => one.or(other),
    };
    Some(Query {
        state: filter.state,
        device_type: filter.device_type.clone(),
        attribute: filter.attribute.clone(),
        site: filter.site.clone(),
        id_prefix: id_prefix.map(str::to_owned),
        expires_by: filter.expires_by,
        ..Query::default()
    })
}

/// Whether the device's common name is one that is meant.
fn fits(record: &DeviceRecord, filter: &DeviceFilter) -> bool {
    let name = |id: &DeviceId| CnPattern::default().render(id).ok();
    filter
        .common_name_prefix
        .as_deref()
        .is_none_or(|prefix| name(&record.device.id).is_some_and(|name| name.starts_with(prefix)))
}
