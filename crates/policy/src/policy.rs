//! A compiled policy.

use std::sync::Arc;

use crate::connection::ConnectionType;
use crate::grant::{Lifetime, Limits, ResponsePermission};
use crate::network::IpNetwork;
use crate::problem::Location;
use crate::select::Selector;
use crate::template::Template;

#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) name: Arc<str>,
    pub(crate) location: Location,
    pub(crate) selector: Selector,
    pub(crate) account: Arc<str>,
    pub(crate) normal: Permissions,
    pub(crate) quarantine: Option<Permissions>,
    pub(crate) session: Session,
    pub(crate) limits: Limits,
    pub(crate) shared: Vec<Shared>,
}

impl Policy {
    /// The normal permissions, then those of quarantine if there are any.
    pub(crate) fn permissions(&self) -> impl Iterator<Item = &Permissions> {
        std::iter::once(&self.normal).chain(&self.quarantine)
    }
}

/// What one grant of a policy permits.
#[derive(Debug, Default)]
pub(crate) struct Permissions {
    pub(crate) publish: Rules,
    pub(crate) subscribe: Rules,
    pub(crate) responses: Option<ResponsePermission>,
}

#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) allow: Vec<Rule>,
    pub(crate) deny: Vec<Rule>,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) template: Template,
    pub(crate) location: Location,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) lifetime: Lifetime,
    pub(crate) connection_types: Vec<ConnectionType>,
    pub(crate) sources: Vec<IpNetwork>,
}

/// A sharing between devices that the policy owns up to.
#[derive(Debug)]
pub(crate) struct Shared {
    /// A NATS pattern; a variable of the template is `*` here, as its value differs.
    pub(crate) pattern: String,
    pub(crate) reason: String,
    pub(crate) location: Location,
}
