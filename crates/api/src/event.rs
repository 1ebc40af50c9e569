use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{self as registry, EventHash, EventKind, FeedPosition};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::schema;

/// One link of the chain of everything that was done to the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place, from 1, without gaps.
    pub seq: u64,
    /// When it was done, by the clock of the process that did it; not ordered like `seq`.
    #[schema(value_type = schema::Time)]
    pub at: UnixMs,
    /// Who did it.
    pub actor: String,
    /// What kind of change it is.
    #[schema(value_type = String, example = "device-registered")]
    pub kind: EventKind,
    /// The device that changed, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::DeviceId, required = false)]
    pub device: Option<DeviceId>,
    /// What changed.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// The hash of the event before; zeros for the first.
    #[schema(value_type = schema::Sha256)]
    pub previous_hash: EventHash,
    /// SHA-256 of `previous_hash` and the RFC 8785 form of this event without its two hashes.
    #[schema(value_type = schema::Sha256)]
    pub hash: EventHash,
}

impl From<registry::Event> for Event {
    fn from(event: registry::Event) -> Self {
        Self {
            seq: event.seq,
            at: event.at,
            actor: event.actor,
            kind: event.kind,
            device: event.device,
            detail: event.detail,
            previous_hash: event.previous_hash,
            hash: event.hash,
        }
    }
}

/// Events in their order, of the devices that the reader's scope reaches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventList {
    /// The events.
    pub events: Vec<Event>,
    /// The newest event that was looked at: `after` for the next page.
    pub next_after: u64,
    /// The registry's newest event. Where it equals `next_after`, there is nothing more to read.
    pub newest: u64,
    /// Which life of the feed this is; another one after a restore, whose numbers may mean other events.
    #[schema(value_type = schema::Epoch)]
    pub epoch: String,
}

/// Whether the chain of events holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditReport {
    /// Whether every link holds, from the first event to the newest that is recorded.
    pub intact: bool,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub problem: Option<String>,
    /// How many events are recorded.
    pub events: u64,
    /// The hash of the newest. Whoever keeps it elsewhere can tell later whether the chain still passes through it.
    #[schema(value_type = schema::Sha256)]
    pub head: String,
    /// Which life of the feed this is.
    #[schema(value_type = schema::Epoch)]
    pub epoch: String,
    /// How many signed checkpoints the chain was compared with, and passes through.
    #[serde(default)]
    pub checkpoints: u64,
    /// When the registry was restored from a backup. Each must be known to somebody.
    #[serde(default)]
    pub restores: Vec<Restore>,
}

/// A restore of the registry from a backup, which began a new epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restore {
    /// The event that began it.
    pub seq: u64,
    /// When.
    #[schema(value_type = schema::Time)]
    pub at: UnixMs,
    /// How many signed checkpoints are of events that were lost by it.
    pub lost_checkpoints: u64,
}

/// A signed statement of what the newest event was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checkpoint {
    /// Which life of the feed it is of.
    #[schema(value_type = schema::Epoch)]
    pub epoch: String,
    /// The newest event.
    pub seq: u64,
    /// Its hash.
    #[schema(value_type = schema::Sha256)]
    pub hash: EventHash,
    /// When it was the newest.
    #[schema(value_type = schema::Time)]
    pub at: UnixMs,
    /// The SHA-256 of the signer's public key (SubjectPublicKeyInfo).
    #[schema(value_type = schema::Sha256)]
    pub key: String,
    /// The Ed25519 signature (base64) of five lines: `leafgate audit checkpoint 1`, `epoch …`, `seq …`, `hash …`, `at …`.
    pub signature: String,
}

/// Checkpoints in the order of their events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckpointList {
    /// The checkpoints.
    pub checkpoints: Vec<Checkpoint>,
    /// `after` for the next page; null on the last one.
    #[schema(required)]
    pub next_after: Option<u64>,
}

impl AuditReport {
    /// The report of a chain that holds up to this position.
    pub fn intact(position: &FeedPosition) -> Self {
        Self {
            intact: true,
            problem: None,
            events: position.seq,
            head: position.hash.to_string(),
            epoch: position.epoch.to_string(),
            checkpoints: 0,
            restores: Vec::new(),
        }
    }

    /// The report of a chain that is recorded up to this position and does not hold.
    pub fn broken(position: &FeedPosition, problem: String) -> Self {
        Self {
            intact: false,
            problem: Some(problem),
            ..Self::intact(position)
        }
    }
}
