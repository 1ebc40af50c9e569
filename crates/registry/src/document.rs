use leafgate_identity::UnixMs;
use serde_json::Value;

use crate::text::named;

/// Which collection of the registry a document belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    /// A key with which a program calls the API; named by its id.
    ApiKey,
    /// What lets new devices in; named by its id.
    EnrolmentToken,
    /// The DER of a signed certificate; named as [`CertificateId`](crate::CertificateId) writes itself.
    Certificate,
    /// What must not happen twice, or too often: a request, named by the hash of its actor and its idempotency key; the
    /// uses of an enrolment token; the first API key.
    Request,
    /// What an issuer that draws serial numbers only when it signs was asked for; named by issuer, holder, key and a
    /// random number.
    CertificateRequest,
    /// Which issuers there are of a kind, and the place of each in its rotation; named by what they sign.
    Issuer,
}

named!(DocumentKind, UnknownDocumentKind, "document kind", {
    ApiKey => "api-key",
    EnrolmentToken => "enrolment-token",
    Certificate => "certificate",
    Request => "request",
    CertificateRequest => "certificate-request",
    Issuer => "issuer",
});

/// A small record beside the devices. The registry keeps it under its name and compares versions; what it means is the
/// business of whoever wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its collection.
    pub kind: DocumentKind,
    /// Its name, unique in its collection.
    pub name: DocumentName,
    /// Grows by one with every change, from 1.
    pub version: u64,
    /// When it may be forgotten; `None` if never. It counts until it is forgotten.
    pub expires_at: Option<UnixMs>,
    /// Its content.
    pub body: Value,
}

impl Document {
    /// What it is stored under.
    pub fn key(&self) -> (DocumentKind, DocumentName) {
        (self.kind, self.name.clone())
    }

    /// The document with another content and end.
    #[must_use]
    pub fn replaced(&self, body: Value, expires_at: Option<UnixMs>) -> DocumentWrite {
        DocumentWrite {
            expected_version: Some(self.version),
            document: Self {
                kind: self.kind,
                name: self.name.clone(),
                version: self.version + 1,
                expires_at,
                body,
            },
        }
    }
}

/// The write of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentWrite {
    /// The version that the store must hold; `None` if it must hold no document of this kind and name.
    pub expected_version: Option<u64>,
    /// The document afterwards.
    pub document: Document,
}

impl DocumentWrite {
    /// A document of a name that must not be taken.
    pub fn new(
        kind: DocumentKind,
        name: DocumentName,
        body: Value,
        expires_at: Option<UnixMs>,
    ) -> Self {
        Self {
            expected_version: None,
            document: Document {
                kind,
                name,
                version: 1,
                expires_at,
                body,
            },
        }
    }
}

/// The name of a document: 1 to 200 of `A-Z a-z 0-9 . _ : -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentName(String);

impl DocumentName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 200;

    /// Takes a name.
    ///
    /// # Errors
    /// [`ParseDocumentNameError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ParseDocumentNameError> {
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        let valid = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(allowed);
        valid
            .then(|| Self(text.to_owned()))
            .ok_or(ParseDocumentNameError)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DocumentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl std::str::FromStr for DocumentName {
    type Err = ParseDocumentNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A text that can't name a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a document is named by 1 to 200 of A–Z a–z 0–9 . _ : -")]
pub struct ParseDocumentNameError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_its_alphabet_and_length() {
        for good in ["a", "0a-b_c.d:e", &"x".repeat(200)] {
            assert_eq!(DocumentName::parse(good).unwrap().as_str(), good);
        }
        for wrong in ["", "a/b", "a b", "..%2f", "ä", &"x".repeat(201)] {
            assert_eq!(
                DocumentName::parse(wrong),
                Err(ParseDocumentNameError),
                "{wrong:?}"
            );
        }
    }
}
