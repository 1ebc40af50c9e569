use std::time::Duration;

use leafgate_identity::UnixMs;
use leafgate_registry::DeviceState;

use super::name_and_value;
use crate::cli::moment::parse_duration;
use crate::cli::registry::DeviceFilter;

/// Which devices are meant.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct FilterArguments {
    /// In this state; deleted ones are meant only when asked for.
    #[arg(long, value_name = "STATE")]
    state: Option<DeviceState>,
    /// Of this type.
    #[arg(long = "type", value_name = "TYPE")]
    device_type: Option<String>,
    /// With this attribute.
    #[arg(long = "attr", value_name = "NAME=VALUE", value_parser = name_and_value)]
    attribute: Option<(String, String)>,
    /// Of this site.
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// With an id that begins with this, case included.
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Whose last certificate ends within this time: 12h, 7d.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    expires_within: Option<Duration>,
}

impl FilterArguments {
    pub(super) fn at(&self, now: UnixMs) -> DeviceFilter {
        DeviceFilter {
            state: self.state,
            device_type: self.device_type.clone(),
            attribute: self.attribute.clone(),
            site: self.site.clone(),
            id_prefix: self.prefix.clone(),
            common_name_prefix: None,
            expires_by: self.expires_within.map(|time| now.saturating_add(time)),
        }
    }
}

/// Which devices are meant, where they are only read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReadingArguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// With a common name that begins with this, case included.
    #[arg(long, value_name = "TEXT")]
    common_name_prefix: Option<String>,
}

impl ReadingArguments {
    pub(super) fn at(&self, now: UnixMs) -> DeviceFilter {
        DeviceFilter {
            common_name_prefix: self.common_name_prefix.clone(),
            ..self.filter.at(now)
        }
    }
}
