//! `leafgate device list` and `show`.

use futures::{StreamExt, TryStreamExt, stream};
use leafgate_api::{Device, DeviceList, Session, SessionList};
use leafgate_identity::UnixMs;
use leafgate_runtime::Clock;
use serde::Serialize;

use super::view::{colour_of, table_of_certificates, table_of_devices};
use super::{ListArguments, id};
use crate::cli::Context;
use crate::cli::console::{Style, plain};
use crate::cli::error::{CliError, Exit};
use crate::cli::moment::relative;
use crate::cli::registry::Registry;
use crate::cli::table::{self, NONE};

/// Devices whose sessions are asked for at a time.
const AT_ONCE: usize = 8;

pub(super) async fn list(
    registry: &dyn Registry,
    context: &Context,
    arguments: &ListArguments,
) -> Result<Exit, CliError> {
    let now = context.clock.now();
    let filter = arguments.filter.at(now);
    let DeviceList {
        devices,
        next_page_token,
    } = registry.devices(&filter, &arguments.part).await?;
    let sessions = if arguments.sessions {
        Some(sessions_of(registry, &devices).await?)
    } else {
        None
    };
    let mut listed = sessions.into_iter().flatten();
    let view = ListView {
        devices: devices
            .iter()
            .map(|device| Listed {
                device,
                sessions: listed.next(),
            })
            .collect(),
        next_page_token,
    };
    context.console.show(&view, |style| {
        let table = table_of_devices(&view.devices, now);
        table::page(&table, "device", view.next_page_token.as_deref(), style)
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct ListView<'a> {
    devices: Vec<Listed<'a>>,
    next_page_token: Option<String>,
}

/// A device as listed.
#[derive(Serialize)]
pub(super) struct Listed<'a> {
    #[serde(flatten)]
    pub(super) device: &'a Device,
    /// Where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sessions: Option<Vec<Session>>,
}

/// The sessions of each device. Those that are not let in any more are asked about too: that they have none shows it.
async fn sessions_of(
    registry: &dyn Registry,
    devices: &[Device],
) -> Result<Vec<Vec<Session>>, CliError> {
    let asked = devices.iter().map(|device| registry.sessions(&device.id));
    let lists: Vec<SessionList> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    Ok(lists.into_iter().map(|list| list.sessions).collect())
}

pub(super) async fn show(
    registry: &dyn Registry,
    context: &Context,
    id: &str,
) -> Result<Exit, CliError> {
    let device = registry.device(&id::parse(id)?).await?;
    context.console.show(&device, |style| {
        describe(&device, context.clock.now(), style)
    })?;
    Ok(Exit::Done)
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
