use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;

use crate::head::{EventHash, Head};

/// Which life of the feed this is: random, made with the store and anew with every restore, so that a follower notices
/// that the events it followed may be gone. In text 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; 16]);

impl Epoch {
    /// A new random epoch, from the system's random source.
    #[expect(
        clippy::disallowed_methods,
        reason = "an epoch is random by definition; where it matters it is a parameter"
    )]
    pub fn generate() -> Self {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).expect("aws-lc aborts rather than give no randomness");
        Self(bytes)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Epoch {
    type Err = ParseEpochError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseEpochError)
    }
}

/// A text that is no [`Epoch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 32 lower-case hex digits")]
pub struct ParseEpochError;

/// How far somebody has followed the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FeedPosition {
    /// Of which life of the feed.
    pub epoch: Epoch,
    /// The newest event seen; 0 before the first.
    pub seq: u64,
    /// The hash of that event; zeros before the first.
    pub hash: EventHash,
}

impl FeedPosition {
    /// The place in the chain, whatever the epoch.
    pub const fn head(&self) -> Head {
        Head {
            seq: self.seq,
            hash: self.hash,
        }
    }
}
