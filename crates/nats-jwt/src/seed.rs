//! Seeds: the secret halves, as text (nats-io/nkeys `EncodeSeed`).

use data_encoding::BASE32_NOPAD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::crc::crc16;
use crate::key::{KeyKind, RAW_BYTES, kind_found};

const SEED_PREFIX: u8 = 18 << 3;
const CHECKSUM_BYTES: usize = 2;
const BINARY_BYTES: usize = 2 + RAW_BYTES + CHECKSUM_BYTES;
const TEXT_BYTES: usize = 58;

/// Why a text is not the seed that was asked for. Nothing of the text is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSeedError {
    /// Not 58 characters.
    #[error("a seed has {TEXT_BYTES} characters, this text has {found_chars}")]
    Length {
        /// Characters found.
        found_chars: usize,
    },
    /// Not base32.
    #[error("a seed consists of the characters A-Z and 2-7 only")]
    Alphabet,
    /// The checksum does not fit the rest.
    #[error("the seed's checksum is wrong: a character was lost or changed in copying")]
    Checksum,
    /// Well-formed, but no seed.
    #[error("a seed begins with S; this is something else")]
    NotASeed,
    /// The seed of another kind of key.
    #[error("{} is needed, this is {}", kind_needed(*.expected), kind_found(*.found))]
    Kind {
        /// The kind asked for; `None`: any that signs.
        expected: Option<KeyKind>,
        /// The kind found, if it is known.
        found: Option<KeyKind>,
    },
}

fn kind_needed(expected: Option<KeyKind>) -> String {
    match expected {
        Some(kind) => format!("a seed of kind {kind} (S{}…)", kind.letter()),
        None => "the seed of a signing key".to_owned(),
    }
}

pub(crate) fn decode(
    seed: &SecretString,
) -> Result<(Option<KeyKind>, Zeroizing<[u8; RAW_BYTES]>), ParseSeedError> {
    let text = seed.expose_secret().trim_ascii();
    if !text.is_ascii() {
        return Err(ParseSeedError::Alphabet);
    }
    if text.len() != TEXT_BYTES {
        return Err(ParseSeedError::Length {
            found_chars: text.len(),
        });
    }
    let mut binary = Zeroizing::new([0; BINARY_BYTES]);
    // 58 characters carry 290 bits: two more than the 36 bytes, which the decoder wants to be 0.
    BASE32_NOPAD
        .decode_mut(text.as_bytes(), &mut binary[..])
        .map_err(|_| ParseSeedError::Alphabet)?;
    let (body, checksum) = binary.split_at(BINARY_BYTES - CHECKSUM_BYTES);
    if crc16(body).to_le_bytes() != checksum {
        return Err(ParseSeedError::Checksum);
    }
    if body[0] & 0b1111_1000 != SEED_PREFIX {
        return Err(ParseSeedError::NotASeed);
    }
    let kind = KeyKind::from_prefix((body[0] & 0b111) << 5 | body[1] >> 3);
    let mut raw = Zeroizing::new([0; RAW_BYTES]);
    raw.copy_from_slice(&body[2..]);
    Ok((kind, raw))
}

pub(crate) fn encode(kind: KeyKind, raw: &[u8; RAW_BYTES]) -> SecretString {
    let mut binary = Zeroizing::new([0; BINARY_BYTES]);
    binary[0] = SEED_PREFIX | kind.prefix() >> 5;
    binary[1] = (kind.prefix() & 0b1_1111) << 3;
    binary[2..2 + RAW_BYTES].copy_from_slice(raw);
    let checksum = crc16(&binary[..2 + RAW_BYTES]);
    binary[2 + RAW_BYTES..].copy_from_slice(&checksum.to_le_bytes());
    SecretString::from(BASE32_NOPAD.encode(&binary[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_carry_kind_and_bytes() {
        for (kind, start) in [
            (KeyKind::Account, "SA"),
            (KeyKind::User, "SU"),
            (KeyKind::Server, "SN"),
            (KeyKind::Curve, "SX"),
        ] {
            let seed = encode(kind, &[9; 32]);
            assert!(seed.expose_secret().starts_with(start));
            let (found, raw) = decode(&seed).unwrap();
            assert_eq!((found, *raw), (Some(kind), [9; 32]));
        }
    }

    #[test]
    fn space_around_a_seed_is_ignored() {
        let seed = encode(KeyKind::User, &[9; 32]);
        let padded = SecretString::from(format!("  {}\r\n", seed.expose_secret()));
        assert!(decode(&padded).is_ok());
    }

    #[test]
    fn malformed_seeds_are_refused() {
        let good = encode(KeyKind::User, &[9; 32]).expose_secret().to_owned();
        let refused = |text: String| decode(&SecretString::from(text)).unwrap_err();
        assert_eq!(
            refused(good[1..].to_owned()),
            ParseSeedError::Length { found_chars: 57 }
        );
        assert_eq!(refused(good.to_lowercase()), ParseSeedError::Alphabet);
        assert_eq!(refused(format!("{good}\u{2026}")), ParseSeedError::Alphabet);
        assert_eq!(
            refused(good.replacen("BE", "BF", 1)),
            ParseSeedError::Checksum
        );
        let mut binary = [0u8; BINARY_BYTES];
        let checksum = crc16(&binary[..34]).to_le_bytes();
        binary[34..].copy_from_slice(&checksum);
        assert_eq!(
            refused(BASE32_NOPAD.encode(&binary)),
            ParseSeedError::NotASeed
        );
    }
}
