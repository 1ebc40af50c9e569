//! What a decision gives a device.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::connection::ConnectionType;
use crate::network::IpNetwork;
use crate::units::{format_bytes, format_secs};

/// Everything that a policy gives to one device; equal for equal policy and facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Name of the policy.
    pub policy: Arc<str>,
    /// The account that the device's user lives in.
    pub account: Arc<str>,
    /// What the device may publish.
    pub publish: SubjectRules,
    /// What the device may subscribe to.
    pub subscribe: SubjectRules,
    /// Leave to answer a message on its reply subject, whatever `publish` denies.
    pub responses: Option<ResponsePermission>,
    /// How long the user JWT lasts.
    pub lifetime: Lifetime,
    /// How the device may connect; checked by the decision.
    pub connection_types: Vec<ConnectionType>,
    /// Where the device may connect from; empty for anywhere. Checked by the decision.
    pub sources: Vec<IpNetwork>,
    /// Limits of the session.
    pub limits: Limits,
    /// Whether this is the policy's quarantine grant.
    pub quarantined: bool,
}

/// Subjects allowed and denied; a denial outweighs.
///
/// nats-server reads an empty allow list as "everything" (server/accounts.go,
/// `buildPermissionsFromJwt`). Rules that allow nothing therefore always deny `>`, and the
/// fields can't be set apart from each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubjectRules {
    allow: Vec<String>,
    deny: Vec<String>,
}

impl SubjectRules {
    /// Rules that allow `allow` without `deny`; an empty `allow` is nothing at all.
    #[must_use]
    pub fn new(allow: Vec<String>, deny: Vec<String>) -> Self {
        if allow.is_empty() {
            return Self::nothing();
        }
        Self { allow, deny }
    }

    /// Rules that allow nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            allow: Vec::new(),
            deny: vec![">".to_owned()],
        }
    }

    /// The allow list. Never hand it to nats-server without [`deny`](Self::deny).
    #[must_use]
    pub fn allow(&self) -> &[String] {
        &self.allow
    }

    /// The deny list, `[">"]` if nothing is allowed.
    #[must_use]
    pub fn deny(&self) -> &[String] {
        &self.deny
    }
}

/// Leave to publish to the reply subjects of received messages (nats-server `allow_responses`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResponsePermission {
    /// Answers to one message, from 1.
    pub max: i32,
    /// How long after the message.
    #[serde(rename = "ttl_secs", serialize_with = "as_secs")]
    pub ttl: Duration,
}

fn as_secs<S: Serializer>(ttl: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(ttl.as_secs())
}

impl fmt::Display for ResponsePermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} within {}", self.max, format_secs(self.ttl.as_secs()))
    }
}

/// How long a user JWT lasts, and how far that is spread so that sessions don't end together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lifetime {
    /// Mean in seconds.
    pub secs: u64,
    /// Largest deviation, in percent of `secs`.
    pub jitter_percent: u8,
}

impl Lifetime {
    /// The lifetime of one JWT in seconds, spread evenly over mean ± jitter by `random`, which is
    /// uniform over all of `u64`.
    #[must_use]
    pub fn spread_secs(self, random: u64) -> u64 {
        let deviation = u128::from(self.secs) * u128::from(self.jitter_percent) / 100;
        let offset = (u128::from(random) * (2 * deviation + 1)) >> 64;
        let shortest = u128::from(self.secs).saturating_sub(deviation);
        u64::try_from(shortest + offset).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_secs(self.secs))?;
        match self.jitter_percent {
            0 => Ok(()),
            percent => write!(f, " ± {percent} %"),
        }
    }
}

/// Limits of a session. nats-server does not enforce them for users of an auth callout; account
/// limits in its configuration are the hard ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Most subscriptions at a time.
    pub subscriptions: Option<i64>,
    /// Largest message in bytes.
    pub payload_bytes: Option<i64>,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subscriptions = self.subscriptions.map(|n| format!("{n} subscriptions"));
        let payload = self
            .payload_bytes
            .map(|n| format!("messages up to {}", format_bytes(n.unsigned_abs())));
        let parts: Vec<String> = subscriptions.into_iter().chain(payload).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_without_an_allow_list_deny_everything() {
        for deny in [vec![], vec!["device.0001.x".to_owned()]] {
            let rules = SubjectRules::new(Vec::new(), deny);
            assert_eq!(rules, SubjectRules::nothing());
            assert!(rules.allow().is_empty());
            assert_eq!(rules.deny(), [">"]);
        }
    }

    #[test]
    fn lifetimes_spread_over_the_whole_jitter() {
        let lifetime = Lifetime {
            secs: 1000,
            jitter_percent: 20,
        };
        assert_eq!(lifetime.spread_secs(0), 800);
        assert_eq!(lifetime.spread_secs(u64::MAX), 1200);
        assert_eq!(lifetime.spread_secs(u64::MAX / 2), 1000);
        let exact = Lifetime {
            secs: 1000,
            jitter_percent: 0,
        };
        assert_eq!(exact.spread_secs(u64::MAX), 1000);
    }
}
