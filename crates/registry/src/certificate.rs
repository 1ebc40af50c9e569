use std::fmt;
use std::str::FromStr;

use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, UnixMs, Validity};

use crate::reason::RevocationReason;
use crate::text::named;

/// What names a certificate: its issuer's key and its serial number (RFC 5280 section 4.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateId {
    /// The key that signs it.
    pub issuer: SpkiHash,
    /// Unique among the certificates of that issuer.
    pub serial: SerialNumber,
}

/// `issuer:serial`, both in lower-case hex.
impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.issuer, self.serial)
    }
}

impl FromStr for CertificateId {
    type Err = ParseCertificateIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (issuer, serial) = text.split_once(':').ok_or(ParseCertificateIdError)?;
        Ok(Self {
            issuer: issuer.parse().map_err(|_| ParseCertificateIdError)?,
            serial: serial.parse().map_err(|_| ParseCertificateIdError)?,
        })
    }
}

/// A text that is no [`CertificateId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate is named ISSUER:SERIAL, both in lower-case hex")]
pub struct ParseCertificateIdError;

/// Who a certificate was issued to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// One generation of a device.
    Device {
        /// The device.
        id: DeviceId,
        /// Its generation then. A later generation of the same id accepts no certificate of an
        /// earlier one.
        generation: u32,
    },
    /// A server or client of the installation itself: a nats-server, a replica of the callout.
    Service {
        /// The name that the certificate carries.
        name: String,
    },
}

/// What became of a certificate.
///
/// `Prepared` → `Issued` → `Superseded`, and from each of them → `Revoked`, which is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateStatus {
    /// Recorded before it was signed, so that no certificate exists that the registry doesn't know.
    Prepared,
    /// Signed and recorded with its fingerprint.
    Issued,
    /// Replaced by a newer one.
    Superseded {
        /// When the overlap with its successor ends; it is accepted before that.
        at: UnixMs,
    },
    /// Revoked for good.
    Revoked {
        /// When.
        at: UnixMs,
        /// Why.
        reason: RevocationReason,
    },
}

/// A [`CertificateStatus`] without its particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateStatusKind {
    /// Recorded, perhaps not signed.
    Prepared,
    /// In use.
    Issued,
    /// Replaced by a newer one.
    Superseded,
    /// Revoked for good.
    Revoked,
}

named!(CertificateStatusKind, UnknownCertificateStatus, "certificate status", {
    Prepared => "prepared",
    Issued => "issued",
    Superseded => "superseded",
    Revoked => "revoked",
});

impl CertificateStatus {
    /// The status without its particulars.
    pub const fn kind(self) -> CertificateStatusKind {
        match self {
            Self::Prepared => CertificateStatusKind::Prepared,
            Self::Issued => CertificateStatusKind::Issued,
            Self::Superseded { .. } => CertificateStatusKind::Superseded,
            Self::Revoked { .. } => CertificateStatusKind::Revoked,
        }
    }

    /// Whether a certificate of this status is accepted at `now`: issued, or superseded with its
    /// overlap not yet over. Its validity is another question.
    pub fn admits(self, now: UnixMs) -> bool {
        match self {
            Self::Issued => true,
            Self::Superseded { at } => now < at,
            Self::Prepared | Self::Revoked { .. } => false,
        }
    }

    /// Whether `next` may follow. Nothing follows a revocation, not even another one.
    pub(crate) fn may_become(self, next: CertificateStatusKind) -> bool {
        use CertificateStatusKind::{Issued, Prepared, Revoked, Superseded};
        matches!(
            (self.kind(), next),
            (Prepared, Issued) | (Issued, Superseded) | (Prepared | Issued | Superseded, Revoked)
        )
    }
}

/// A certificate that is about to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCertificate {
    /// Its issuer and serial number.
    pub id: CertificateId,
    /// The name of the profile that it is built from (`device`, `nats-server`, `nats-client`).
    pub profile: String,
    /// The key that it will carry.
    pub public_key: SpkiHash,
    /// When it will be valid.
    pub validity: Validity,
}

/// A certificate as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Unique per issuer.
    pub serial: SerialNumber,
    /// The key that signs it.
    pub issuer: SpkiHash,
    /// Who it was issued to.
    pub holder: Holder,
    /// The name of the profile that it was built from.
    pub profile: String,
    /// The SHA-256 of its DER; `None` until it is issued.
    pub fingerprint: Option<Fingerprint>,
    /// The key that it carries.
    pub public_key: SpkiHash,
    /// What became of it.
    pub status: CertificateStatus,
    /// Start of its validity.
    pub not_before: UnixMs,
    /// End of its validity.
    pub not_after: UnixMs,
    /// When the intent to sign it was recorded.
    pub prepared_at: UnixMs,
}

impl Certificate {
    /// Its issuer and serial number.
    pub fn id(&self) -> CertificateId {
        CertificateId {
            issuer: self.issuer,
            serial: self.serial,
        }
    }

    /// Whether `id` names this certificate.
    pub fn is(&self, id: &CertificateId) -> bool {
        self.issuer == id.issuer && self.serial == id.serial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses() -> [CertificateStatus; 4] {
        let at = UnixMs::new(1_000);
        let reason = RevocationReason::KeyCompromise;
        [
            CertificateStatus::Prepared,
            CertificateStatus::Issued,
            CertificateStatus::Superseded { at },
            CertificateStatus::Revoked { at, reason },
        ]
    }

    #[test]
    fn nothing_follows_a_revocation_and_nothing_is_prepared_twice() {
        for next in CertificateStatusKind::ALL {
            assert!(!statuses()[3].may_become(*next));
        }
        for status in statuses() {
            assert!(!status.may_become(CertificateStatusKind::Prepared));
            let revocable = status.kind() != CertificateStatusKind::Revoked;
            assert_eq!(status.may_become(CertificateStatusKind::Revoked), revocable);
        }
        assert!(!CertificateStatus::Prepared.may_become(CertificateStatusKind::Superseded));
        assert!(!statuses()[2].may_become(CertificateStatusKind::Issued));
    }

    #[test]
    fn an_overlap_ends_at_its_end() {
        let admits = |now| statuses().map(|status| status.admits(UnixMs::new(now)));
        assert_eq!(admits(999), [false, true, true, false]);
        assert_eq!(admits(1_000), [false, true, false, false]);
    }

    #[test]
    fn an_id_survives_its_text() {
        let text = format!("{}:{}", "ab".repeat(32), "0102");
        let id: CertificateId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        for wrong in [
            "",
            ":",
            "ab:01",
            &"ab".repeat(32),
            &format!("{}:", "ab".repeat(32)),
        ] {
            assert!(wrong.parse::<CertificateId>().is_err(), "{wrong:?}");
        }
    }
}
