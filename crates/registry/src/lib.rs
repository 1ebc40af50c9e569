//! What the registry of devices is: its records, the changes that may be made to them, the chain of events that every
//! change leaves behind, and the port through which they are kept.
//!
//! Every rule about what may follow what lives here, in functions that turn a record and an intention into a [`Change`].
//! A store applies a change as it stands, and knows nothing of states. What it has to compare, and what comes of it, is
//! the business of a [`Ledger`]: versions, ids and serial numbers that must be unique, the next event of the chain.
//! [`MemoryStore`] is the smallest store.

mod canonical;
mod certificate;
mod chain;
mod change;
mod device;
mod document;
mod event;
mod feed;
mod head;
mod ledger;
mod memory;
mod outstanding;
mod query;
mod reason;
mod state;
mod store;
mod text;

pub use certificate::{
    Certificate, CertificateId, CertificateStatus, CertificateStatusKind, Holder, NewCertificate,
    ParseCertificateIdError, UnknownCertificateStatus,
};
pub use chain::{ChainError, verify_chain};
pub use change::{
    Act, Actor, BuildChangeError, CertificateWrite, Change, CrlWrite, DeviceEdit, DeviceWrite,
    NewCrl, NewDevice, ParseActorError, ServiceCertificateWrite, Write,
};
pub use device::{Crl, Device, DeviceRecord};
pub use document::{
    Document, DocumentKind, DocumentName, DocumentWrite, ParseDocumentNameError,
    UnknownDocumentKind,
};
pub use event::{Event, EventBody, EventKind, Link};
pub use feed::{Epoch, FeedPosition, ParseEpochError};
pub use head::{EventHash, Head, ParseEventHashError};
pub use ledger::{Ledger, Needs};
pub use memory::MemoryStore;
pub use outstanding::Outstanding;
pub use query::{CertificateQuery, Cursor, Page, ParseCursorError, Query};
pub use reason::{RevocationReason, UnknownRevocationReason};
pub use state::{Action, DeviceState, TRANSITIONS, UnknownAction, UnknownDeviceState};
pub use store::{CommitError, DeviceStore, StoreError};
