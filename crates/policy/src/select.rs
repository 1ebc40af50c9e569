//! Which devices a policy is for.

mod reach;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub(crate) use reach::{Reachability, reachability};

/// A device type and attributes that must all match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) device_type: Condition,
    pub(crate) attributes: BTreeMap<String, Condition>,
}

/// What one value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Any value; an attribute must be set.
    Any,
    /// One of these.
    OneOf(Vec<Arc<str>>),
}

impl Condition {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(values) => values.iter().any(|v| **v == *value),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("\"*\""),
            Self::OneOf(values) => {
                let quoted: Vec<String> = values.iter().map(|v| format!("\"{v}\"")).collect();
                f.write_str(&quoted.join(" or "))
            }
        }
    }
}

impl Selector {
    pub(crate) fn matches(&self, device_type: &str, attributes: &BTreeMap<String, String>) -> bool {
        self.device_type.matches(device_type)
            && self.attributes.iter().all(|(name, condition)| {
                attributes
                    .get(name)
                    .is_some_and(|value| condition.matches(value))
            })
    }

    /// Why a device matches, or the first reason why it does not.
    pub(crate) fn explain(
        &self,
        device_type: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let mut reasons = Vec::new();
        let values = self.attributes.iter().map(|(name, condition)| {
            let value = attributes.get(name).map(String::as_str);
            (format!("attribute {name}"), value, condition)
        });
        let device_type = (
            "device_type".to_owned(),
            Some(device_type),
            &self.device_type,
        );
        for (what, value, condition) in std::iter::once(device_type).chain(values) {
            let Some(value) = value else {
                return Err(format!("{what} is not set"));
            };
            let shown = value.escape_debug();
            if !condition.matches(value) {
                return Err(format!("{what} \"{shown}\" is not {condition}"));
            }
            reasons.push(format!("{what} \"{shown}\" matches {condition}"));
        }
        Ok(reasons.join(" and "))
    }
}
