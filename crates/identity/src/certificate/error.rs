use crate::{Excerpt, ParseSerialNumberError, UnixMs};
use std::fmt;

/// Which certificate an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificatePlace {
    /// The device's own, the first of its chain.
    Device,
    /// One above it, by its number in the chain: the issuer is 2.
    Above(usize),
    /// One given alone.
    Alone,
    /// One of several in a file, by its number there.
    InFile(usize),
}

impl CertificatePlace {
    pub(super) fn in_chain(index: usize) -> Self {
        match index {
            0 => Self::Device,
            _ => Self::Above(index + 1),
        }
    }
}

impl fmt::Display for CertificatePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => f.write_str("the device certificate"),
            Self::Above(number) => write!(f, "certificate {number} of the chain"),
            Self::Alone => f.write_str("the certificate"),
            Self::InFile(number) => write!(f, "certificate {number} of the file"),
        }
    }
}

/// A certificate chain is refused for what it is, whoever its issuer may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCertificateError {
    /// There is no issuer in the chain.
    #[error(
        "the verified chain has {len} certificates, and the device certificate and its issuer are \
         needed; let `ca_file` of the listener hold the issuing certificate, not the device's own"
    )]
    ChainTooShort {
        /// Certificates in the chain.
        len: usize,
    },
    /// The chain is longer than any real one.
    #[error("the verified chain has {len} certificates, and at most 8 are read")]
    ChainTooLong {
        /// Certificates in the chain.
        len: usize,
    },
    /// The text is not exactly one PEM block.
    #[error("{place} is not one PEM block")]
    Pem {
        /// Which certificate.
        place: CertificatePlace,
        /// What is wrong.
        source: ReadPemError,
    },
    /// The bytes are not the DER of an X.509 v3 certificate.
    #[error("{place} is not the DER encoding of an X.509 v3 certificate (RFC 5280, 4.1)")]
    Der {
        /// Which certificate.
        place: CertificatePlace,
        /// What is wrong.
        source: ReadDerError,
    },
    /// The content of an extension is malformed.
    #[error("{place} has a malformed extension {oid} (RFC 5280, 4.2.1)")]
    Extension {
        /// Which certificate.
        place: CertificatePlace,
        /// The extension.
        oid: Excerpt,
        /// What is wrong; offsets count from the start of the extension's content.
        source: ReadDerError,
    },
    /// A field has a value that makes no sense.
    #[error("{place} can't be read: {reason}; issue it anew")]
    Unreadable {
        /// Which certificate.
        place: CertificatePlace,
        /// What is wrong.
        reason: Excerpt,
    },
    /// The serial number is not allowed.
    #[error("{place} has a serial number that is not allowed; issue it anew")]
    Serial {
        /// Which certificate.
        place: CertificatePlace,
        /// What is wrong.
        source: ParseSerialNumberError,
    },
    /// An extension occurs twice.
    #[error("{place} has extension {oid} more than once (RFC 5280, 4.2); issue it anew")]
    ExtensionRepeated {
        /// Which certificate.
        place: CertificatePlace,
        /// The extension.
        oid: Excerpt,
    },
    /// The next certificate of the chain is not the issuer.
    #[error("{place} names another issuer than the next certificate of the chain")]
    IssuerOther {
        /// Which certificate.
        place: CertificatePlace,
    },
    /// An issuer is no certification authority.
    #[error("{place} issued another one but is no CA (basicConstraints, RFC 5280, 4.2.1.9)")]
    IssuerNotCa {
        /// Which certificate.
        place: CertificatePlace,
    },
    /// The device certificate ends before it begins.
    #[error(
        "the device certificate is valid from {not_before} to {not_after}, which is no time at all"
    )]
    ValidityReversed {
        /// First moment.
        not_before: UnixMs,
        /// Last moment.
        not_after: UnixMs,
    },
    /// The device certificate may sign certificates or CRLs.
    #[error(
        "the device certificate is a CA (basicConstraints cA, or keyUsage keyCertSign or cRLSign); \
         issue the device an end-entity certificate"
    )]
    DeviceIsCa,
    /// The device certificate has no extended key usage.
    #[error("the device certificate has no extended key usage; issue one with clientAuth")]
    ExtendedKeyUsageMissing,
    /// The extended key usage of the device certificate lacks client authentication.
    #[error("the extended key usage of the device certificate lacks clientAuth; issue one with it")]
    ClientAuthMissing,
    /// The device certificate has a critical extension that is not understood.
    #[error(
        "the device certificate has the critical extension {oid}, which is not understood and so \
         forbids its use (RFC 5280, 4.2); issue one without it"
    )]
    CriticalExtension {
        /// The extension.
        oid: Excerpt,
    },
    /// The subject has no common name.
    #[error(
        "the subject of the device certificate has no common name; issue one with the device's name"
    )]
    CommonNameMissing,
    /// The subject has more than one common name.
    #[error(
        "the subject of the device certificate has more than one common name, {first} and {second}; keep one"
    )]
    CommonNameRepeated {
        /// The first.
        first: Excerpt,
        /// The second.
        second: Excerpt,
    },
    /// The common name is neither a PrintableString nor a UTF8String.
    #[error(
        "common name {cn} is a {kind}; only well-formed PrintableString and UTF8String are read"
    )]
    CommonNameEncoding {
        /// The type of string.
        kind: &'static str,
        /// Its bytes.
        cn: Excerpt,
    },
    /// The common name has a character that no device's name may have.
    #[error(
        "common name {cn} has {found} at byte {at}; the names of devices have only \
         A-Z a-z 0-9 . - _ : @ /, no wildcards, blanks or control characters"
    )]
    CommonNameCharacter {
        /// The common name.
        cn: Excerpt,
        /// The character.
        found: Excerpt,
        /// Offset of the character in bytes, from 0.
        at: usize,
    },
    /// The common name is empty or too long.
    #[error("common name {cn} has {len} characters; 1 to 64 are allowed (X.520 ub-common-name)")]
    CommonNameLength {
        /// The common name.
        cn: Excerpt,
        /// Its length.
        len: usize,
    },
    /// The subject alternative name is not the common name.
    #[error(
        "subject alternative name {san} differs from common name {cn}; the only one allowed is a \
         dNSName equal to the common name"
    )]
    SanMismatch {
        /// The common name.
        cn: Excerpt,
        /// The subject alternative name.
        san: Excerpt,
    },
    /// The subject alternative name is no DNS name.
    #[error(
        "the device certificate has a subject alternative name of type {kind}; the only one \
         allowed is a dNSName equal to the common name"
    )]
    SanKind {
        /// Its type (RFC 5280, section 4.2.1.6).
        kind: &'static str,
    },
    /// The extension for subject alternative names holds none or more than one.
    #[error(
        "the device certificate has {count} subject alternative names; the only one allowed is a \
         dNSName equal to the common name"
    )]
    SanCount {
        /// How many there are.
        count: usize,
    },
}

