use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use leafgate_access::Permission;
use leafgate_api::{Device, PatchDevice, ReplaceDevice, schema};
use leafgate_identity::DeviceId;
use leafgate_registrar::RegistrarError;
use leafgate_registry::{self as registry, DeviceEdit};

use crate::app::App;
use crate::extract::{Command, Named};
use crate::idempotency::Acting;
use crate::problem::Problem;

/// Replace what can be edited of a device
///
/// Its type, site and attributes become what the body says; what it leaves out is taken away. A device that is revoked
/// or deleted can no longer be edited.
#[utoipa::path(
    put,
    path = "/v1/devices/{id}",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    request_body = ReplaceDevice,
    responses((status = OK, description = "The device afterwards", body = Device)),
)]
pub(super) async fn replace_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    command: Command<ReplaceDevice>,
) -> Result<Response, Problem> {
    let ReplaceDevice {
        device_type,
        site,
        attributes,
    } = command.body.clone();
    let edit = DeviceEdit {
        device_type: Some(device_type),
        site: Some(site),
        attributes: Some(attributes),
    };
    let replace = async |it: Acting| it.registrar.edit(&id, edit, &it.act).await;
    command
        .change_device(&app, &id, Permission::ProvisionDevices, replace)
        .await
}

/// Change parts of a device
///
/// A JSON merge patch (RFC 7396): what the body leaves out stays, null takes away. Attributes are merged one by one.
#[utoipa::path(
    patch,
    path = "/v1/devices/{id}",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    request_body(
        content((PatchDevice = "application/json"), (PatchDevice = "application/merge-patch+json")),
    ),
    responses((status = OK, description = "The device afterwards", body = Device)),
)]
pub(super) async fn patch_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    command: Command<PatchDevice>,
) -> Result<Response, Problem> {
    let edited = |device: &registry::Device| Ok::<_, RegistrarError>(edit(&command.body, device));
    let patch = async |it: Acting| it.registrar.edit_with(&id, edited, &it.act).await;
    command
        .change_device(&app, &id, Permission::ProvisionDevices, patch)
        .await
}

fn edit(patch: &PatchDevice, device: &registry::Device) -> DeviceEdit {
    let merged = |changes: &Option<BTreeMap<String, Option<String>>>| match changes {
        None => BTreeMap::new(),
        Some(changes) => merge(device.attributes.clone(), changes),
    };
    DeviceEdit {
        device_type: patch.device_type.clone(),
        site: patch.site.clone(),
        attributes: patch.attributes.as_ref().map(merged),
    }
}

fn merge(
    mut attributes: BTreeMap<String, String>,
    changes: &BTreeMap<String, Option<String>>,
) -> BTreeMap<String, String> {
    for (name, value) in changes {
        match value {
            Some(value) => attributes.insert(name.clone(), value.clone()),
            None => attributes.remove(name),
        };
    }
    attributes
}
