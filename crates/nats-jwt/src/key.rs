//! Public nkeys: a kind, 32 bytes and a checksum in 56 characters of base32
//! (nats-io/nkeys `strkey.go`).

use std::fmt::{self, Debug, Display};
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::crc::crc16;

pub(crate) const RAW_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 2;
const BINARY_BYTES: usize = 1 + RAW_BYTES + CHECKSUM_BYTES;
const TEXT_BYTES: usize = 56;
const SEED_TEXT_BYTES: usize = 58;

/// What a key stands for; the first letter of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// `A…`: signs user and response JWTs.
    Account,
    /// `C…`
    Cluster,
    /// `N…`: a nats-server process, which makes its key anew at each start.
    Server,
    /// `O…`
    Operator,
    /// `U…`: a user or one log-in attempt.
    User,
    /// `X…`: X25519, for encryption.
    Curve,
}

impl KeyKind {
    const ALL: [Self; 6] = [
        Self::Account,
        Self::Cluster,
        Self::Server,
        Self::Operator,
        Self::User,
        Self::Curve,
    ];

    /// The byte in front of the key, chosen so that base32 begins with the kind's letter.
    pub(crate) fn prefix(self) -> u8 {
        match self {
            Self::Account => 0,
            Self::Cluster => 2 << 3,
            Self::Server => 13 << 3,
            Self::Operator => 14 << 3,
            Self::User => 20 << 3,
            Self::Curve => 23 << 3,
        }
    }

    pub(crate) fn from_prefix(prefix: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.prefix() == prefix)
    }

    /// The first letter of a public key of this kind.
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Account => 'A',
            Self::Cluster => 'C',
            Self::Server => 'N',
            Self::Operator => 'O',
            Self::User => 'U',
            Self::Curve => 'X',
        }
    }
}

impl Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::Cluster => "cluster",
            Self::Server => "server",
            Self::Operator => "operator",
            Self::User => "user",
            Self::Curve => "curve",
        })
    }
}

/// Why a text is not the public key that was asked for. The text itself is never shown: it may be
/// a seed in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeyError {
    /// A secret where a public key belongs.
    #[error("this is a seed, which is secret; give the public key of that seed instead")]
    Seed,
    /// Not 56 characters.
    #[error("a public key has {TEXT_BYTES} characters, this one has {found_chars}")]
    Length {
        /// Characters found.
        found_chars: usize,
    },
    /// Not base32.
    #[error("a public key consists of the characters A-Z and 2-7 only")]
    Alphabet,
    /// The checksum does not fit the rest.
    #[error("the key's checksum is wrong: a character was lost or changed in copying")]
    Checksum,
    /// A well-formed key of another kind.
    #[error("a public key of kind {expected} ({}…) is needed, this is {}", expected.letter(), kind_found(*.found))]
    Kind {
        /// The kind asked for.
        expected: KeyKind,
        /// The kind found, if it is known.
        found: Option<KeyKind>,
    },
}

pub(crate) fn kind_found(found: Option<KeyKind>) -> String {
    match found {
        Some(kind) => format!("one of kind {kind} ({}…)", kind.letter()),
        None => "of no known kind".to_owned(),
    }
}

/// A public nkey of any kind. The text of a key is unique, so two keys are equal exactly when
/// their texts are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    kind: KeyKind,
    raw: [u8; RAW_BYTES],
    text: [u8; TEXT_BYTES],
}

impl PublicKey {
    /// Reads a key, checking alphabet, checksum and kind.
    pub(crate) fn parse(kind: KeyKind, text: &str) -> Result<Self, ParseKeyError> {
        let Ok(text) = <[u8; TEXT_BYTES]>::try_from(text.as_bytes()) else {
            return Err(if text.len() == SEED_TEXT_BYTES && text.starts_with('S') {
                ParseKeyError::Seed
            } else if text.is_ascii() {
                ParseKeyError::Length {
                    found_chars: text.len(),
                }
            } else {
                ParseKeyError::Alphabet
            });
        };
        let mut binary = [0; BINARY_BYTES];
        BASE32_NOPAD
            .decode_mut(&text, &mut binary)
            .map_err(|_| ParseKeyError::Alphabet)?;
        let (body, checksum) = binary.split_at(BINARY_BYTES - CHECKSUM_BYTES);
        if crc16(body).to_le_bytes() != checksum {
            return Err(ParseKeyError::Checksum);
        }
        if body[0] != kind.prefix() {
            return Err(ParseKeyError::Kind {
                expected: kind,
                found: KeyKind::from_prefix(body[0]),
            });
        }
        let mut raw = [0; RAW_BYTES];
        raw.copy_from_slice(&body[1..]);
        Ok(Self { kind, raw, text })
    }

    pub(crate) fn from_raw(kind: KeyKind, raw: [u8; RAW_BYTES]) -> Self {
        let mut binary = [0; BINARY_BYTES];
        binary[0] = kind.prefix();
        binary[1..=RAW_BYTES].copy_from_slice(&raw);
        let checksum = crc16(&binary[..=RAW_BYTES]);
        binary[1 + RAW_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        let mut text = [0; TEXT_BYTES];
        BASE32_NOPAD.encode_mut(&binary, &mut text);
        Self { kind, raw, text }
    }

    /// What the key stands for.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The 56 characters, as they stand in claims and configuration.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).expect("base32 is ASCII")
    }

