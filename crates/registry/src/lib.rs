//! What the registry of devices is: its records, the changes that may be made to them, the chain of events that every
//! change leaves behind, and the port through which they are kept.
//!
//! Every rule about what may follow what lives here, in functions that turn a record and an intention into a [`Change`].
//! A store applies a change as it stands: it compares versions, keeps names and serial numbers unique and appends the
//! event, and knows nothing of states. [`MemoryStore`] is the smallest store that does so.

mod certificate;
mod chain;
mod change;
mod device;
mod event;
mod feed;
mod memory;
mod query;
mod reason;
mod state;
mod store;
mod text;

pub use certificate::{
    Certificate, CertificateId, CertificateStatus, CertificateStatusKind, Holder, NewCertificate,
    ParseCertificateIdError, UnknownCertificateStatus,
};
pub use chain::{ChainError, EventHash, Head, ParseEventHashError, verify_chain};
pub use change::{
    Act, Actor, BuildChangeError, CertificateWrite, Change, CrlWrite, DeviceEdit, DeviceWrite,
    NewCrl, NewDevice, ParseActorError, ServiceCertificateWrite, Write,
};
pub use device::{Crl, Device, DeviceRecord};
pub use event::{Event, EventBody, EventKind};
pub use feed::{Epoch, FeedPosition, ParseEpochError, knows};
pub use memory::MemoryStore;
pub use query::{CertificateQuery, Cursor, Page, ParseCursorError, Query};
pub use reason::{RevocationReason, UnknownRevocationReason};
pub use state::{Action, DeviceState, TRANSITIONS, UnknownAction, UnknownDeviceState};
pub use store::{CommitError, DeviceStore, StoreError};
