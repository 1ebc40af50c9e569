use aws_lc_rs::digest;
use leafgate_identity::SerialNumber;
use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::{AnyRef, Null, ObjectIdentifier as Oid, OctetStringRef};
use pkcs8::der::{self, Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use pkcs8::spki::AlgorithmIdentifierRef;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

/// Longest request that is looked at.
pub const MAX_OCSP_REQUEST_BYTES: usize = 8 * 1024;
/// Most certificates that one request may ask for: each may cost a look-up.
pub const MAX_OCSP_CERT_IDS: usize = 16;
/// RFC 9654 section 2.1.
const MAX_NONCE_BYTES: usize = 128;

/// `INTEGER 0`. It may be left out.
const VERSION_1: [u8; 3] = [0x02, 1, 0];
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");

/// What somebody wants to know (RFC 6960 section 4.1.1). Who asks, and with which signature, does
/// not matter and is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspRequest {
    /// The certificates asked for: one to [`MAX_OCSP_CERT_IDS`].
    pub cert_ids: Vec<CertId>,
    /// To be repeated in the answer.
    pub nonce: Option<OcspNonce>,
}

impl OcspRequest {
    /// Reads a request in DER.
    ///
    /// # Errors
    /// It is too long, no OCSP request, asks for too many certificates or none, or has a critical
    /// extension that is not known here.
    pub fn parse(der: &[u8]) -> Result<Self, ParseOcspRequestError> {
        if der.len() > MAX_OCSP_REQUEST_BYTES {
            return Err(ParseOcspRequestError::TooLong { bytes: der.len() });
        }
        let mut reader = SliceReader::new(der)?;
        let request = content(&mut reader, Tag::Sequence)?;
        reader.finish(())?;

        let mut request = SliceReader::new(request)?;
        let tbs = content(&mut request, Tag::Sequence)?;
        if !request.is_finished() {
            content(&mut request, context(TagNumber::N0))?;
        }
        request.finish(())?;
        Self::parse_tbs(tbs)
    }

    fn parse_tbs(tbs: &[u8]) -> Result<Self, ParseOcspRequestError> {
        let mut tbs = SliceReader::new(tbs)?;
        if tbs.peek_tag()? == context(TagNumber::N0) {
            let version = content(&mut tbs, context(TagNumber::N0))?;
            if version != VERSION_1 {
                return Err(ParseOcspRequestError::Malformed);
            }
        }
        if tbs.peek_tag()? == context(TagNumber::N1) {
            content(&mut tbs, context(TagNumber::N1))?;
        }
        let list = content(&mut tbs, Tag::Sequence)?;
        let nonce = if tbs.is_finished() {
            None
        } else {
            nonce_in(content(&mut tbs, context(TagNumber::N2))?)?
        };
        tbs.finish(())?;
        Ok(Self {
            cert_ids: cert_ids(list)?,
            nonce,
        })
    }
}

fn cert_ids(list: &[u8]) -> Result<Vec<CertId>, ParseOcspRequestError> {
    let mut list = SliceReader::new(list)?;
    let mut ids = Vec::new();
    while !list.is_finished() {
        let mut single = SliceReader::new(content(&mut list, Tag::Sequence)?)?;
        if ids.len() == MAX_OCSP_CERT_IDS {
            return Err(ParseOcspRequestError::TooMany);
        }
        ids.push(CertId::parse(single.tlv_bytes()?)?);
        if !single.is_finished() {
            // Of the extensions known to RFC 6960 none changes the answer here.
            let extensions = content(&mut single, context(TagNumber::N0))?;
            for_each_extension(extensions, |_, _| Ok(false))?;
        }
        single.finish(())?;
    }
    if ids.is_empty() {
        return Err(ParseOcspRequestError::Malformed);
    }
    Ok(ids)
}

fn nonce_in(extensions: &[u8]) -> Result<Option<OcspNonce>, ParseOcspRequestError> {
    let mut nonce = None;
    for_each_extension(extensions, |oid, value| {
        if oid != NONCE {
            return Ok(false);
        }
        match nonce.replace(OcspNonce::parse(value)?) {
            None => Ok(true),
            Some(_) => Err(ParseOcspRequestError::Malformed),
        }
    })?;
    Ok(nonce)
}

/// Calls `known` with each extension of a list. It tells whether it knows it; a critical one must
/// be known.
fn for_each_extension(
    extensions: &[u8],
    mut known: impl FnMut(Oid, &[u8]) -> Result<bool, ParseOcspRequestError>,
) -> Result<(), ParseOcspRequestError> {
    let mut reader = SliceReader::new(extensions)?;
    let list = content(&mut reader, Tag::Sequence)?;
    reader.finish(())?;
    let mut list = SliceReader::new(list)?;
    while !list.is_finished() {
        let mut extension = SliceReader::new(content(&mut list, Tag::Sequence)?)?;
        let oid: Oid = extension.decode()?;
        let critical = extension.peek_tag()? == Tag::Boolean && extension.decode::<bool>()?;
        let value = extension.decode::<OctetStringRef<'_>>()?;
        extension.finish(())?;
        if !known(oid, value.as_bytes())? && critical {
            return Err(ParseOcspRequestError::CriticalExtension { oid });
        }
    }
    Ok(())
}

/// The number that binds an answer to a request (RFC 9654).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspNonce(
    /// The extension's value as it was sent: the DER of an OCTET STRING.
    Vec<u8>,
);

