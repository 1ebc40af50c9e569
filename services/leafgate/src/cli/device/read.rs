//! `leafgate device list` and `show`.

use leafgate_api::{Device, DeviceList};
use leafgate_identity::UnixMs;
use leafgate_registry::{DeviceRecord, Query};
use leafgate_runtime::Clock;

use super::view::{colour_of, table_of_certificates, table_of_devices};
use super::{ListArguments, id};
use crate::cli::Context;
use crate::cli::console::{Style, plain};
use crate::cli::error::{CliError, Exit};
use crate::cli::moment::relative;
use crate::cli::registry::RegistryArguments;
use crate::cli::table::{self, NONE};

pub(super) async fn list(
    registry: &RegistryArguments,
    context: &Context,
    arguments: &ListArguments,
) -> Result<Exit, CliError> {
    let query = Query {
        state: arguments.state,
        device_type: arguments.device_type.clone(),
        attribute: arguments.attribute.clone(),
        id_prefix: arguments.prefix.clone(),
        after: arguments.after.clone(),
        limit: usize::try_from(arguments.limit).unwrap_or(usize::MAX),
        ..Query::default()
    };
    let page = registry.store().await?.find(&query).await?;
    let list = DeviceList {
        devices: page.items.iter().map(Device::from).collect(),
        next_page_token: page.next.as_ref().map(ToString::to_string),
    };
    context.console.show(&list, |style| {
        let table = table_of_devices(&list.devices, context.clock.now());
        table::page(&table, "device", list.next_page_token.as_deref(), style)
    })?;
    Ok(Exit::Done)
}

pub(super) async fn show(
    registry: &RegistryArguments,
    context: &Context,
    id: &str,
) -> Result<Exit, CliError> {
    let id = id::parse(id)?;
    let store = registry.store().await?;
    let device = Device::from(&load(&*store, &id).await?);
    context.console.show(&device, |style| {
        describe(&device, context.clock.now(), style)
    })?;
    Ok(Exit::Done)
}

/// The device's record.
pub(super) async fn load(
    store: &dyn leafgate_registry::DeviceStore,
    id: &leafgate_identity::DeviceId,
) -> Result<DeviceRecord, CliError> {
    let unknown = || leafgate_registrar::RegistrarError::DeviceUnknown { id: id.clone() };
    Ok(store.load(id).await?.ok_or_else(unknown)?)
}

/// A device at length.
pub(super) fn describe(device: &Device, now: UnixMs, style: Style) -> String {
    let attributes: Vec<String> = device
        .attributes
        .iter()
        .map(|(name, value)| plain(&format!("{name}={value}")))
        .collect();
    let attributes = match &attributes[..] {
        [] => NONE.to_owned(),
        some => some.join("   "),
    };
    let state = style.paint(colour_of(device.state), device.state.as_str());
    let mut lines = vec![format!("{}   {state}", device.id)];
    for (name, value) in [
        ("type", device.device_type.clone()),
        (
            "site",
            device.site.clone().unwrap_or_else(|| "any".to_owned()),
        ),
        ("attributes", attributes),
        ("trust domain", device.trust_domain.to_string()),
        (
            "registered",
            format!(
                "{}, generation {}",
                relative(device.registered_at, now),
                device.generation
            ),
        ),
        (
            "changed",
            format!(
                "{}, version {}",
                relative(device.updated_at, now),
                device.version
            ),
        ),
    ] {
        lines.push(format!("  {name:<14} {value}"));
    }
    if device.certificates.is_empty() {
        lines.push(format!(
            "  {:<14} none; leafgate device issue {} --out DIR",
            "certificates", device.id
        ));
    } else {
        lines.push(String::new());
        lines.push(table_of_certificates(device, now).render(style));
    }
    lines.join("\n")
}
