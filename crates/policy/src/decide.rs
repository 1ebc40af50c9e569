//! From a device and its connection to a grant: the hot path.

use std::collections::BTreeMap;

use leafgate_identity::{DeviceId, is_token};
use serde::Serialize;

use crate::connection::{ConnectionFacts, ConnectionType};
use crate::grant::{Grant, SubjectRules};
use crate::policy::{Permissions, Policy, Rule, Rules, Session};
use crate::set::PolicySet;
use crate::template::Variable;

/// What a decision knows of a device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceFacts<'a> {
    /// Its id.
    pub id: &'a DeviceId,
    /// Its type; may be empty.
    pub device_type: &'a str,
    /// The site it connects at; may be empty.
    pub site: &'a str,
    /// Its attributes.
    pub attributes: &'a BTreeMap<String, String>,
    /// Whether it gets the quarantine grant only.
    pub quarantined: bool,
}

/// Why a policy gives a device nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum PolicyDenial {
    /// No policy matches the device.
    #[serde(rename = "policy-none")]
    #[error("no policy matches the device: add one, or correct the device's type or attributes")]
    NoPolicy,
    /// The device is quarantined and its policy has no quarantine grant.
    #[serde(rename = "policy-quarantine-none")]
    #[error("the device is quarantined and its policy has no [policy.quarantine]")]
    QuarantineNotGranted,
    /// The policy does not admit this kind of connection.
    #[error("the policy does not admit this connection type: see session.connection_types")]
    ConnectionTypeNotAllowed,
    /// The policy does not admit this source address.
    #[error("the policy does not admit this source address: see session.sources")]
    SourceNotAllowed,
    /// A subject of the policy needs a value that the device has not got.
    #[serde(rename = "policy-variable-missing")]
    #[error("the policy uses {variable}, which the device has no value for: set one")]
    VariableMissing {
        /// The variable.
        variable: Variable,
    },
    /// A subject of the policy needs a value that is no token of the device-id alphabet.
    #[serde(rename = "policy-variable-malformed")]
    #[error(
        "the device's value of {variable} can't stand in a subject: use 1 to 64 of A-Z a-z 0-9 _ -, \
         beginning and ending with a letter or digit"
    )]
    VariableNotToken {
        /// The variable.
        variable: Variable,
    },
}

impl PolicyDenial {
    /// Every reason, in the order of the checks.
    pub const REASONS: [&'static str; 6] = [
        "policy-none",
        "policy-quarantine-none",
        "connection-type-not-allowed",
        "source-not-allowed",
        "policy-variable-missing",
        "policy-variable-malformed",
    ];

    /// The reason in kebab-case, for logs, metrics and golden cases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        let n = match self {
            Self::NoPolicy => 0,
            Self::QuarantineNotGranted => 1,
            Self::ConnectionTypeNotAllowed => 2,
            Self::SourceNotAllowed => 3,
            Self::VariableMissing { .. } => 4,
            Self::VariableNotToken { .. } => 5,
        };
        Self::REASONS[n]
    }
}

impl PolicySet {
    /// What the first matching policy gives to a device on a connection.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn decide(
        &self,
        device: &DeviceFacts<'_>,
        connection: &ConnectionFacts,
    ) -> Result<Grant, PolicyDenial> {
        let matches = |policy: &&Policy| {
            policy
                .selector
                .matches(device.device_type, device.attributes)
        };
        let policy = self.policies.iter().find(matches);
        policy
            .ok_or(PolicyDenial::NoPolicy)?
            .decide(device, Some(connection))
    }
}

impl Policy {
    /// What a device that the policy matches gets; without a `connection`, on any that is admitted.
    pub(crate) fn decide(
        &self,
        device: &DeviceFacts<'_>,
        connection: Option<&ConnectionFacts>,
    ) -> Result<Grant, PolicyDenial> {
        let permissions = self.permissions_of(device)?;
        connection.map_or(Ok(()), |connection| self.session.admit(connection))?;
        self.grant(permissions, device)
    }

    fn permissions_of(&self, device: &DeviceFacts<'_>) -> Result<&Permissions, PolicyDenial> {
        if !device.quarantined {
            return Ok(&self.normal);
        }
        self.quarantine
            .as_ref()
            .ok_or(PolicyDenial::QuarantineNotGranted)
    }

    fn grant(
        &self,
        permissions: &Permissions,
        device: &DeviceFacts<'_>,
    ) -> Result<Grant, PolicyDenial> {
        Ok(Grant {
            policy: self.name.clone(),
            account: self.account.clone(),
            publish: render_rules(&permissions.publish, device)?,
            subscribe: render_rules(&permissions.subscribe, device)?,
            responses: permissions.responses,
            lifetime: self.session.lifetime,
            connection_types: self.session.connection_types.clone(),
            sources: self.session.sources.clone(),
            limits: self.limits,
            quarantined: device.quarantined,
        })
    }
}

impl Session {
    fn admit(&self, connection: &ConnectionFacts) -> Result<(), PolicyDenial> {
        let kind: ConnectionType = connection.connection_type;
        if !self.connection_types.contains(&kind) {
            return Err(PolicyDenial::ConnectionTypeNotAllowed);
        }
        let known = |address| self.sources.iter().any(|network| network.contains(address));
        if !self.sources.is_empty() && !connection.source.is_some_and(known) {
            return Err(PolicyDenial::SourceNotAllowed);
        }
        Ok(())
    }
}

fn render_rules(rules: &Rules, device: &DeviceFacts<'_>) -> Result<SubjectRules, PolicyDenial> {
    let render = |rules: &[Rule]| -> Result<Vec<String>, PolicyDenial> {
        rules
            .iter()
            .map(|rule| rule.template.render(|variable| device.token(variable)))
            .collect()
    };
    Ok(SubjectRules::new(
        render(&rules.allow)?,
        render(&rules.deny)?,
    ))
}

impl<'a> DeviceFacts<'a> {
    /// The value of a variable, which is one token of the device-id alphabet.
    fn token(&self, variable: &Variable) -> Result<&'a str, PolicyDenial> {
        let value = match variable {
            Variable::Id => return Ok(self.id.as_str()),
            Variable::DeviceType => self.device_type,
            Variable::Site => self.site,
            Variable::Attribute(name) => self.attributes.get(&**name).map_or("", String::as_str),
        };
        if value.is_empty() {
            let variable = variable.clone();
            return Err(PolicyDenial::VariableMissing { variable });
        }
        if !is_token(value) {
            let variable = variable.clone();
            return Err(PolicyDenial::VariableNotToken { variable });
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