impl OcspNonce {
    fn parse(value: &[u8]) -> Result<Self, ParseOcspRequestError> {
        let length = OctetStringRef::from_der(value)?.as_bytes().len();
        if (1..=MAX_NONCE_BYTES).contains(&length) {
            Ok(Self(value.into()))
        } else {
            Err(ParseOcspRequestError::Nonce { length })
        }
    }

    pub(crate) fn as_der(&self) -> &[u8] {
        &self.0
    }
}

/// A certificate as a request names it: by hashes of its issuer's name and key, and its serial
/// number (RFC 6960 section 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertId {
    /// As it was sent: answers repeat it byte for byte.
    der: Vec<u8>,
    digest: Option<Digest>,
    issuer_name_hash: Vec<u8>,
    issuer_key_hash: Vec<u8>,
    serial: Option<SerialNumber>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Digest {
    Sha1,
    Sha256,
}

impl CertId {
    fn parse(der: &[u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let fields = content(&mut reader, Tag::Sequence)?;
        reader.finish(())?;
        let mut fields = SliceReader::new(fields)?;
        let algorithm: AlgorithmIdentifierRef<'_> = fields.decode()?;
        let issuer_name_hash = fields.decode::<OctetStringRef<'_>>()?;
        let issuer_key_hash = fields.decode::<OctetStringRef<'_>>()?;
        let serial = serial(content(&mut fields, Tag::Integer)?)?;
        fields.finish(())?;
        Ok(Self {
            der: der.into(),
            digest: Digest::of(algorithm),
            issuer_name_hash: issuer_name_hash.as_bytes().into(),
            issuer_key_hash: issuer_key_hash.as_bytes().into(),
            serial,
        })
    }

    /// The serial number; `None` if it is one that no certificate may have.
    pub fn serial(&self) -> Option<SerialNumber> {
        self.serial
    }

    /// The CertID in DER, as it was sent.
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }
}

impl Digest {
    fn of(algorithm: AlgorithmIdentifierRef<'_>) -> Option<Self> {
        let plain = algorithm
            .parameters
            .is_none_or(|parameters| parameters.decode_as::<Null>().is_ok());
        match algorithm.oid {
            SHA1 if plain => Some(Self::Sha1),
            SHA256 if plain => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// From the content of an INTEGER.
fn serial(content: &[u8]) -> der::Result<Option<SerialNumber>> {
    match content {
        [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => Err(Tag::Integer.value_error()),
        [0x80..=0xff, ..] => Ok(None),
        _ => Ok(SerialNumber::from_be_bytes(content).ok()),
    }
}

/// How requests name one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerHashes {
    sha1: Hashes,
    sha256: Hashes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hashes {
    name: Vec<u8>,
    key: Vec<u8>,
}

impl IssuerHashes {
    /// Those of the issuer with this certificate (PEM).
    ///
    /// # Errors
    /// The text holds no certificate.
    pub fn of_certificate_pem(certificate_pem: &str) -> Result<Self, ParseIssuerError> {
        let (_, pem) = parse_x509_pem(certificate_pem.as_bytes()).map_err(|_| ParseIssuerError)?;
        let (_, certificate) =
            X509Certificate::from_der(&pem.contents).map_err(|_| ParseIssuerError)?;
        let hashes = |algorithm| Hashes {
            name: hash(algorithm, certificate.subject().as_raw()),
            key: hash(algorithm, &certificate.public_key().subject_public_key.data),
        };
        Ok(Self {
            sha1: hashes(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            sha256: hashes(&digest::SHA256),
        })
    }

    /// Whether `id` is about a certificate of this issuer.
    pub fn named_by(&self, id: &CertId) -> bool {
        let hashes = match id.digest {
            Some(Digest::Sha1) => &self.sha1,
            Some(Digest::Sha256) => &self.sha256,
            None => return false,
        };
        hashes.name == id.issuer_name_hash && hashes.key == id.issuer_key_hash
    }
}

fn hash(algorithm: &'static digest::Algorithm, data: &[u8]) -> Vec<u8> {
    digest::digest(algorithm, data).as_ref().into()
}

/// The content of the next value, which must have this tag.
fn content<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<&'a [u8]> {
    let any: AnyRef<'a> = reader.decode()?;
    any.tag().assert_eq(tag)?;
    Ok(any.value())
}

const fn context(number: TagNumber) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number,
    }
}

/// Why a request is not answered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseOcspRequestError {
    /// The request is longer than any honest one.
    #[error("the OCSP request has {bytes} bytes, more than the {MAX_OCSP_REQUEST_BYTES} allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is no request.
    #[error("the OCSP request is malformed: it is not as RFC 6960 section 4.1 has it, in DER")]
    Malformed,
    /// It asks for too much.
    #[error("the OCSP request asks for more than {MAX_OCSP_CERT_IDS} certificates")]
    TooMany,
    /// It has an extension that must not be ignored.
    #[error("the OCSP request has a critical extension that is not known here: {oid}")]
    CriticalExtension {
        /// The extension.
        oid: Oid,
    },
    /// The nonce is empty or too long.
    #[error("the OCSP request's nonce has {length} octets; RFC 9654 allows 1 to {MAX_NONCE_BYTES}")]
    Nonce {
        /// Its length.
        length: usize,
    },
}

impl From<der::Error> for ParseOcspRequestError {
    fn from(_: der::Error) -> Self {
        Self::Malformed
    }
}

/// A text that holds no issuer's certificate.
#[derive(Debug, thiserror::Error)]
#[error("the issuer's certificate can't be read")]
pub struct ParseIssuerError;

#[cfg(test)]
mod tests;
