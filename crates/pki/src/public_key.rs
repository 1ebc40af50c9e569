use std::fmt;
use std::sync::Arc;

use leafgate_identity::{Excerpt, SpkiHash};
use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::UintRef;
use pkcs8::der::{Decode, Reader, SliceReader};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use rcgen::PublicKeyData;

const MIN_RSA_BITS: u32 = 2048;
const MAX_RSA_BITS: u32 = 4096;
const MIN_RSA_EXPONENT: u32 = 65_537;
/// nats-server can't read a larger exponent (Go's crypto/rsa keeps it in 31 bits).
const MAX_RSA_EXPONENT: u32 = (1 << 31) - 1;
/// First byte of an uncompressed point (SEC 1 section 2.3.3), the only form TLS allows
/// (RFC 8422 section 5.1.2).
const UNCOMPRESSED_POINT: u8 = 0x04;

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// What people may bring that is not supported, by the names they know.
const UNSUPPORTED: [(&str, &str); 5] = [
    ("1.3.132.0.35", "P-521"),
    ("1.3.132.0.10", "secp256k1"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.3.101.113", "Ed448"),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS"),
];

/// A public key that leafgate certifies: P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKeyInfo {
    key: rcgen::SubjectPublicKeyInfo,
    algorithm: KeyAlgorithm,
    hash: SpkiHash,
    csr_der: Option<Arc<[u8]>>,
}

impl PublicKeyInfo {
    /// Reads a DER SubjectPublicKeyInfo (RFC 5280 section 4.1). Nothing shows here that its
    /// sender holds the private key.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, ParsePublicKeyError> {
        let spki =
            SubjectPublicKeyInfoRef::from_der(der).map_err(|_| ParsePublicKeyError::Malformed)?;
        let algorithm = KeyAlgorithm::of(&spki)?;
        let key = rcgen::SubjectPublicKeyInfo::from_der(der)
            .map_err(|_| ParsePublicKeyError::Malformed)?;
        // The certificate will hold this encoding; one that differs from the sender's would have
        // another hash.
        if key.subject_public_key_info() != der {
            return Err(ParsePublicKeyError::Malformed);
        }
        Ok(Self {
            key,
            algorithm,
            hash: SpkiHash::of_spki_der(der),
            csr_der: None,
        })
    }

    /// The content of the BIT STRING: a point, or the DER of an RSA key.
    pub(crate) fn raw(&self) -> &[u8] {
        self.key.der_bytes()
    }

    /// The DER SubjectPublicKeyInfo.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    pub(crate) fn as_rcgen(&self) -> &rcgen::SubjectPublicKeyInfo {
        &self.key
    }

    /// With the request by which its holder has shown that they have the private key.
    pub(crate) fn with_csr(self, der: &[u8]) -> Self {
        Self {
            csr_der: Some(der.into()),
            ..self
        }
    }

    /// The certificate request (RFC 2986, DER) by which its holder has shown that they have the private key, for issuers
    /// that want to see it themselves. Nothing in it but the key has a say.
    pub fn csr_der(&self) -> Option<&[u8]> {
        self.csr_der.as_deref()
    }

    /// SHA-256 of the DER SubjectPublicKeyInfo, as it stands in the certificate.
    pub fn spki_hash(&self) -> SpkiHash {
        self.hash
    }

    /// The kind of key.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }
}

impl fmt::Debug for PublicKeyInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKeyInfo")
            .field("algorithm", &self.algorithm)
            .field("spki_hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// The kinds of key that leafgate certifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA on the curve P-256.
    P256,
    /// ECDSA on the curve P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA with a modulus of this many bits.
    Rsa {
        /// Bits of the modulus.
        bits: u32,
    },
}

