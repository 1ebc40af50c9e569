//! What can be done to devices and certificates, once for everybody who asks: the command line,
//! the registry's API and enrolment protocols.
//!
//! A [`Registrar`] joins a store, which keeps the records, with the issuers, which sign. Every
//! act is an event in the store's chain before anything that it announces happens: a certificate
//! is recorded as prepared, then signed, then recorded as issued, and only then handed out. A
//! process that dies on the way leaves a prepared certificate behind, which admits nobody, for it
//! has no fingerprint; asking again issues another one.
//!
//! What a single request adds to an act is put on a clone of the registrar: whose rights bound it
//! ([`on_behalf_of`](Registrar::on_behalf_of)), which version of a device it means
//! ([`if_version`](Registrar::if_version)), and that it must not be carried out twice
//! ([`once`](Registrar::once)). All three are part of each try, so that nothing that others do
//! meanwhile passes by them.

mod api_keys;
mod audit;
mod bulk;
mod certificates;
mod checkpointer;
mod checkpoints;
mod content;
mod crls;
mod devices;
mod documents;
mod enrolment;
mod error;
mod guard;
mod import;
mod issuance;
mod issuers;
mod keys;
mod limits;
mod occasion;
mod on_its_own;
mod once;
mod overlap;
mod refusals;
mod registrar;
mod renew_after;
mod renewal;
mod request_keeper;
mod requested;
mod requests;
mod revocation;
mod rotation;
mod service_again;
mod service_renewal;
mod services;
mod signed;
mod tries;
mod turns;

pub use audit::{
    AuditReport, Restore, VerifyAuditError, start_epoch, verify_audit, verify_audit_against,
};
pub use bulk::{BulkResult, DeviceFilter};
pub use certificates::{CertificateKey, DeviceCredentials};
pub use checkpointer::{AdvanceError, Checkpointer};
pub use checkpoints::{
    Checkpoint, CheckpointError, CheckpointFolder, CheckpointKey, CheckpointPublicKey,
    SignedCheckpoint,
};
pub use crls::{SignedCrl, crl_reason};
pub use devices::DeviceAction;
pub use enrolment::TokenStatus;
pub use error::{
    EnrolError, EnrolmentBar, ErrorKind, IssuanceLimit, RegistrarError, RenewalRefusal, TokenEnd,
};
pub use guard::target;
pub use import::Imported;
pub use issuers::{IssuerKeys, Issuers};
pub use limits::IssuanceLimits;
pub use once::{Outcome, RecordedRequest, RequestKey};
pub use registrar::Registrar;
pub use renew_after::renew_after;
pub use request_keeper::{KeptRequests, RequestKeeper};
pub use rotation::{IssuerState, IssuerStatus};
pub use services::{Service, ServiceCredentials};
