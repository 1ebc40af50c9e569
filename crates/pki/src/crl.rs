use leafgate_identity::UnixMs;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::der::{self, push_integer, push_time, tlv};
use crate::encoding::CRL_LABEL;
use crate::issuer::{CrlReason, RevokedEntry};

/// A signed revocation list as it was read from a file. Its signature is not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedList {
    /// The list in DER.
    pub der: Vec<u8>,
    /// When it was made.
    pub this_update: UnixMs,
    /// When the next one is due at the latest.
    pub next_update: UnixMs,
}

impl SignedList {
    /// Reads a list in PEM (RFC 7468 section 6) or in DER.
    ///
    /// # Errors
    /// The bytes are no list, or more than one, or the list does not say when the next one is due.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseListError> {
        let der = match pem::parse_many(bytes) {
            Ok(mut blocks) if blocks.len() == 1 && blocks[0].tag() == CRL_LABEL => {
                blocks.remove(0).into_contents()
            }
            Ok(blocks) if blocks.is_empty() => bytes.into(),
            _ => return Err(ParseListError),
        };
        let Ok(([], list)) = CertificateRevocationList::from_der(&der) else {
            return Err(ParseListError);
        };
        let next_update = list.next_update().ok_or(ParseListError)?;
        let (this_update, next_update) = (
            UnixMs::from_secs(list.last_update().timestamp()),
            UnixMs::from_secs(next_update.timestamp()),
        );
        Ok(Self {
            der,
            this_update,
            next_update,
        })
    }
}

/// Bytes that are no [`SignedList`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there must be one certificate revocation list, in PEM (BEGIN X509 CRL) or DER, that names its next update"
)]
pub struct ParseListError;

/// `SEQUENCE { OBJECT IDENTIFIER id-ce-cRLReasons, OCTET STRING { ENUMERATED … } }` but for the
/// reason's code, which follows.
const REASON: [u8; 13] = [
    0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01,
];
/// `OBJECT IDENTIFIER id-ce-authorityKeyIdentifier`.
const AUTHORITY_KEY_IDENTIFIER: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x23];
/// `OBJECT IDENTIFIER id-ce-cRLNumber`.
const CRL_NUMBER: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x14];
/// No entry is longer: 20 octets of serial number, two dates' worth of time, a reason.
const LONGEST_ENTRY: usize = 60;

/// What a list says besides its entries.
pub(crate) struct CrlFrame<'a> {
    /// The issuer's name, in DER.
    pub(crate) issuer: &'a [u8],
    /// The AlgorithmIdentifier that it will be signed with.
    pub(crate) algorithm: &'a [u8],
    /// The issuer's subject key identifier.
    pub(crate) key_id: &'a [u8],
    pub(crate) number: u64,
    pub(crate) this_update: UnixMs,
    pub(crate) next_update: UnixMs,
}

/// A TBSCertList (RFC 5280 section 5.1), ready to be signed.
///
/// A list may have a million entries, so each is written once, into a buffer that is copied once.
pub(crate) fn tbs_cert_list(frame: &CrlFrame<'_>, entries: &[RevokedEntry]) -> Vec<u8> {
    let mut revoked = Vec::with_capacity(entries.len() * LONGEST_ENTRY);
    for entry in entries {
        push_entry(&mut revoked, entry);
    }
    // "When there are no revoked certificates, the revoked certificates list MUST be absent."
    let revoked_header = match entries {
        [] => Vec::new(),
        _ => der::header(der::SEQUENCE, revoked.len()),
    };
    let mut dates = Vec::new();
    push_time(&mut dates, frame.this_update);
    push_time(&mut dates, frame.next_update);
    let version_2 = [der::INTEGER, 1, 1];
    tlv(
        der::SEQUENCE,
        &[
            &version_2,
            frame.algorithm,
            frame.issuer,
            &dates,
            &revoked_header,
            &revoked,
            &extensions(frame),
        ],
    )
}

fn push_entry(out: &mut Vec<u8>, entry: &RevokedEntry) {
    let start = out.len();
    out.extend_from_slice(&[der::SEQUENCE, 0]);
    push_integer(out, entry.serial.as_be_bytes());
    push_time(out, entry.revoked_at);
    if let Some(code) = entry.reason.code() {
        out.extend_from_slice(&REASON);
        out.push(code);
    }
    // At most LONGEST_ENTRY, so that one octet of length is enough.
    out[start + 1] = (out.len() - start - 2) as u8;
}

fn extensions(frame: &CrlFrame<'_>) -> Vec<u8> {
    let key_id = tlv(der::SEQUENCE, &[&tlv(der::context(0), &[frame.key_id])]);
    let mut number = Vec::new();
    let be_bytes = frame.number.to_be_bytes();
    push_integer(
        &mut number,
        &be_bytes[frame.number.leading_zeros() as usize / 8..],
    );
    let extension =
        |oid: &[u8], value: &[u8]| tlv(der::SEQUENCE, &[oid, &tlv(der::OCTET_STRING, &[value])]);
    let both = tlv(
        der::SEQUENCE,
        &[
            &extension(&AUTHORITY_KEY_IDENTIFIER, &key_id),
            &extension(&CRL_NUMBER, &number),
        ],
    );
    tlv(der::context_constructed(0), &[&both])
}

impl CrlReason {
    /// The ENUMERATED of RFC 5280 section 5.3.1 in DER; `None` where it should be left out.
    pub fn to_der(self) -> Option<[u8; 3]> {
        Some([der::ENUMERATED, 1, self.code()?])
    }

    /// The code of RFC 5280 section 5.3.1; `None` where it should be left out.
    pub(crate) fn code(self) -> Option<u8> {
        match self {
            Self::Unspecified => None,
            Self::KeyCompromise => Some(1),
            Self::CaCompromise => Some(2),
            Self::AffiliationChanged => Some(3),
            Self::Superseded => Some(4),
            Self::CessationOfOperation => Some(5),
            Self::PrivilegeWithdrawn => Some(9),
        }
    }
}
