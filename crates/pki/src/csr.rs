use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use leafgate_identity::Excerpt;
use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::{AnyRef, BitStringRef, Null};
use pkcs8::der::{self, Reader, SliceReader, Tag, TagNumber, Tagged};
use pkcs8::spki::AlgorithmIdentifierRef;

use crate::public_key::{KeyAlgorithm, ParsePublicKeyError, PublicKeyInfo};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA_WITH_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const RSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");

/// Longest certificate request that is looked at.
pub const MAX_CSR_BYTES: usize = 64 * 1024;

impl PublicKeyInfo {
    /// Takes the public key, and nothing else, from a PKCS #10 certificate request in PEM
    /// (RFC 2986, RFC 7468 section 7). Its subject, extensions and attributes have no say in what
    /// a certificate holds.
    ///
    /// # Errors
    /// The text is not one such PEM block, longer than [`MAX_CSR_BYTES`], or
    /// [`from_csr_der`](Self::from_csr_der) refuses its content.
    pub fn from_csr_pem(text: &str) -> Result<Self, ParseCsrError> {
        if text.len() > MAX_CSR_BYTES {
            return Err(ParseCsrError::TooLong { bytes: text.len() });
        }
        let blocks = pem::parse_many(text).map_err(|_| ParseCsrError::NotPem)?;
        let block = match &blocks[..] {
            [block] => block,
            [] => return Err(ParseCsrError::NotPem),
            _ => {
                return Err(ParseCsrError::SeveralBlocks {
                    count: blocks.len(),
                });
            }
        };
        match block.tag() {
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                Self::from_csr_der(block.contents())
            }
            label if label.ends_with("PRIVATE KEY") => Err(ParseCsrError::PrivateKey),
            label => Err(ParseCsrError::WrongLabel {
                label: Excerpt::of(label),
            }),
        }
    }

    /// Takes the public key from a DER certificate request.
    ///
    /// # Errors
    /// The request is malformed, its key is of no supported kind, or it was not signed with the
    /// private key that belongs to it.
    pub fn from_csr_der(der: &[u8]) -> Result<Self, ParseCsrError> {
        if der.len() > MAX_CSR_BYTES {
            return Err(ParseCsrError::TooLong { bytes: der.len() });
        }
        let request = Request::parse(der).map_err(|_| ParseCsrError::Malformed)?;
        let key = Self::from_der(request.spki)?;
        let algorithm = verification_algorithm(key.algorithm(), request.algorithm)?;
        UnparsedPublicKey::new(algorithm, key.raw())
            .verify(request.info, request.signature)
            .map_err(|_| ParseCsrError::BadSignature)?;
        Ok(key.with_csr(der))
    }
}

/// The parts of a CertificationRequest (RFC 2986 section 4) that are looked at.
struct Request<'a> {
    /// The DER that is signed.
    info: &'a [u8],
    spki: &'a [u8],
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
}

impl<'a> Request<'a> {
    fn parse(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let (info, algorithm, signature) = reader.sequence(|request| {
            Ok((
                request.tlv_bytes()?,
                request.decode()?,
                request.decode::<BitStringRef<'_>>()?,
            ))
        })?;
        reader.finish(Self {
            info,
            spki: spki_of(info)?,
            algorithm,
            signature: signature
                .as_bytes()
                .ok_or_else(|| Tag::BitString.value_error())?,
        })
    }
}

fn spki_of(info: &[u8]) -> der::Result<&[u8]> {
    const ATTRIBUTES: Tag = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber::N0,
    };
    let mut reader = SliceReader::new(info)?;
    let spki = reader.sequence(|info| {
        if info.decode::<u8>()? != 0 {
            return Err(Tag::Integer.value_error());
        }
        info.decode::<AnyRef<'_>>()?
            .tag()
            .assert_eq(Tag::Sequence)?;
        let spki = info.tlv_bytes()?;
        info.decode::<AnyRef<'_>>()?.tag().assert_eq(ATTRIBUTES)?;
        Ok(spki)
    })?;
    reader.finish(spki)
}

fn verification_algorithm(
    key: KeyAlgorithm,
    identifier: AlgorithmIdentifierRef<'_>,
) -> Result<&'static dyn VerificationAlgorithm, ParseCsrError> {
    use KeyAlgorithm::{Ed25519, P256, P384, Rsa};

    let algorithm: &'static dyn VerificationAlgorithm = match (key, identifier.oid) {
        (P256, ECDSA_WITH_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
        (P256, ECDSA_WITH_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
        (P256, ECDSA_WITH_SHA512) => &signature::ECDSA_P256_SHA512_ASN1,
        (P384, ECDSA_WITH_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
        (P384, ECDSA_WITH_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
        (P384, ECDSA_WITH_SHA512) => &signature::ECDSA_P384_SHA512_ASN1,
        (Ed25519, ED25519) => &signature::ED25519,
        (Rsa { .. }, RSA_WITH_SHA256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (Rsa { .. }, RSA_WITH_SHA384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (Rsa { .. }, RSA_WITH_SHA512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (_, RSA_WITH_SHA1) => return Err(ParseCsrError::Sha1),
        _ => return Err(ParseCsrError::UnsupportedSignature),
    };
    // RFC 4055 section 5 has NULL parameters with RSA, RFC 5758 section 3.2 and RFC 8410
    // section 3 none with ECDSA and Ed25519.
    let fit = match (key, identifier.parameters) {
        (Rsa { .. }, Some(parameters)) => parameters.decode_as::<Null>().is_ok(),
        (_, parameters) => parameters.is_none(),
    };
    if fit {
        Ok(algorithm)
    } else {
        Err(ParseCsrError::Malformed)
    }
}

/// Why a certificate request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCsrError {
    /// The request is longer than any honest one.
    #[error("the certificate request has {bytes} bytes, more than the {MAX_CSR_BYTES} allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// There is no complete PEM block in the text.
    #[error(
        "no certificate request found: it must be PEM, from -----BEGIN CERTIFICATE REQUEST----- to -----END CERTIFICATE REQUEST-----"
    )]
    NotPem,
    /// More than one PEM block.
    #[error("{count} PEM blocks found where one certificate request is expected")]
    SeveralBlocks {
        /// How many there are.
        count: usize,
    },
    /// Somebody sent a private key.
    #[error(
        "this is a private key, which must stay where it is used: send the certificate request (openssl req -new -key …)"
    )]
    PrivateKey,
    /// A PEM block of another kind.
    #[error("a PEM block {label} found where a CERTIFICATE REQUEST is expected")]
    WrongLabel {
        /// Its label.
        label: Excerpt,
    },
    /// The content is not a certificate request.
    #[error("the certificate request is malformed: it is not PKCS #10 in DER")]
    Malformed,
    /// The key in it can't be certified.
    #[error("the certificate request's key is refused")]
    Key(#[from] ParsePublicKeyError),
    /// It is signed with SHA-1.
    #[error("the certificate request is signed with SHA-1: make it anew with SHA-256")]
    Sha1,
    /// It is signed in a way that does not fit the key or is not supported.
    #[error(
        "the certificate request's signature algorithm does not fit its key or is not supported: use SHA-256, SHA-384 or SHA-512 (RSA with PKCS #1 v1.5 padding)"
    )]
    UnsupportedSignature,
    /// The signature is not by the key in the request.
    #[error(
        "the certificate request's signature is wrong: it was not signed with the key it names, or was altered"
    )]
    BadSignature,
}
