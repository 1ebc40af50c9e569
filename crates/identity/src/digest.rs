use crate::{Excerpt, serde_text::serde_as_text};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use std::{fmt, str::FromStr};

macro_rules! sha256_newtype {
    ($(#[$doc:meta])* $type:ident, $(#[$of_doc:meta])* $of:ident, $noun:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type([u8; 32]);

        impl $type {
            $(#[$of_doc])*
            pub fn $of(der: &[u8]) -> Self {
                Self(sha256(der))
            }

            /// From the 32 bytes of the hash.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes of the hash.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = ParseDigestError;

            /// Parses 64 lower-case hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self).ok_or_else(|| ParseDigestError {
                    noun: $noun,
                    text: Excerpt::of(text),
                })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                HEXLOWER.encode_display(&self.0).fmt(f)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        serde_as_text!($type, "64 lower-case hexadecimal digits");
    };
}

sha256_newtype!(
    /// SHA-256 of the DER of a `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7): names a key,
    /// whatever certificate carries it. Text is lower-case hexadecimal without colons.
    SpkiHash,
    /// Hashes the DER of a whole `SubjectPublicKeyInfo`.
    of_spki_der,
    "SPKI hash"
);

sha256_newtype!(
    /// SHA-256 of the DER of a certificate: names exactly this certificate. Text is lower-case
    /// hexadecimal without colons.
    Fingerprint,
    /// Hashes the DER of a whole certificate.
    of_certificate_der,
    "certificate fingerprint"
);

/// A text is not the SHA-256 hash that it ought to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{noun} {text} is not 64 lower-case hexadecimal digits without colons (SHA-256)")]
pub struct ParseDigestError {
    noun: &'static str,
    text: Excerpt,
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() {
        return None;
    }
    HEXLOWER.decode_mut(text.as_bytes(), &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 example: SHA-256 of `abc`.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn hashes_and_prints_lower_hex() {
        assert_eq!(SpkiHash::of_spki_der(b"abc").to_string(), ABC);
        assert_eq!(
            format!("{:?}", Fingerprint::of_certificate_der(b"abc")),
            ABC
        );
    }

    #[test]
    fn parses_only_what_it_prints() {
        let hash: Fingerprint = ABC.parse().expect("a fingerprint");
        assert_eq!(hash, Fingerprint::of_certificate_der(b"abc"));
        assert_eq!(Fingerprint::from_bytes(*hash.as_bytes()), hash);

        let upper = ABC.to_ascii_uppercase();
        let colons = format!("{}:{}", &ABC[..2], &ABC[2..]);
        let multibyte = format!("{}é", &ABC[..62]);
        for text in ["", "ab", &ABC[..63], &upper, &colons, &multibyte] {
            let error = text.parse::<SpkiHash>().expect_err(text).to_string();
            assert!(error.starts_with("SPKI hash \""), "{error}");
            assert!(
                error.contains("64 lower-case hexadecimal digits"),
                "{error}"
            );
        }
    }

    #[test]
    fn is_text_in_json() {
        let json = format!("\"{ABC}\"");
        let hash: SpkiHash = serde_json::from_str(&json).expect("a hash");
        assert_eq!(serde_json::to_string(&hash).expect("JSON"), json);
    }
}
