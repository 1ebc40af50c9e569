use aws_lc_rs::digest;
use leafgate_identity::UnixMs;
use rcgen::{KeyPair, SigningKey};

use super::request::{CertId, OcspNonce};
use crate::der::{self, context, context_constructed, generalized_time, tlv};
use crate::issuer::CrlReason;

/// `OBJECT IDENTIFIER id-pkix-ocsp-basic`.
const BASIC: [u8; 11] = [
    der::OBJECT_IDENTIFIER,
    9,
    0x2b,
    0x06,
    0x01,
    0x05,
    0x05,
    0x07,
    0x30,
    0x01,
    0x01,
];
/// `OBJECT IDENTIFIER id-pkix-ocsp-nonce`.
const NONCE: [u8; 11] = [
    der::OBJECT_IDENTIFIER,
    9,
    0x2b,
    0x06,
    0x01,
    0x05,
    0x05,
    0x07,
    0x30,
    0x01,
    0x02,
];

/// What an answer says before it is signed (RFC 6960 section 4.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspResponseData {
    /// The certificates, all of the issuer that signs.
    pub responses: Vec<SingleResponse>,
    /// That of the request.
    pub nonce: Option<OcspNonce>,
    /// When the answer is signed.
    pub produced_at: UnixMs,
    /// When what it says was known to be so.
    pub this_update: UnixMs,
    /// When newer information will be there at the latest.
    pub next_update: UnixMs,
}

/// What is known of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleResponse {
    /// The certificate, as the request named it.
    pub cert_id: CertId,
    /// What is known of it.
    pub status: CertStatus,
}

/// The state of a certificate (RFC 6960 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertStatus {
    /// Issued, and not revoked.
    Good,
    /// Revoked for good.
    Revoked {
        /// When.
        at: UnixMs,
        /// Why.
        reason: CrlReason,
    },
    /// Never issued.
    Unknown,
}

/// Why there is no answer (RFC 6960 section 4.2.1). It is not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OcspError {
    /// The request can't be read.
    MalformedRequest,
    /// Something is wrong here.
    InternalError,
    /// What was asked can't be told now.
    TryLater,
    /// The certificates are not of an issuer that is answered for here, or not of one alone.
    Unauthorized,
}

impl OcspError {
    /// The response in DER.
    pub fn to_der(self) -> [u8; 5] {
        let status = match self {
            Self::MalformedRequest => 1,
            Self::InternalError => 2,
            Self::TryLater => 3,
            Self::Unauthorized => 6,
        };
        [der::SEQUENCE, 3, der::ENUMERATED, 1, status]
    }
}

/// The whole OCSPResponse in DER. `algorithm` is the AlgorithmIdentifier of `key`'s signatures,
/// `certificate` the responder's if it is not the issuer itself.
pub(crate) fn signed_response(
    data: &OcspResponseData,
    key: &KeyPair,
    algorithm: &[u8],
    certificate: Option<&[u8]>,
) -> Result<Vec<u8>, SignOcspError> {
    if data.next_update.as_secs() <= data.this_update.as_secs() {
        return Err(SignOcspError::NextUpdateNotAfterThisUpdate {
            this_update: data.this_update,
            next_update: data.next_update,
        });
    }
    let data = response_data(data, key.public_key_raw());
    let signature = key
        .sign(&data)
        .map_err(|source| SignOcspError::Sign(source.into()))?;
    let no_unused_bits = [0];
    let signature = tlv(der::BIT_STRING, &[&no_unused_bits, &signature]);
    let certificates = certificate.map_or_else(Vec::new, |certificate| {
        tlv(
            context_constructed(0),
            &[&tlv(der::SEQUENCE, &[certificate])],
        )
    });
    let basic = tlv(
        der::SEQUENCE,
        &[&data, algorithm, &signature, &certificates],
    );
    let bytes = tlv(der::SEQUENCE, &[&BASIC, &tlv(der::OCTET_STRING, &[&basic])]);
    let successful = [der::ENUMERATED, 1, 0];
    Ok(tlv(
        der::SEQUENCE,
        &[&successful, &tlv(context_constructed(0), &[&bytes])],
    ))
}

/// ResponseData, its responder named by the SHA-1 of its key.
fn response_data(data: &OcspResponseData, responder_key: &[u8]) -> Vec<u8> {
    let key_hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, responder_key);
    let key_hash = tlv(der::OCTET_STRING, &[key_hash.as_ref()]);
    let mut dates = generalized_time(data.this_update);
    dates.extend(tlv(
        context_constructed(0),
        &[&generalized_time(data.next_update)],
    ));
    let responses: Vec<u8> = data
        .responses
        .iter()
        .flat_map(|response| {
            let status = cert_status(response.status);
            tlv(der::SEQUENCE, &[response.cert_id.as_der(), &status, &dates])
        })
        .collect();
    let extensions = data.nonce.as_ref().map_or_else(Vec::new, |nonce| {
        let value = tlv(der::OCTET_STRING, &[nonce.as_der()]);
        let extension = tlv(der::SEQUENCE, &[&NONCE, &value]);
        tlv(
            context_constructed(1),
            &[&tlv(der::SEQUENCE, &[&extension])],
        )
    });
    tlv(
        der::SEQUENCE,
        &[
            &tlv(context_constructed(2), &[&key_hash]),
            &generalized_time(data.produced_at),
            &tlv(der::SEQUENCE, &[&responses]),
            &extensions,
        ],
    )
}

fn cert_status(status: CertStatus) -> Vec<u8> {
    match status {
        CertStatus::Good => tlv(context(0), &[]),
        CertStatus::Unknown => tlv(context(2), &[]),
        CertStatus::Revoked { at, reason } => {
            let reason = reason.code().map_or_else(Vec::new, |code| {
                tlv(context_constructed(0), &[&[der::ENUMERATED, 1, code]])
            });
            tlv(context_constructed(1), &[&generalized_time(at), &reason])
        }
    }
}

/// Why an answer was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignOcspError {
    /// The answer would end before it begins.
    #[error(
        "the OCSP answer's next update ({next_update}) must come after its date ({this_update})"
    )]
    NextUpdateNotAfterThisUpdate {
        /// The date of what it says.
        this_update: UnixMs,
        /// The date of newer information.
        next_update: UnixMs,
    },
    /// The signature could not be made.
    #[error("the OCSP answer could not be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The issuer can't be reached.
    #[error("the issuer can't be reached: try again")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
