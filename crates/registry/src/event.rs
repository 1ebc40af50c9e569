use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest;
use leafgate_identity::{DeviceId, UnixMs};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::canonical;
use crate::head::{EventHash, Head};

/// What a change says of itself: an event before it has its place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBody {
    /// When the change was made, by the clock of the process that made it.
    pub at: UnixMs,
    /// Who made it.
    pub actor: String,
    /// What kind of change it is.
    pub kind: EventKind,
    /// The device that changed, if one did.
    pub device: Option<DeviceId>,
    /// What changed. Never a secret.
    pub detail: Value,
}

impl EventBody {
    /// The event that follows `head`.
    pub fn after(&self, head: &Head) -> Event {
        self.link(head).event()
    }

    /// What makes this the event that follows `head`.
    pub(crate) fn link(&self, head: &Head) -> Link<'_> {
        let seq = head.seq + 1;
        let detail = canonical::to_string(&self.detail);
        let device = self.device.as_ref();
        let hash = hash(
            &head.hash,
            seq,
            self.at,
            &self.actor,
            &self.kind,
            device,
            &detail,
        );
        Link {
            body: self,
            seq,
            detail,
            previous_hash: head.hash,
            hash,
        }
    }
}

/// An event as a store appends it, without a copy of what it tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Link<'a> {
    /// What it tells.
    pub body: &'a EventBody,
    /// Its place, from 1, without gaps.
    pub seq: u64,
    /// The RFC 8785 form of `body.detail`, as it was hashed.
    pub detail: String,
    /// The hash of the event before; zeros for the first.
    pub previous_hash: EventHash,
    /// The event's own hash.
    pub hash: EventHash,
}

impl Link<'_> {
    /// The event on its own.
    pub fn event(&self) -> Event {
        let EventBody {
            at,
            actor,
            kind,
            device,
            detail,
        } = self.body.clone();
        Event {
            seq: self.seq,
            at,
            actor,
            kind,
            device,
            detail,
            previous_hash: self.previous_hash,
            hash: self.hash,
        }
    }
}

/// One link of the chain of changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its place, from 1, without gaps.
    pub seq: u64,
    /// When the change was made, by the clock of the process that made it; not ordered like `seq`.
    pub at: UnixMs,
    /// Who made it.
    pub actor: String,
    /// What kind of change it is.
    pub kind: EventKind,
    /// The device that changed, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// What changed.
    pub detail: Value,
    /// The hash of the event before; zeros for the first.
    pub previous_hash: EventHash,
    /// SHA-256 of `previous_hash` and the RFC 8785 form of this event without its two hashes.
    pub hash: EventHash,
}

impl Event {
    /// The hash that this event's content and `previous_hash` give.
    pub fn computed_hash(&self) -> EventHash {
        hash(
            &self.previous_hash,
            self.seq,
            self.at,
            &self.actor,
            &self.kind,
            self.device.as_ref(),
            &canonical::to_string(&self.detail),
        )
    }

    /// The chain's head once this is its newest event.
    pub fn head(&self) -> Head {
        Head {
            seq: self.seq,
            hash: self.hash,
        }
    }
}

/// `detail` in its canonical form.
fn hash(
    previous: &EventHash,
    seq: u64,
    at: UnixMs,
    actor: &str,
    kind: &EventKind,
    device: Option<&DeviceId>,
    detail: &str,
) -> EventHash {
    let actor = canonical::text(actor);
    let device = device.map_or_else(String::new, |device| {
        format!(",\"device\":{}", canonical::text(device.as_str()))
    });
    let kind = canonical::text(kind.as_str());
    // In the order of the canonical form.
    let json = format!(
        "{{\"actor\":{actor},\"at\":\"{at}\",\"detail\":{detail}{device},\"kind\":{kind},\"seq\":{seq}}}"
    );
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(previous.as_bytes());
    context.update(json.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    EventHash::from(bytes)
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $variant:ident => $name:literal),+ $(,)?) => {
        /// What kind of change an event tells of.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $variant,)+
            /// A kind that this version doesn't know, written by a newer one. If it names a device,
            /// a follower forgets what it knew of that device.
            Other(String),
        }

        impl EventKind {
            #[cfg(test)]
            const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// The name in kebab-case.
            pub fn as_str(&self) -> &str {
                match self { $(Self::$variant => $name,)+ Self::Other(name) => name }
            }
        }

        impl From<&str> for EventKind {
            fn from(name: &str) -> Self {
                match name { $($name => Self::$variant,)+ other => Self::Other(other.to_owned()) }
            }
        }
    };
}

