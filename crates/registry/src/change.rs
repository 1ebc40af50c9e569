mod certificate;
mod device;
mod service;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::sync::Arc;

use leafgate_identity::{DeviceId, UnixMs};
use serde_json::{Value, json};

pub use self::device::{DeviceEdit, NewDevice};
use crate::certificate::{Certificate, CertificateId, CertificateStatusKind};
use crate::device::{Crl, Device, DeviceRecord};
use crate::document::DocumentWrite;
use crate::event::{EventBody, EventKind};
use crate::feed::Epoch;
use crate::state::{Action, DeviceState};

/// One write to the registry with the one event that tells of it. Only the functions of this crate build it, each from
/// the record that it changes, so that a change that exists is legal for that record. A store refuses it if the record
/// is another by then.
///
/// A clone shares what it is made of: stores hand changes on to the task that writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Change(Arc<Parts>);

#[derive(Debug, Clone, PartialEq)]
struct Parts {
    write: Write,
    documents: Vec<DocumentWrite>,
    event: EventBody,
}

impl Change {
    fn new(write: Write, event: EventBody) -> Self {
        Self(Arc::new(Parts {
            write,
            documents: Vec::new(),
            event,
        }))
    }

    /// What a store has to write.
    pub fn write(&self) -> &Write {
        &self.0.write
    }

    /// The documents that a store has to write with it.
    pub fn documents(&self) -> &[DocumentWrite] {
        &self.0.documents
    }

    /// The same change, which writes this document too.
    #[must_use]
    pub fn with_document(mut self, write: DocumentWrite) -> Self {
        Arc::make_mut(&mut self.0).documents.push(write);
        self
    }

    /// The event that a store has to append with it.
    pub fn event(&self) -> &EventBody {
        &self.0.event
    }

    /// The device as it will be, if this changes one: what a further change in the same commit builds on, and what to
    /// answer without reading again.
    pub fn device_after(&self) -> Option<&DeviceRecord> {
        match self.write() {
            Write::Device(write) => Some(&write.record),
            _ => None,
        }
    }

    /// The same, without a copy where nobody else holds the change.
    pub fn into_device_after(self) -> Option<DeviceRecord> {
        match Arc::unwrap_or_clone(self.0).write {
            Write::Device(write) => Some(write.record),
            _ => None,
        }
    }

    /// The service certificate as it will be, if this changes one.
    pub fn service_certificate_after(&self) -> Option<&Certificate> {
        match self.write() {
            Write::ServiceCertificate(write) => Some(&write.after),
            _ => None,
        }
    }

    /// Takes the next CRL number of an issuer, before the list is signed. `previous` is the issuer's newest list, if it
    /// has one.
    ///
    /// # Errors
    /// If `next_update` doesn't come after `this_update`.
    pub fn record_crl(
        previous: Option<&Crl>,
        next: NewCrl,
        act: &Act,
    ) -> Result<Self, BuildChangeError> {
        let NewCrl {
            issuer,
            this_update,
            next_update,
        } = next;
        if next_update <= this_update {
            return Err(BuildChangeError::Malformed {
                field: "next_update".to_owned(),
                problem: "must come after this_update",
            });
        }
        debug_assert!(previous.is_none_or(|previous| previous.issuer == issuer));
        let expected_number = previous.map(|previous| previous.number);
        let crl = Crl {
            issuer,
            number: expected_number.unwrap_or(0) + 1,
            this_update,
            next_update,
        };
        let detail = json!({
            "issuer": issuer,
            "number": crl.number,
            "this_update": this_update,
            "next_update": next_update,
        });
        let event = act.event(EventKind::CrlNumbered, None, detail);
        let write = Write::Crl(CrlWrite {
            expected_number,
            crl,
        });
        Ok(Self::new(write, event))
    }

    /// Gives the feed a new epoch, after which followers drop what they know and start anew: for a store that was
    /// restored from a backup.
    pub fn start_epoch(epoch: Epoch, act: &Act) -> Self {
        let event = act.event(
            EventKind::EpochStarted,
            None,
            json!({ "epoch": epoch.to_string() }),
        );
        Self::new(Write::Epoch(epoch), event)
    }

    /// Somebody ends this many live sessions of a device, which changes nothing that is kept.
    pub fn disconnect(device: &DeviceId, sessions: u64, act: &Act) -> Self {
        let event = act.event(
            EventKind::DeviceDisconnected,
            Some(device.clone()),
            json!({ "sessions": sessions }),
        );
        Self::new(Write::Nothing, event)
    }

    /// An event that changes no device and no certificate: about the documents that come with it
    /// ([`with_document`](Self::with_document)), or about something that happened.
    pub fn note(kind: EventKind, detail: Value, act: &Act) -> Self {
        Self::new(Write::Nothing, act.event(kind, None, detail))
    }
}

/// What a [`Change`] writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A device and those of its certificates that change with it.
    Device(DeviceWrite),
    /// A certificate of a server or client of the installation itself.
    ServiceCertificate(Box<ServiceCertificateWrite>),
    /// The number of an issuer's next CRL.
    Crl(CrlWrite),
    /// The feed's new epoch.
    Epoch(Epoch),
    /// Nothing but the event, and documents that come with it.
    Nothing,
}