impl KeyAlgorithm {
    fn of(spki: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, ParsePublicKeyError> {
        let key = spki
            .subject_public_key
            .as_bytes()
            .ok_or(ParsePublicKeyError::Malformed)?;
        match spki.algorithm.oid {
            EC => Self::of_point(spki.algorithm, key),
            ED25519 if key.len() == 32 => Ok(Self::Ed25519),
            ED25519 => Err(ParsePublicKeyError::Malformed),
            RSA => Self::of_rsa(key),
            other => Err(ParsePublicKeyError::unsupported(other)),
        }
    }

    fn of_point(
        algorithm: AlgorithmIdentifierRef<'_>,
        point: &[u8],
    ) -> Result<Self, ParsePublicKeyError> {
        let (algorithm, point_len) = match algorithm.parameters_oid() {
            Ok(P256) => (Self::P256, 65),
            Ok(P384) => (Self::P384, 97),
            Ok(other) => return Err(ParsePublicKeyError::unsupported(other)),
            Err(_) => {
                return Err(ParsePublicKeyError::Unsupported {
                    algorithm: "EC without a named curve".into(),
                });
            }
        };
        if point.len() != point_len || point[0] != UNCOMPRESSED_POINT {
            return Err(ParsePublicKeyError::Malformed);
        }
        Ok(algorithm)
    }

    fn of_rsa(der: &[u8]) -> Result<Self, ParsePublicKeyError> {
        let (modulus, exponent) = rsa_numbers(der).map_err(|_| ParsePublicKeyError::Malformed)?;
        let bits = bit_len(modulus.as_bytes());
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(ParsePublicKeyError::RsaSize { bits });
        }
        let is_odd = |number: UintRef<'_>| number.as_bytes().last().is_some_and(|b| b % 2 == 1);
        if !is_odd(modulus) {
            return Err(ParsePublicKeyError::Malformed);
        }
        let value = exponent.as_bytes().iter().fold(0, |value: u64, byte| {
            value.saturating_mul(256) | u64::from(*byte)
        });
        let sane = u64::from(MIN_RSA_EXPONENT)..=u64::from(MAX_RSA_EXPONENT);
        if !sane.contains(&value) || !is_odd(exponent) {
            return Err(ParsePublicKeyError::RsaExponent);
        }
        Ok(Self::Rsa { bits })
    }
}

/// RFC 8017 appendix A.1.1.
fn rsa_numbers(der: &[u8]) -> pkcs8::der::Result<(UintRef<'_>, UintRef<'_>)> {
    let mut reader = SliceReader::new(der)?;
    let numbers = reader.sequence(|key| Ok((key.decode()?, key.decode()?)))?;
    reader.finish(numbers)
}

/// Bits of a big-endian number without leading zero bytes.
fn bit_len(number: &[u8]) -> u32 {
    number.first().map_or(0, |first| {
        u32::try_from(number.len() * 8).unwrap_or(u32::MAX) - first.leading_zeros()
    })
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
        }
    }
}

/// Why a public key is not certified.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePublicKeyError {
    /// The key is of a kind that leafgate does not certify.
    #[error(
        "keys of type {algorithm} are not supported: use P-256, P-384, Ed25519 or RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits"
    )]
    Unsupported {
        /// Its name, or its object identifier.
        algorithm: String,
    },
    /// The RSA modulus is too short to be safe, or longer than is reasonable.
    #[error(
        "RSA keys of {bits} bits are not supported: use {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, or better P-256"
    )]
    RsaSize {
        /// Bits of the modulus.
        bits: u32,
    },
    /// The RSA exponent is even, weak, or larger than nats-server reads.
    #[error(
        "the RSA public exponent must be odd and from {MIN_RSA_EXPONENT} to {MAX_RSA_EXPONENT}: use {MIN_RSA_EXPONENT}"
    )]
    RsaExponent,
    /// The bytes are not a key of the type they claim.
    #[error("the public key is malformed (points of elliptic curves must be uncompressed)")]
    Malformed,
}

impl ParsePublicKeyError {
    fn unsupported(oid: ObjectIdentifier) -> Self {
        let oid = oid.to_string();
        let algorithm = UNSUPPORTED
            .iter()
            .find(|(known, _)| *known == oid)
            .map_or_else(
                || format!("OID {}", Excerpt::of(&oid)),
                |(_, name)| (*name).into(),
            );
        Self::Unsupported { algorithm }
    }
}
