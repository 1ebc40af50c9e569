use std::str::FromStr;

use leafgate_identity::{SerialNumber, SpkiHash};
use leafgate_registry::CertificateId;

/// What a path calls a certificate: its serial number, or `ISSUER:SERIAL` where two issuers gave out the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CertificateName {
    pub(super) serial: SerialNumber,
    pub(super) issuer: Option<SpkiHash>,
}

impl FromStr for CertificateName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            let id: CertificateId = text.parse().map_err(|_| MALFORMED.to_owned())?;
            return Ok(Self {
                serial: id.serial,
                issuer: Some(id.issuer),
            });
        }
        match text.parse() {
            Ok(serial) => Ok(Self {
                serial,
                issuer: None,
            }),
            Err(_) => Err(MALFORMED.to_owned()),
        }
    }
}

const MALFORMED: &str = "a certificate is named SERIAL or ISSUER:SERIAL, in lower-case hex as it is listed, without further colons";
