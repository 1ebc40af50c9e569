//! What a device may do: TOML files, compiled once into [`PolicySet`], decided for each log-in
//! into a [`Grant`], and proven to keep devices apart.
//!
//! A policy names the subjects that its devices publish and subscribe to, with the device's own
//! values in whole tokens (`device.{id}.status`). The first policy whose `match` fits a device
//! decides. What can't be read with certainty is refused when loading, all of it at once, with file
//! and line; what can't be substituted with certainty is denied when deciding.
//!
//! Pure: no file, no network, no clock.

mod cases;
mod connection;
mod decide;
mod document;
mod explain;
mod grant;
mod network;
mod policy;
mod problem;
mod prove;
mod read;
mod select;
mod set;
mod subject;
mod template;
mod units;

pub use cases::{CaseResult, CaseResults, Difference, run_cases};
pub use connection::{ConnectionFacts, ConnectionType, is_mqtt_client_id_of};
pub use decide::{DeviceFacts, PolicyDenial};
pub use explain::{Explanation, Outcome, PolicyChoice};
pub use grant::{Grant, Lifetime, Limits, ResponsePermission, SubjectRules};
pub use network::IpNetwork;
pub use problem::{LoadPolicyError, LoadPolicyErrors, Location};
pub use prove::{
    Act, Cause, Declaration, Effect, GrantRef, Heard, List, PolicyRef, Proof, ProvenPolicy,
    ReplyPath, Sharing, prove,
};
pub use set::{Constants, PolicySet, PolicySource, PolicySummary};
pub use template::Variable;
