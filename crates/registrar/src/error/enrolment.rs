use std::fmt;

use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::DeviceState;

/// Why a device is not let in with an enrolment token. What a token doesn't cover is refused alike, whether or not there
/// is such a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// There is no such token, or its secret is another.
    #[error("this enrolment token is not known")]
    TokenUnknown,
    /// The token counts no longer.
    #[error("this enrolment token {end}; ask for a new one")]
    TokenEnded {
        /// Why.
        end: TokenEnd,
    },
    /// The token doesn't let this device in.
    #[error("this enrolment token does not let {id} in")]
    NotCovered {
        /// The id that was asked for.
        id: DeviceId,
    },
    /// The token lets the device in, with the key of its manifest.
    #[error(
        "this enrolment token lets {id} in with another key; use the key whose hash is in its manifest"
    )]
    KeyForeign {
        /// The device.
        id: DeviceId,
    },
    /// The token lets the device in, but it can't enrol.
    #[error("{id} can't enrol: {bar}")]
    Illegal {
        /// The device.
        id: DeviceId,
        /// What is in the way.
        bar: EnrolmentBar,
    },
}

/// Why a token counts no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenEnd {
    /// Its time is over.
    Expired {
        /// Since when.
        at: UnixMs,
    },
    /// It was revoked.
    Revoked {
        /// When.
        at: UnixMs,
    },
    /// It let as many in as it may.
    UsedUp,
}

impl fmt::Display for TokenEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { at } => write!(f, "ended at {at}"),
            Self::Revoked { at } => write!(f, "was revoked at {at}"),
            Self::UsedUp => f.write_str("has let as many devices in as it may"),
        }
    }
}

/// What keeps a device from enrolling with a token that covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrolmentBar {
    /// Its state.
    State(DeviceState),
    /// It had a certificate: it is renewed with that, or gets one from whoever may issue it.
    HasHadCertificate,
    /// It is registered otherwise than the token says, in this.
    Differs(&'static str),
    /// Another device has the id, in other letters.
    IdTaken,
}

impl fmt::Display for EnrolmentBar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "it is {state}"),
            Self::HasHadCertificate => f.write_str(
                "it has had a certificate; it can renew that one, or somebody who may can issue another",
            ),
            Self::Differs(what) => {
                write!(f, "it is registered with another {what} than this token is for")
            }
            Self::IdTaken => {
                f.write_str("its id is taken in other letters; ids are unique ignoring case")
            }
        }
    }
}
