use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

/// The SHA-256 that binds an event to all before it; in text 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventHash([u8; 32]);

impl EventHash {
    /// What stands for the hash before the first event.
    pub const ZERO: Self = Self([0; 32]);

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for EventHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventHash {
    type Err = ParseEventHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseEventHashError)
    }
}

impl serde::Serialize for EventHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for EventHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is no [`EventHash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event hash is 64 lower-case hex digits")]
pub struct ParseEventHashError;

/// The newest event of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// Its place; 0 while there is none.
    pub seq: u64,
    /// Its hash; zeros while there is none.
    pub hash: EventHash,
}

impl Head {
    /// The head of a chain without events.
    pub const GENESIS: Self = Self {
        seq: 0,
        hash: EventHash::ZERO,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_its_text_and_nothing_else_passes() {
        let hash = EventHash::from([0xa5; 32]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in [
            "",
            "a5",
            &"A5".repeat(32),
            &"a5".repeat(33),
            &"g5".repeat(32),
        ] {
            assert_eq!(
                wrong.parse::<EventHash>(),
                Err(ParseEventHashError),
                "{wrong:?}"
            );
        }
    }
}
