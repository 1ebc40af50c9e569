//! What can be done to devices and certificates, once for everybody who asks: the command line,
//! the registry's API and enrolment protocols.
//!
//! A [`Registrar`] joins a store, which keeps the records, with the issuers, which sign. Every
//! act is an event in the store's chain before anything that it announces happens: a certificate
//! is recorded as prepared, then signed, then recorded as issued, and only then handed out. A
//! process that dies on the way leaves a prepared certificate behind, which admits nobody, for it
//! has no fingerprint; asking again issues another one.

mod audit;
mod certificates;
mod crls;
mod devices;
mod error;
mod registrar;
mod services;
mod tries;

pub use audit::{AuditReport, VerifyAuditError, verify_audit};
pub use certificates::{CertificateKey, DeviceCredentials};
pub use crls::SignedCrl;
pub use error::{ErrorKind, RegistrarError};
pub use registrar::{Issuers, Registrar};
pub use services::{Service, ServiceCredentials};
