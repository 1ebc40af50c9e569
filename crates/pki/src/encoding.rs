use leafgate_identity::{SerialNumber, SpkiHash, UnixMs, Validity};
use pem::{EncodeConfig, LineEnding, Pem};
use pkcs8::SecretDocument;
use rcgen::{KeyPair, PublicKeyData};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

pub(crate) const CERTIFICATE_LABEL: &str = "CERTIFICATE";
pub(crate) const CRL_LABEL: &str = "X509 CRL";
pub(crate) const PRIVATE_KEY_LABEL: &str = "PRIVATE KEY";

pub(crate) fn encode_pem(label: &str, der: &[u8]) -> String {
    pem::encode_config(
        &Pem::new(label, der),
        EncodeConfig::new().set_line_ending(LineEnding::LF),
    )
}

/// A revocation list in PEM (RFC 7468 section 6), as files and `openssl crl` have it.
pub fn crl_pem(der: &[u8]) -> String {
    encode_pem(CRL_LABEL, der)
}

/// PKCS #8 in PEM. The copies made on the way are wiped.
pub(crate) fn encode_private_key(pkcs8: &[u8]) -> SecretString {
    let text = SecretDocument::try_from(pkcs8)
        .and_then(|document| document.to_pem(PRIVATE_KEY_LABEL, pkcs8::LineEnding::LF))
        .expect("a key that was just serialised is DER");
    SecretString::from(text.as_str())
}

/// The key in an unencrypted PKCS #8 PEM block, wiped when dropped.
pub(crate) fn decode_private_key(text: &SecretString) -> Option<Zeroizing<KeyPair>> {
    let (label, document) = SecretDocument::from_pem(text.expose_secret().trim()).ok()?;
    if label != PRIVATE_KEY_LABEL {
        return None;
    }
    key_from_pkcs8(document.as_bytes())
}

pub(crate) fn key_from_pkcs8(der: &[u8]) -> Option<Zeroizing<KeyPair>> {
    KeyPair::try_from(der).ok().map(Zeroizing::new)
}

/// The seconds of `at`; certificates and revocation lists know no fractions.
pub(crate) fn whole_seconds(at: UnixMs) -> UnixMs {
    UnixMs::from_secs(at.as_secs())
}

pub(crate) fn asn1_time(at: UnixMs) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_secs())
        .expect("UnixMs stays within the years that ASN.1 can write")
}

pub(crate) fn validity_of(certificate: &X509Certificate<'_>) -> Validity {
    let validity = certificate.validity();
    Validity {
        not_before: UnixMs::from_secs(validity.not_before.timestamp()),
        not_after: UnixMs::from_secs(validity.not_after.timestamp()),
    }
}

/// When a certificate (PEM) is valid, if it is one.
pub fn certificate_validity(certificate_pem: &str) -> Option<Validity> {
    let block = pem::parse(certificate_pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(block.contents()).ok()?;
    Some(validity_of(&certificate))
}

/// The serial number of a certificate (DER), if it is one.
pub fn certificate_serial(der: &[u8]) -> Option<SerialNumber> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    SerialNumber::from_be_bytes(certificate.tbs_certificate.raw_serial()).ok()
}

/// The hash of the key in a certificate (DER), if it is one.
pub fn certificate_key(der: &[u8]) -> Option<SpkiHash> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(spki_hash_of(&certificate))
}

/// Whether a certificate (PEM) is signed with its own key, as roots are.
pub fn is_self_signed(certificate_pem: &str) -> bool {
    let Ok(block) = pem::parse(certificate_pem) else {
        return false;
    };
    X509Certificate::from_der(block.contents()).is_ok_and(|(_, certificate)| {
        certificate.issuer().as_raw() == certificate.subject().as_raw()
            && certificate.verify_signature(None).is_ok()
    })
}

pub(crate) fn spki_hash_of_key(key: &KeyPair) -> SpkiHash {
    SpkiHash::of_spki_der(&key.subject_public_key_info())
}

pub(crate) fn spki_hash_of(certificate: &X509Certificate<'_>) -> SpkiHash {
    SpkiHash::of_spki_der(certificate.public_key().raw)
}
