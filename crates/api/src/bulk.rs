use leafgate_identity::{DeviceId, SpkiHash, UnixMs};
use leafgate_registry::{DeviceState, RevocationReason};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::ProblemType;
use crate::schema;

/// What came of one line of an import, under the line's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportResult {
    /// The number of the line, from 1; empty lines have a number and no result.
    pub line: u64,
    /// The device, where the line names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::DeviceId, required = false)]
    pub id: Option<DeviceId>,
    /// What was done.
    pub outcome: ImportOutcome,
    /// Why nothing was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub problem: Option<LineProblem>,
}

/// What an import did with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImportOutcome {
    /// The device is registered.
    Registered,
    /// It was registered just so before.
    Unchanged,
    /// It is not registered, or not as the line says.
    Failed,
}

/// A problem with one line of many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineProblem {
    /// What kind of problem: a URI that the API itself answers with a page about it.
    #[serde(rename = "type")]
    #[schema(example = "/problems/device-exists")]
    pub type_uri: String,
    /// The kind of problem in words.
    pub title: String,
    /// The status that a request about this line alone would have been answered with.
    pub status: u16,
    /// What is wrong with this line, and how to mend it.
    pub detail: String,
}

impl LineProblem {
    /// A problem of this kind.
    pub fn new(kind: ProblemType, detail: String) -> Self {
        Self {
            type_uri: kind.uri().to_owned(),
            title: kind.title().to_owned(),
            status: kind.status(),
            detail,
        }
    }

    /// The kind of problem, if this version knows it.
    pub fn problem_type(&self) -> Option<ProblemType> {
        ProblemType::from_uri(&self.type_uri)
    }
}

/// What is to be done to the state of many devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BulkAction {
    /// Let pending devices in.
    Approve,
    /// Let disabled and quarantined devices back in.
    Enable,
    /// Lock devices out until they are enabled.
    Disable,
    /// Narrow devices to the quarantine grant.
    Quarantine,
    /// Lock devices out for good.
    Revoke,
    /// Remove devices.
    Delete,
}

/// Which devices are meant: those that meet every condition. Without any condition, all within your scope.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkFilter {
    /// In this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::DeviceState>)]
    pub state: Option<DeviceState>,
    /// Of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_type: Option<String>,
    /// With this attribute, as NAME=VALUE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "line=4")]
    pub attribute: Option<String>,
    /// Of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// With an id that begins with this, case included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_prefix: Option<String>,
    /// Whose last issued certificate ends by this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub expires_by: Option<UnixMs>,
    /// With a certificate of the issuer with this key that is not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Sha256>)]
    pub issuer: Option<SpkiHash>,
}

/// A change of many devices that is considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanBulk {
    /// What is to be done.
    pub action: BulkAction,
    /// To which devices; `{}` for all within your scope.
    pub filter: BulkFilter,
}

/// How many devices a change would be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkPlan {
    /// Those that are selected and in a state from which the action leads on.
    pub devices: u64,
}

/// A change of many devices that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyBulk {
    /// What is to be done.
    pub action: BulkAction,
    /// Why devices are revoked, as revocation lists say it (RFC 5280 section 5.3.1); for `revoke` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::RevocationReason>)]
    pub reason: Option<RevocationReason>,
    /// To which devices; `{}` for all within your scope.
    pub filter: BulkFilter,
    /// How many they are, as the plan said. If they are more or fewer, nothing is done.
    pub expected: u64,
    /// How many are changed in a second at most; without it as many as can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub devices_per_second: Option<u32>,
}

/// What came of one device of a change of many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkResult {
    /// How many devices have had their turn, this one included.
    pub done: u64,
    /// How many there are.
    pub of: u64,
    /// The device.
    #[schema(value_type = schema::DeviceId)]
    pub id: DeviceId,
    /// What was done.
    pub outcome: BulkOutcome,
    /// Its state afterwards, where it was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::DeviceState, required = false)]
    pub state: Option<DeviceState>,
    /// Why it was not changed, or what is still to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub problem: Option<LineProblem>,
}

/// What a change of many did with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BulkOutcome {
    /// It is changed.
    Changed,
    /// Somebody changed it meanwhile, so that it is no longer among the selected.
    Skipped,
    /// It is not changed; the problem says why.
    Failed,
}