event_kinds! {
    /// A device was registered, for the first time or again.
    DeviceRegistered => "device-registered",
    /// A pending device was let in.
    DeviceApproved => "device-approved",
    /// A disabled or quarantined device was let back in.
    DeviceEnabled => "device-enabled",
    /// A device was locked out until it is enabled.
    DeviceDisabled => "device-disabled",
    /// A device was narrowed to the quarantine grant.
    DeviceQuarantined => "device-quarantined",
    /// A device was locked out for good.
    DeviceRevoked => "device-revoked",
    /// A device was removed.
    DeviceDeleted => "device-deleted",
    /// A device's live sessions were ended.
    DeviceDisconnected => "device-disconnected",
    /// A device's type, site or attributes changed.
    DeviceEdited => "device-edited",
    /// An issuer that draws serial numbers only when it signs is about to be asked for a certificate.
    CertificateRequested => "certificate-requested",
    /// What was asked of such an issuer came to nothing, or to a certificate that nobody has and that is revoked there.
    CertificateAbandoned => "certificate-abandoned",
    /// A certificate is about to be signed.
    CertificatePrepared => "certificate-prepared",
    /// A certificate was signed.
    CertificateIssued => "certificate-issued",
    /// A certificate was replaced by a newer one.
    CertificateSuperseded => "certificate-superseded",
    /// A certificate was revoked.
    CertificateRevoked => "certificate-revoked",
    /// A key for the API was made.
    ApiKeyCreated => "api-key-created",
    /// A key for the API was revoked.
    ApiKeyRevoked => "api-key-revoked",
    /// A token for new devices was made.
    EnrolmentTokenCreated => "enrolment-token-created",
    /// A token for new devices was revoked.
    EnrolmentTokenRevoked => "enrolment-token-revoked",
    /// An issuer reached another place in its rotation.
    IssuerRotated => "issuer-rotated",
    /// Requests were refused: how many, by actor and reason.
    RequestsRefused => "requests-refused",
    /// A CRL number was taken.
    CrlNumbered => "crl-numbered",
    /// The feed has a new epoch, as after a restore.
    EpochStarted => "epoch-started",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(
            Cow::<'de, str>::deserialize(deserializer)?.as_ref(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body() -> EventBody {
        EventBody {
            at: UnixMs::new(1_795_230_184_117),
            actor: "cli:root".to_owned(),
            kind: EventKind::DeviceRegistered,
            device: Some(DeviceId::parse("0001").unwrap()),
            detail: json!({"state": "active", "generation": 1}),
        }
    }

    #[test]
    fn the_hash_is_of_the_previous_hash_and_the_canonical_content() {
        let event = body().after(&Head {
            seq: 6,
            hash: EventHash::from([7; 32]),
        });
        let content = format!(
            r#"{{"actor":"cli:root","at":"{}","detail":{{"generation":1,"state":"active"}},"device":"0001","kind":"device-registered","seq":7}}"#,
            event.at
        );
        let expected = digest::digest(
            &digest::SHA256,
            &[[7; 32].as_slice(), content.as_bytes()].concat(),
        );
        assert_eq!(event.hash.as_bytes(), expected.as_ref());
        assert_eq!(event.computed_hash(), event.hash);
        assert_eq!(
            event.head(),
            Head {
                seq: 7,
                hash: event.hash
            }
        );
    }

    #[test]
    fn json_carries_an_event_whole() {
        let event = body().after(&Head::GENESIS);
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        let anonymous = EventBody {
            device: None,
            ..body()
        }
        .after(&Head::GENESIS);
        let json = serde_json::to_value(&anonymous).unwrap();
        assert_eq!(json.get("device"), None);
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), anonymous);
    }

    #[test]
    fn a_kind_of_a_newer_version_keeps_its_name_and_its_hash() {
        let newer = EventBody {
            kind: EventKind::from("device-teleported"),
            ..body()
        }
        .after(&Head::GENESIS);
        assert_eq!(newer.kind, EventKind::Other("device-teleported".to_owned()));
        let read: Event = serde_json::from_str(&serde_json::to_string(&newer).unwrap()).unwrap();
        assert_eq!(read.computed_hash(), newer.hash);
        for kind in EventKind::KNOWN {
            assert_eq!(&EventKind::from(kind.as_str()), kind);
        }
    }
}
