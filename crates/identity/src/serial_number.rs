use crate::{Excerpt, serde_text::serde_as_text};
use data_encoding::HEXLOWER;
use std::{fmt, str::FromStr};

/// Serial number of a certificate: a positive integer of at most 20 octets (RFC 5280,
/// section 4.1.2.2).
///
/// Text is lower-case hexadecimal without colons, two digits an octet, without leading zero
/// octets, so that equal numbers have equal text. Ordered as numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber {
    // First, so that the derived order puts shorter numbers first.
    len: u8,
    // Left-aligned, the rest zero.
    octets: [u8; SerialNumber::MAX_LEN],
}

impl SerialNumber {
    /// Most octets of a serial number.
    pub const MAX_LEN: usize = 20;

    /// From a big-endian unsigned integer; leading zero octets are dropped.
    ///
    /// # Errors
    /// If the number is zero or has more than 20 octets.
    pub fn from_be_bytes(bytes: &[u8]) -> Result<Self, ParseSerialNumberError> {
        let first = bytes.iter().position(|octet| *octet != 0);
        let number = &bytes[first.ok_or(ParseSerialNumberError::Zero)?..];
        let mut octets = [0; Self::MAX_LEN];
        octets
            .get_mut(..number.len())
            .ok_or(ParseSerialNumberError::TooLong { len: number.len() })?
            .copy_from_slice(number);
        Ok(Self {
            len: number.len() as u8,
            octets,
        })
    }

    /// Big-endian, without leading zero octets.
    pub fn as_be_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// From the content of a DER INTEGER (two's complement, big-endian).
    pub(crate) fn from_der_integer(content: &[u8]) -> Result<Self, ParseSerialNumberError> {
        match content.first() {
            Some(0x80..) => Err(ParseSerialNumberError::Negative),
            _ => Self::from_be_bytes(content),
        }
    }
}

impl FromStr for SerialNumber {
    type Err = ParseSerialNumberError;

    /// Parses lower-case hexadecimal, exactly as it is printed.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseSerialNumberError::Text {
            text: Excerpt::of(text),
        };
        if text.len() > 2 * Self::MAX_LEN {
            return Err(ParseSerialNumberError::TooLong {
                len: text.len().div_ceil(2),
            });
        }
        let octets = HEXLOWER.decode(text.as_bytes()).map_err(|_| malformed())?;
        let number = Self::from_be_bytes(&octets)?;
        if number.as_be_bytes().len() == octets.len() {
            Ok(number)
        } else {
            Err(malformed())
        }
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(self.as_be_bytes()).fmt(f)
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(SerialNumber, "a serial number in lower-case hexadecimal");

/// A serial number is not allowed, or its text is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSerialNumberError {
    /// The number is zero.
    #[error("the serial number is zero; a certificate needs a positive one (RFC 5280, 4.1.2.2)")]
    Zero,
    /// The number is negative.
    #[error(
        "the serial number is negative; a certificate needs a positive one (RFC 5280, 4.1.2.2)"
    )]
    Negative,
    /// The number has too many octets.
    #[error("the serial number has {len} octets; at most 20 are allowed (RFC 5280, 4.1.2.2)")]
    TooLong {
        /// Octets of the number.
        len: usize,
    },
    /// The text is not what a serial number prints.
    #[error(
        "serial number {text} is not lower-case hexadecimal with two digits an octet, \
         without colons and leading zero octets"
    )]
    Text {
        /// The text.
        text: Excerpt,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn serial(text: &str) -> SerialNumber {
        text.parse().expect("a serial number")
    }

    #[test]
    fn drops_leading_zeros_and_prints_pairs_of_digits() {
        let number = SerialNumber::from_be_bytes(&[0, 0, 0x0a, 0xbc]).expect("a number");
        assert_eq!(number.to_string(), "0abc");
        assert_eq!(number, serial("0abc"));
        assert_eq!(number.as_be_bytes(), [0x0a, 0xbc]);
    }

    #[test]
    fn orders_as_numbers() {
        let mut numbers = ["0100", "ff", "02", "01ff"].map(serial);
        numbers.sort();
        assert_eq!(numbers, ["02", "ff", "0100", "01ff"].map(serial));
    }

    #[test]
    fn refuses_what_rfc_5280_forbids() {
        use ParseSerialNumberError::{Negative, TooLong, Zero};
        assert_eq!(SerialNumber::from_der_integer(&[0]), Err(Zero));
        assert_eq!(SerialNumber::from_be_bytes(&[]), Err(Zero));
        assert_eq!(SerialNumber::from_der_integer(&[0x80]), Err(Negative));
        assert_eq!(
            SerialNumber::from_be_bytes(&[1; 21]),
            Err(TooLong { len: 21 })
        );
        let mut largest = vec![0xff; 20];
        assert!(SerialNumber::from_be_bytes(&largest).is_ok());
        largest.insert(0, 0);
        assert!(SerialNumber::from_der_integer(&largest).is_ok());
    }

    #[test]
    fn parses_only_what_it_prints() {
        for text in [
            "", "0", "00", "1", "001a", "1A", "1:a0", "xx", "-1", "0x12", "é",
        ] {
            assert!(text.parse::<SerialNumber>().is_err(), "{text}");
        }
        let error = "00".repeat(1000).parse::<SerialNumber>();
        assert_eq!(error, Err(ParseSerialNumberError::TooLong { len: 1000 }));
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes in proptest::collection::vec(any::<u8>(), 0..=20)) {
            if let Ok(number) = SerialNumber::from_be_bytes(&bytes) {
                prop_assert_eq!(number.to_string().parse(), Ok(number));
                let json = serde_json::to_string(&number).expect("JSON");
                prop_assert_eq!(serde_json::from_str::<SerialNumber>(&json).expect("text"), number);
            }
        }
    }
}
