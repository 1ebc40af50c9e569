//! `leafgate device edit`.

use std::collections::BTreeMap;

use clap::ArgGroup;
use leafgate_api::ReplaceDevice;
use leafgate_identity::DeviceId;
use leafgate_registrar::RegistrarError;
use leafgate_registry::BuildChangeError;
use leafgate_runtime::Clock;

use super::read::describe;
use super::{id, name_and_value};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::registry::Registry;

#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("change").required(true).multiple(true),
    // The one that is made of the group is longer than a line.
    override_usage = "leafgate device edit [OPTIONS] <ID>"
)]
pub(super) struct Arguments {
    /// The device.
    id: String,
    /// What policies match on.
    #[arg(long = "type", value_name = "TYPE", group = "change")]
    device_type: Option<String>,
    /// The only site at which it may log in.
    #[arg(long, value_name = "SITE", group = "change")]
    site: Option<String>,
    /// Let it log in at any site.
    #[arg(long, group = "change", conflicts_with = "site")]
    no_site: bool,
    /// A free property, new or in place of the one of this name; may be repeated.
    #[arg(long = "attr", value_name = "NAME=VALUE", value_parser = name_and_value, group = "change")]
    attributes: Vec<(String, String)>,
    /// Take a free property away; may be repeated.
    #[arg(long = "remove-attr", value_name = "NAME", group = "change")]
    removed: Vec<String>,
}

pub(super) async fn run(
    registry: &dyn Registry,
    context: &Context,
    arguments: &Arguments,
) -> Result<Exit, CliError> {
    let id = id::parse(&arguments.id)?;
    arguments.check_names()?;
    let edit = |device: &ReplaceDevice| arguments.edit(&id, device);
    let device = registry.edit(&id, &edit).await?;
    context.console.show(&device, |style| {
        describe(&device, context.clock.now(), style)
    })?;
    Ok(Exit::Done)
}

impl Arguments {
    /// Each attribute is named once, or it would depend on the order what comes out.
    fn check_names(&self) -> Result<(), CliError> {
        let given = self.attributes.iter().map(|(name, _)| name);
        let mut names: Vec<&String> = given.chain(&self.removed).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(CliError::usage(format!(
                "the attribute {} is named twice",
                pair[0]
            ))),
            None => Ok(()),
        }
    }

    /// What the device is to become.
    fn edit(&self, id: &DeviceId, device: &ReplaceDevice) -> Result<ReplaceDevice, CliError> {
        let edited = ReplaceDevice {
            device_type: self
                .device_type
                .clone()
                .unwrap_or_else(|| device.device_type.clone()),
            site: match &self.site {
                None if self.no_site => None,
                None => device.site.clone(),
                site => site.clone(),
            },
            attributes: self.attributes_of(id, device)?,
        };
        if edited == *device {
            let unchanged = BuildChangeError::Unchanged { id: id.clone() };
            return Err(RegistrarError::Change(unchanged).into());
        }
        Ok(edited)
    }

    /// The attributes that the device is to have.
    fn attributes_of(
        &self,
        id: &DeviceId,
        device: &ReplaceDevice,
    ) -> Result<BTreeMap<String, String>, CliError> {
        let mut attributes = device.attributes.clone();
        for name in &self.removed {
            if attributes.remove(name).is_none() {
                let error = format!("{id} has no attribute {name}");
                return Err(CliError::new(Exit::NotFound, error)
                    .hint(format!("leafgate device show {id} shows those that it has")));
            }
        }
        attributes.extend(self.attributes.iter().cloned());
        Ok(attributes)
    }
}
