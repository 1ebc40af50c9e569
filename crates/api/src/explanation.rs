use leafgate_identity::{DeviceId, SerialNumber, UnixMs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// Whether a device would be let in just now, and with which rights; or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The device.
    #[schema(value_type = schema::DeviceId)]
    pub device: DeviceId,
    /// The certificate that it was looked at with: the newest that counts, or else the newest; null if it has none.
    #[schema(value_type = Option<schema::SerialNumber>, required)]
    pub certificate: Option<SerialNumber>,
    /// Whether it would be let in.
    pub admitted: bool,
    /// What it would be granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Grant, required = false)]
    pub grant: Option<Grant>,
    /// When the session would end at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::Time, required = false)]
    pub until: Option<UnixMs>,
    /// Why it would be refused, as in the callout's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "device-disabled")]
    pub reason: Option<String>,
    /// What exactly, where the reason does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub detail: Option<String>,
}

/// Everything that a policy gives to one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// The policy.
    pub policy: String,
    /// The account that the device's user lives in.
    pub account: String,
    /// What the device may publish.
    pub publish: GrantSubjects,
    /// What the device may subscribe to.
    pub subscribe: GrantSubjects,
    /// Leave to answer a message on its reply subject.
    #[schema(required)]
    pub responses: Option<GrantResponses>,
    /// How long a session lasts.
    pub lifetime: GrantLifetime,
    /// How the device may connect.
    pub connection_types: Vec<String>,
    /// Networks that the device may connect from; empty for anywhere.
    pub sources: Vec<String>,
    /// Limits of the session.
    pub limits: GrantLimits,
    /// Whether this is the policy's quarantine grant.
    pub quarantined: bool,
}

/// Subjects allowed and denied; a denial outweighs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantSubjects {
    /// Allowed.
    pub allow: Vec<String>,
    /// Denied.
    pub deny: Vec<String>,
}

/// Leave to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantResponses {
    /// Answers to one message.
    pub max: i32,
    /// How long after the message, in seconds.
    pub ttl_secs: u64,
}

/// How long a session lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantLifetime {
    /// Mean in seconds.
    pub secs: u64,
    /// Largest deviation, in percent.
    pub jitter_percent: u8,
}

/// Limits of a session; null for none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantLimits {
    /// Most subscriptions at a time.
    #[schema(required)]
    pub subscriptions: Option<i64>,
    /// Largest message in bytes.
    #[schema(required)]
    pub payload_bytes: Option<i64>,
}
