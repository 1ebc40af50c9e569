//! The proof that no device reaches another's subjects, and the list of what they share.
//!
//! Reasoned on the subject patterns, for all ids at once, with site, type and attributes chosen by
//! an adversary. For two devices with different ids in one account, whatever one publishes or
//! subscribes to must have nothing in common with what the other publishes or subscribes to:
//! - publish with subscribe: one writes to the other, or reads what it publishes;
//! - subscribe with subscribe: one reads what is sent to the other;
//! - publish with publish: one speaks in the other's name.
//!
//! Four things reach further than they look, and count as what they reach:
//! - A response permission lets its holder publish to the reply subject of whatever it receives,
//!   deny lists notwithstanding, and reply subjects are not checked when a message is published
//!   (server/client.go, `pubAllowedFullCheck`). Whoever can be sent a message by a device, itself
//!   included, and may answer, may publish on `>`. A device may hold sessions under several grants
//!   at a time: while it is being quarantined, or while a replica serves a stale record.
//! - A grant on `$JS` reaches every stream's subjects, to read and, as answers go to an unchecked
//!   reply subject, to write; one on `$KV` or `$O` (object stores) reaches the whole bucket.
//! - A subscribe entry that ends in `*` also admits a subscription that ends in `>`.
//! - A leaf node's deliveries are checked against its publish list, and `$MQTT.>` is open to it
//!   (server/client.go, `deliverMsg`, `pubAllowedFullCheck`). None of the above holds there, so a
//!   policy that admits leaf nodes counts as reaching everything.
//!
//! Deny entries count where one of them covers the whole overlap. nats-server keeps to that from
//! 2.12.8 on, for MQTT from 2.14.3 on: older ones deliver to a wildcard subscription what a deny
//! entry covers that does not lie in it (server/client.go, `loadMsgDenyFilter`).
//!
//! Not part of the proof: imports, exports and mappings between accounts, and what streams make of
//! a message's headers (`Nats-Rollup`, `Nats-Schedule-Target`, `Nats-Msg-Id`).

mod display;
mod overlap;
mod party;
mod search;

use serde::Serialize;

use crate::problem::Location;
use crate::set::PolicySet;

/// What devices of different ids share under a set of policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Every policy, and whether its devices share anything.
    pub policies: Vec<ProvenPolicy>,
    /// Every way in which a device reaches another.
    pub sharings: Vec<Sharing>,
    /// Where answers that a device asks for can be sent.
    pub reply_paths: Vec<ReplyPath>,
    /// Entries of `shared` that nothing is shared under.
    pub unused: Vec<Declaration>,
}

/// A policy that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProvenPolicy {
    /// Which.
    pub policy: PolicyRef,
    /// The account of its devices.
    pub account: String,
    /// Whether its devices share nothing at all, declared or not.
    pub isolated: bool,
}

/// A policy by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PolicyRef {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub location: Location,
}

/// A subject that devices of different ids have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sharing {
    /// The NATS pattern of what is shared, over all devices.
    pub subject: String,
    /// The account it is in.
    pub account: String,
    /// How it comes about.
    pub cause: Cause,
    /// The policies whose devices are reached or reach; each must declare the sharing.
    pub between: Vec<PolicyRef>,
    /// Where it is declared.
    pub declared: Vec<Declaration>,
    /// The policies that don't declare it.
    pub undeclared: Vec<PolicyRef>,
}

/// How devices come to share a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// Entries of their allow lists overlap.
    Overlap {
        /// The entries.
        grants: Vec<GrantRef>,
        /// What that lets devices do.
        effects: Vec<Effect>,
        /// How one of the subjects would be a device's own.
        scope: String,
    },
    /// A device that may answer can be sent messages by a device.
    Responses {
        /// The policy whose devices may answer.
        policy: String,
        /// Whether it is the quarantine grant.
        quarantine: bool,
        /// The subjects on which it receives them.
        heard: Vec<Heard>,
    },
    /// The policy admits leaf nodes, whose permissions nats-server checks by other rules.
    LeafNodes {
        /// The policy.
        policy: String,
    },
    /// JetStream's own subjects are granted.
    JetStream {
        /// The entry.
        grant: GrantRef,
    },
}

/// An entry of an allow list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GrantRef {
    /// Its policy.
    pub policy: String,
    /// Whether it belongs to the quarantine grant.
    pub quarantine: bool,
    /// Which list.
    pub list: List,
    /// The entry, `{prefix}` expanded.
    pub subject: String,
    /// Where it stands.
    pub location: Location,
}

/// An allow list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum List {
    /// `publish.allow`
    Publish,
    /// `subscribe.allow`
    Subscribe,
}

/// What devices of one policy can do to devices of another, or of the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Effect {
    /// What.
    pub act: Act,
    /// Policy of the device that does it.
    pub by: String,
    /// Policy of the device that it is done to.
    pub to: String,
}

/// What a device can do to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Publish to what the other subscribes to.
    PublishTo,
    /// Publish what the other publishes.
    PublishAs,
    /// Read what is sent to the other.
    ReadReceived,
    /// Read what the other publishes.
    ReadPublished,
}

/// A subject on which a device that may answer hears a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Heard {
    /// The subject.
    pub subject: String,
    /// Policy of the sender; `None` if the device can send it to itself, if need be from a session
    /// under another grant.
    pub from: Option<String>,
}

/// An entry of `shared`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Declaration {
    /// Its policy.
    pub policy: String,
    /// The pattern.
    pub subject: String,
    /// The reason given.
    pub reason: String,
    /// Where it stands.
    pub location: Location,
}

/// Subjects into which a device can have an answer to its messages sent: reply subjects are not
/// checked, so whatever acknowledges or answers `via` may be made to write to `into`, where it
/// reaches other devices or passes for what they publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplyPath {
    /// The policy.
    pub policy: PolicyRef,
    /// Its account.
    pub account: String,
    /// What its devices publish.
    pub via: Vec<String>,
    /// What devices of the account subscribe to or publish.
    pub into: Vec<String>,
}

impl Proof {
    /// Whether no device reaches another's subjects but where every policy concerned declares it
    /// under `shared`.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.sharings.iter().all(Sharing::is_declared)
    }
}

impl Sharing {
    /// Whether every policy concerned declares it.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        self.undeclared.is_empty()
    }
}

impl PolicySet {
    /// [`prove`] for this set alone.
    #[must_use]
    pub fn prove(&self) -> Proof {
        prove(&[self])
    }
}

/// Proves the isolation of devices under all `sets` together, as with several trust domains whose
/// devices share accounts.
#[must_use]
pub fn prove(sets: &[&PolicySet]) -> Proof {
    let policies: Vec<_> = sets.iter().flat_map(|set| &set.policies).collect();
    search::search(&policies)
}

#[cfg(test)]
mod tests;
