//! What the registry API says and is told, the same for the server, for the client, and for the JSON of the command
//! line: one type for each resource, request and list, and the list of problems.
//!
//! Names are snake_case, times RFC 3339 in UTC, serial numbers and fingerprints lower-case hex. Whoever reads an answer
//! skips fields that they don't know; the server refuses requests with such fields.

mod api_key;
mod bulk;
mod certificate;
mod device;
mod enrolment;
mod event;
mod explanation;
mod issuer;
mod problem;
pub mod schema;
mod service;
mod session;

pub use api_key::{ApiKey, ApiKeyList, CreateApiKey, CreatedApiKey};
pub use bulk::{
    ApplyBulk, BulkAction, BulkFilter, BulkOutcome, BulkPlan, BulkResult, ImportOutcome,
    ImportResult, LineProblem, PlanBulk,
};
pub use certificate::{
    Certificate, CertificateList, HeldCertificate, IssuedCertificate, RequestCertificate, Revoke,
};
pub use device::{Device, DeviceList, PatchDevice, RegisterDevice, ReplaceDevice};
pub use enrolment::{
    Admits, CreateEnrolmentToken, CreatedEnrolmentToken, Enrol, EnrolledDevice, EnrolmentToken,
    EnrolmentTokenList, Renew, Unnamed,
};
pub use event::{AuditReport, Checkpoint, CheckpointList, Event, EventList, Restore};
pub use explanation::{
    Explanation, Grant, GrantLifetime, GrantLimits, GrantResponses, GrantSubjects,
};
pub use issuer::{ActivateIssuer, Issuer, IssuerList, OutstandingCertificates};
pub use problem::{ProblemDocument, ProblemType};
pub use service::{RequestServiceCertificate, ServiceProfile};
pub use session::{Disconnected, Session, SessionList};
