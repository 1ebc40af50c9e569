use std::fmt;

use leafgate_identity::UnixMs;

/// Why a certificate can't be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalRefusal {
    /// It is none of the device's present registration.
    Unknown,
    /// It is revoked.
    Revoked,
    /// A newer one took its place.
    Superseded {
        /// When their overlap ended.
        ended: UnixMs,
    },
    /// It ended too long ago.
    TooLate {
        /// When.
        ended: UnixMs,
    },
    /// A certificate for the same key was revoked as compromised.
    KeyCompromised,
}

impl fmt::Display for RenewalRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("it is not one of the device's present registration"),
            Self::Revoked => f.write_str("it is revoked"),
            Self::Superseded { ended } => {
                write!(
                    f,
                    "a newer one took its place, and their overlap ended at {ended}"
                )
            }
            Self::TooLate { ended } => write!(f, "it ended at {ended}, too long ago"),
            Self::KeyCompromised => f.write_str("its key is compromised"),
        }
    }
}