    /// The Ed25519 (for curve keys: X25519) public key.
    pub fn raw(&self) -> &[u8; RAW_BYTES] {
        &self.raw
    }
}

impl Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

macro_rules! typed_key {
    ($(#[$doc:meta])* $name:ident, $kind:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub struct $name(PublicKey);

        impl $name {
            /// Reads a key of this kind, checking alphabet and checksum.
            pub fn parse(text: &str) -> Result<Self, ParseKeyError> {
                PublicKey::parse($kind, text).map(Self)
            }

            /// The 56 characters, as they stand in claims and configuration.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// The 32 bytes of the key.
            pub fn raw(&self) -> &[u8; RAW_BYTES] {
                self.0.raw()
            }
        }

        impl From<$name> for PublicKey {
            fn from(key: $name) -> Self {
                key.0
            }
        }

        impl TryFrom<PublicKey> for $name {
            type Error = ParseKeyError;

            fn try_from(key: PublicKey) -> Result<Self, ParseKeyError> {
                if key.kind == $kind {
                    Ok(Self(key))
                } else {
                    Err(ParseKeyError::Kind { expected: $kind, found: Some(key.kind) })
                }
            }
        }

        impl FromStr for $name {
            type Err = ParseKeyError;

            fn from_str(text: &str) -> Result<Self, ParseKeyError> {
                Self::parse(text)
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Display::fmt(&self.0, f)
            }
        }

        impl Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Debug::fmt(&self.0, f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    };
}

typed_key!(
    /// `A…`: an account, the issuer of user and response JWTs.
    AccountKey,
    KeyKind::Account
);
typed_key!(
    /// `U…`: in a request, the key that the server made for this one log-in attempt.
    UserKey,
    KeyKind::User
);
typed_key!(
    /// `N…`: a nats-server process.
    ServerKey,
    KeyKind::Server
);
typed_key!(
    /// `X…`: the public half of a [`CurveKey`](crate::CurveKey).
    CurvePublicKey,
    KeyKind::Curve
);

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO_USER: &str = "UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn every_kind_begins_with_its_letter_and_parses_back() {
        for kind in KeyKind::ALL {
            let key = PublicKey::from_raw(kind, [7; 32]);
            assert!(key.as_str().starts_with(kind.letter()), "{key}");
            assert_eq!(PublicKey::parse(kind, key.as_str()), Ok(key));
            assert_eq!(key.raw(), &[7; 32]);
        }
    }

    #[test]
    fn another_kind_is_named_in_the_error() {
        let account = PublicKey::from_raw(KeyKind::Account, [1; 32]);
        let error = UserKey::parse(account.as_str()).unwrap_err();
        assert_eq!(
            error,
            ParseKeyError::Kind {
                expected: KeyKind::User,
                found: Some(KeyKind::Account)
            }
        );
        assert_eq!(
            error.to_string(),
            "a public key of kind user (U…) is needed, this is one of kind account (A…)"
        );
        assert!(UserKey::try_from(account).is_err());
        assert!(AccountKey::try_from(account).is_ok());
    }

    #[test]
    fn malformed_texts_are_refused() {
        let good = PublicKey::from_raw(KeyKind::User, [3; 32])
            .as_str()
            .to_owned();
        assert_eq!(
            UserKey::parse(ZERO_USER),
            Err(ParseKeyError::Length { found_chars: 53 })
        );
        assert_eq!(
            UserKey::parse(&good.to_lowercase()),
            Err(ParseKeyError::Alphabet)
        );
        assert_eq!(
            UserKey::parse(&good.replace('A', "\u{c5}")),
            Err(ParseKeyError::Alphabet)
        );
        for position in 1..good.len() {
            let mut bent = good.clone().into_bytes();
            bent[position] = if bent[position] == b'A' { b'B' } else { b'A' };
            let bent = String::from_utf8(bent).unwrap();
            assert_eq!(
                UserKey::parse(&bent),
                Err(ParseKeyError::Checksum),
                "{position}"
            );
        }
    }

    #[test]
    fn a_seed_in_place_of_a_public_key_is_not_repeated() {
        let seed = format!("S{}", "A".repeat(57));
        let error = UserKey::parse(&seed).unwrap_err();
        assert_eq!(error, ParseKeyError::Seed);
        assert!(!error.to_string().contains(&seed));
    }

    #[test]
    fn low_bits_of_the_prefix_byte_are_not_ignored() {
        let mut binary = [0u8; BINARY_BYTES];
        binary[0] = KeyKind::User.prefix() | 1;
        let checksum = crc16(&binary[..=RAW_BYTES]).to_le_bytes();
        binary[1 + RAW_BYTES..].copy_from_slice(&checksum);
        let text = BASE32_NOPAD.encode(&binary);
        assert!(text.starts_with('U'));
        assert_eq!(
            UserKey::parse(&text),
            Err(ParseKeyError::Kind {
                expected: KeyKind::User,
                found: None
            })
        );
    }
}