/// The write of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceWrite {
    /// The version that the store must hold; `None` if it must hold no device of this id, in whatever case.
    pub expected_version: Option<u64>,
    /// The device afterwards, with all of its certificates.
    pub record: DeviceRecord,
    /// Those of its certificates that are new or changed.
    pub certificates: Vec<CertificateWrite>,
}

/// The write of one certificate of a device.
#[derive(Debug, Clone, PartialEq)]
pub enum CertificateWrite {
    /// A new one, whose issuer and serial number no other may have.
    Insert(Certificate),
    /// The new status and fingerprint of one that the device has.
    Update(Certificate),
}

/// The write of a service certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceCertificateWrite {
    /// The certificate as the store must hold it; `None` if it must hold none of this issuer and serial number.
    pub before: Option<Certificate>,
    /// The certificate afterwards.
    pub after: Certificate,
}

/// The write of a CRL number.
#[derive(Debug, Clone, PartialEq)]
pub struct CrlWrite {
    /// The issuer's newest number, which the store must hold; `None` if it must hold none.
    pub expected_number: Option<u64>,
    /// The list afterwards.
    pub crl: Crl,
}

/// A CRL that is about to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCrl {
    /// The key that will sign it.
    pub issuer: leafgate_identity::SpkiHash,
    /// When it is made.
    pub this_update: UnixMs,
    /// When the next one will be due at the latest.
    pub next_update: UnixMs,
}

/// Who changes something, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: UnixMs,
}

impl Act {
    fn event(&self, kind: EventKind, device: Option<DeviceId>, detail: Value) -> EventBody {
        EventBody {
            at: self.at,
            actor: self.actor.as_str().to_owned(),
            kind,
            device,
            detail,
        }
    }

    /// An event about a device, which always names its generation and version.
    fn device_event(&self, kind: EventKind, device: &Device, mut detail: Value) -> EventBody {
        detail["generation"] = device.generation.into();
        detail["version"] = device.version.into();
        self.event(kind, Some(device.id.clone()), detail)
    }
}

/// Who acts, as the audit trail names them, such as `cli:root` or `api:console`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor(String);

impl Actor {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 200;

    /// Takes a name of 1 to 200 bytes without control characters.
    ///
    /// # Errors
    /// [`ParseActorError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ParseActorError> {
        let valid =
            (1..=Self::MAX_LEN).contains(&text.len()) && !text.chars().any(char::is_control);
        valid.then(|| Self(text.to_owned())).ok_or(ParseActorError)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text that can't name an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an actor is named by 1 to 200 bytes without control characters")]
pub struct ParseActorError;

/// Why a change can't be made to a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildChangeError {
    /// The id names a device that is not deleted, or a tombstone of another spelling.
    #[error(
        "{existing} is {state}: the id is taken; ids are unique ignoring case and keep their spelling"
    )]
    IdTaken {
        /// The id as it is registered.
        existing: DeviceId,
        /// The state of that device.
        state: DeviceState,
    },
    /// The transition is not in the table.
    #[error("{id} is {state}: {action} does not apply{}", hint(*.state, *.action))]
    TransitionIllegal {
        /// The device.
        id: DeviceId,
        /// Its state.
        state: DeviceState,
        /// What was asked.
        action: Action,
    },
    /// The state lets nobody edit the device.
    #[error("{id} is {state}: it can no longer be changed")]
    EditIllegal {
        /// The device.
        id: DeviceId,
        /// Its state.
        state: DeviceState,
    },
    /// The state lets no certificate be issued.
    #[error("{id} is {state}: no certificate is issued to it")]
    IssueIllegal {
        /// The device.
        id: DeviceId,
        /// Its state.
        state: DeviceState,
    },
    /// The holder has no such certificate.
    #[error("no certificate {} of issuer {} is recorded here", .id.serial, .id.issuer)]
    CertificateUnknown {
        /// The certificate.
        id: CertificateId,
    },
    /// The certificate is recorded already.
    #[error("certificate {} of issuer {} is recorded already", .id.serial, .id.issuer)]
    CertificateExists {
        /// The certificate.
        id: CertificateId,
    },
    /// The certificate's status doesn't lead there.
    #[error("certificate {} of issuer {} is {status}: it can't become {next}", .id.serial, .id.issuer)]
    CertificateIllegal {
        /// The certificate.
        id: CertificateId,
        /// Its status.
        status: CertificateStatusKind,
        /// The status that was asked for.
        next: CertificateStatusKind,
    },
    /// The change would change nothing.
    #[error("{id} is like that already; nothing to change")]
    Unchanged {
        /// The device.
        id: DeviceId,
    },
    /// A value that the registry doesn't take.
    #[error("{field} {problem}")]
    Malformed {
        /// The value's name.
        field: String,
        /// What is wrong with it and what would be right.
        problem: &'static str,
    },
}

/// What to do instead, where there is an answer.
fn hint(state: DeviceState, action: Action) -> &'static str {
    match (state, action) {
        (DeviceState::Revoked, _) => {
            "; a revocation is final: delete the device and register it again"
        }
        (DeviceState::Deleted, _) => "; register it again first",
        (DeviceState::Pending, _) => "; approve, revoke or delete it",
        (DeviceState::Quarantined | DeviceState::Disabled, Action::Approve) => "; enable it",
        _ => "",
    }
}