impl ParseCertificateError {
    /// True if the name in the device certificate is the problem, false if its form is.
    pub fn is_name(&self) -> bool {
        match self {
            Self::CommonNameMissing
            | Self::CommonNameRepeated { .. }
            | Self::CommonNameEncoding { .. }
            | Self::CommonNameCharacter { .. }
            | Self::CommonNameLength { .. }
            | Self::SanMismatch { .. }
            | Self::SanKind { .. }
            | Self::SanCount { .. } => true,
            Self::ChainTooShort { .. }
            | Self::ChainTooLong { .. }
            | Self::Pem { .. }
            | Self::Der { .. }
            | Self::Extension { .. }
            | Self::Unreadable { .. }
            | Self::Serial { .. }
            | Self::ExtensionRepeated { .. }
            | Self::IssuerOther { .. }
            | Self::IssuerNotCa { .. }
            | Self::ValidityReversed { .. }
            | Self::DeviceIsCa
            | Self::ExtendedKeyUsageMissing
            | Self::ClientAuthMissing
            | Self::CriticalExtension { .. } => false,
        }
    }
}

/// A text is not exactly one PEM block with a certificate (RFC 7468, section 3, strict).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadPemError {
    /// The text is longer than any certificate.
    #[error("it has {len} bytes, and at most 64 KiB are read")]
    TooLong {
        /// Length of the text in bytes.
        len: usize,
    },
    /// The text does not begin with a block.
    #[error("it does not begin with -----BEGIN CERTIFICATE-----; remove any text before it")]
    BeginMissing,
    /// The block is of another kind.
    #[error("it is a block of {label}; give a CERTIFICATE")]
    Label {
        /// The kind of block.
        label: Excerpt,
    },
    /// A line is not as PEM wants it.
    #[error(
        "line {line} is not canonical base64 in lines of 64 characters, without headers and blank \
         lines; `openssl x509 -in FILE` rewrites a certificate so"
    )]
    Line {
        /// Number of the line, from 1.
        line: usize,
    },
    /// There is nothing between the first and the last line.
    #[error("it is empty")]
    Empty,
    /// The block has no end.
    #[error("it has no line -----END CERTIFICATE-----; it may have been cut off")]
    EndMissing,
    /// Something follows the block.
    #[error("line {line} follows the end of the certificate; keep exactly one certificate")]
    TextAfter {
        /// Number of the line, from 1.
        line: usize,
    },
}

/// Bytes are not the DER that they ought to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the element at byte {at} {problem}")]
pub struct ReadDerError {
    /// Offset of the element in bytes, from 0.
    pub at: usize,
    /// What is wrong with it.
    pub problem: DerProblem,
}

/// What is wrong with a DER element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DerProblem {
    /// It is missing or ends too early.
    #[error("is cut off or missing")]
    Truncated,
    /// Its length is indefinite, not in the shortest form, or beyond 16 MiB.
    #[error("has a length that is not in the shortest definite form")]
    Length,
    /// Another kind of element belongs there.
    #[error("has the tag {found:#04x}, which does not belong there")]
    Tag {
        /// Its tag.
        found: u8,
    },
    /// Its content is malformed or not canonical.
    #[error("of tag {tag:#04x} has malformed or not canonical content")]
    Content {
        /// Its tag.
        tag: u8,
    },
    /// Nothing ought to be there.
    #[error("is one too many")]
    Surplus,
}
