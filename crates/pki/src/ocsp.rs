//! OCSP (RFC 6960): requests as they come, and answers signed by an issuer or by a responder that
//! it delegates to.

mod request;
mod responder;
mod response;

pub use request::{
    CertId, IssuerHashes, MAX_OCSP_CERT_IDS, MAX_OCSP_REQUEST_BYTES, OcspNonce, OcspRequest,
    ParseIssuerError, ParseOcspRequestError,
};
pub use responder::{JoinResponderError, OcspResponder};
pub(crate) use response::signed_response;
pub use response::{CertStatus, OcspError, OcspResponseData, SignOcspError, SingleResponse};
