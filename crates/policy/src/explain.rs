//! Why a device gets what it gets, for people.

use std::fmt;

use serde::Serialize;

use crate::connection::ConnectionFacts;
use crate::decide::{DeviceFacts, PolicyDenial};
use crate::grant::{Grant, SubjectRules};
use crate::problem::Location;
use crate::set::PolicySet;

/// Why a device gets what it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Id of the device.
    pub device: String,
    /// The policy that decided, if one matched.
    pub policy: Option<PolicyChoice>,
    /// The policies before it, and why they don't match.
    pub passed_over: Vec<PolicyChoice>,
    /// What the device gets.
    pub outcome: Outcome,
}

/// A policy and why it matches, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyChoice {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub location: Location,
    /// Why.
    pub because: String,
}

/// What came out for a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A grant.
    Grant(Box<Grant>),
    /// A denial.
    Denial(PolicyDenial),
}

impl From<Result<Grant, PolicyDenial>> for Outcome {
    fn from(decision: Result<Grant, PolicyDenial>) -> Self {
        match decision {
            Ok(grant) => Self::Grant(Box::new(grant)),
            Err(denial) => Self::Denial(denial),
        }
    }
}

impl PolicySet {
    /// Explains the decision about a device; without a `connection`, as if every connection that
    /// the policy can name were admitted.
    #[must_use]
    pub fn explain(
        &self,
        device: &DeviceFacts<'_>,
        connection: Option<&ConnectionFacts>,
    ) -> Explanation {
        let mut passed_over = Vec::new();
        let mut matched = None;
        for policy in &self.policies {
            let verdict = policy
                .selector
                .explain(device.device_type, device.attributes);
            let choice = |because| PolicyChoice {
                name: policy.name.to_string(),
                location: policy.location.clone(),
                because,
            };
            match verdict {
                Ok(because) => {
                    matched = Some((policy, choice(because)));
                    break;
                }
                Err(because) => passed_over.push(choice(because)),
            }
        }
        let (policy, outcome) = match matched {
            None => (None, Outcome::Denial(PolicyDenial::NoPolicy)),
            Some((policy, choice)) => (Some(choice), policy.decide(device, connection).into()),
        };
        Explanation {
            device: device.id.to_string(),
            policy,
            passed_over,
            outcome,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.policy {
            Some(choice) => write!(f, "{choice}")?,
            None => write!(f, "no policy matches {}", self.device)?,
        }
        match &self.outcome {
            Outcome::Grant(grant) => write!(f, "\n{grant}")?,
            Outcome::Denial(denial) => write!(f, "\n  denied ({}): {denial}", denial.reason())?,
        }
        for choice in &self.passed_over {
            let PolicyChoice {
                name,
                location,
                because,
            } = choice;
            write!(f, "\n  not policy \"{name}\" ({location}): {because}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PolicyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            location,
            because,
        } = self;
        write!(f, "policy \"{name}\" ({location}), because {because}")
    }
}

impl fmt::Display for Grant {
    /// A few indented lines, without an end of line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  publish    {}", self.publish)?;
        writeln!(f, "  subscribe  {}", self.subscribe)?;
        match self.responses {
            Some(responses) => writeln!(f, "  answers    {responses} to each message")?,
            None => writeln!(f, "  answers    none but to subjects it may publish")?,
        }
        let limits = self.limits.to_string();
        if !limits.is_empty() {
            writeln!(f, "  limits     {limits}")?;
        }
        write!(f, "  account {}, up to {}", self.account, self.lifetime)?;
        let types: Vec<&str> = self.connection_types.iter().map(|t| t.as_str()).collect();
        write!(f, ", over {}", types.join(", "))?;
        if !self.sources.is_empty() {
            let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
            write!(f, ", from {}", sources.join(", "))?;
        }
        if self.quarantined {
            f.write_str(" (quarantine)")?;
        }
        Ok(())
    }
}

impl fmt::Display for SubjectRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.allow().is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&self.allow().join("   "))?;
        match self.deny() {
            [] => Ok(()),
            deny => write!(f, "   but not {}", deny.join("   ")),
        }
    }
}
