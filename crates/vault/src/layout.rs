//! Where each document is, below the mount of the KV engine.

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, UnixMs};
use leafgate_registry::{CertificateId, DocumentKind, DocumentName};

/// What scripts and leafgate know of devices.
pub(crate) const DEVICES: &str = "devices";
/// What leafgate alone knows of devices.
pub(crate) const RECORDS: &str = "leafgate/devices";
/// The newest position, and what of it is not yet everywhere.
pub(crate) const HEAD: &str = "leafgate/head";
/// Parts of commits that are too large for the head.
pub(crate) const COMMITS: &str = "leafgate/commits";
/// Whose each certificate is, by issuer.
pub(crate) const CERTIFICATES: &str = "leafgate/certificates";
/// Certificates that were revoked, by issuer.
pub(crate) const REVOKED: &str = "leafgate/revoked";
/// The ends of documents.
pub(crate) const EXPIRING: &str = "leafgate/expiring";

const EVENTS: &str = "leafgate/events/";

pub(crate) fn device(id: &DeviceId) -> String {
    format!("{DEVICES}/{id}")
}

pub(crate) fn record(id: &DeviceId) -> String {
    format!("{RECORDS}/{id}")
}

pub(crate) fn event(seq: u64) -> String {
    format!("{EVENTS}{seq:020}")
}

pub(crate) fn is_event(path: &str) -> bool {
    path.starts_with(EVENTS)
}

/// The certificates of a service, whose name may be anything.
pub(crate) fn service(name: &str) -> String {
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    format!("leafgate/services/{}", HEXLOWER.encode(hash.as_ref()))
}

pub(crate) fn certificate(id: &CertificateId) -> String {
    format!("{CERTIFICATES}/{}/{}", id.issuer, id.serial)
}

/// The end comes first, so that a list needs to read none that ended before it.
pub(crate) fn revoked(id: &CertificateId, not_after: UnixMs) -> String {
    format!(
        "{REVOKED}/{}/{}-{}",
        id.issuer,
        sortable(not_after),
        id.serial
    )
}

/// The serial number and the end that [`revoked`] puts into a name.
pub(crate) fn parse_revoked(name: &str) -> Option<(SerialNumber, i64)> {
    let (end, serial) = name.split_once('-')?;
    Some((serial.parse().ok()?, end.parse().ok()?))
}

/// The certificates that carry a key.
pub(crate) fn key(key: &SpkiHash) -> String {
    format!("leafgate/keys/{key}")
}

pub(crate) fn crl(issuer: &SpkiHash) -> String {
    format!("leafgate/crls/{issuer}")
}

pub(crate) fn documents(kind: DocumentKind) -> String {
    format!("leafgate/documents/{kind}")
}

/// A name may hold `..`, which a URL can't: a dot is written as `~`, which no name holds.
pub(crate) fn document(kind: DocumentKind, name: &DocumentName) -> String {
    format!("{}/{}", documents(kind), name.as_str().replace('.', "~"))
}

pub(crate) fn parse_document_name(text: &str) -> Option<DocumentName> {
    DocumentName::parse(&text.replace('~', ".")).ok()
}

/// That a document ends then.
pub(crate) fn expiring(kind: DocumentKind, name: &DocumentName, at: UnixMs) -> String {
    let hash = digest::digest(&digest::SHA256, document(kind, name).as_bytes());
    let hash = HEXLOWER.encode(&hash.as_ref()[..16]);
    format!("{EXPIRING}/{}-{hash}", sortable(at))
}

/// The end that [`expiring`] puts into a name.
pub(crate) fn parse_expiring(name: &str) -> Option<i64> {
    name.split_once('-')?.0.parse().ok()
}

/// A time as the digits of [`sortable`] say it.
pub(crate) fn clamped(at: UnixMs) -> i64 {
    at.as_i64().max(0)
}

/// A time so that the order of texts is that of times; all before 1970 are one.
fn sortable(at: UnixMs) -> String {
    format!("{:015}", clamped(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive() {
        for text in ["a", "..", ".", "a.b:c-d_e", &"x".repeat(200)] {
            let name = DocumentName::parse(text).unwrap();
            let path = document(DocumentKind::Request, &name);
            let (_, last) = path.rsplit_once('/').unwrap();
            assert!(!last.contains('.'), "{last}");
            assert_eq!(parse_document_name(last), Some(name));
        }
    }

    #[test]
    fn revocations_tell_their_end_by_name() {
        let id: CertificateId = format!("{}:{}", "ab".repeat(32), "0102").parse().unwrap();
        for at in [0, 1_795_230_184_117, UnixMs::MAX.as_i64()] {
            let path = revoked(&id, UnixMs::new(at));
            let (_, name) = path.rsplit_once('/').unwrap();
            assert_eq!(parse_revoked(name), Some((id.serial, at)));
        }
        let path = revoked(&id, UnixMs::new(-5));
        assert!(path.ends_with("/000000000000000-0102"), "{path}");
    }

    #[test]
    fn later_comes_later() {
        assert!(event(9) < event(10));
        assert!(event(10) < event(u64::MAX));
        let name = DocumentName::parse("n").unwrap();
        let at = |ms| expiring(DocumentKind::ApiKey, &name, UnixMs::new(ms));
        assert!(at(999) < at(1_000));
        assert!(at(1_000) < at(UnixMs::MAX.as_i64()));
    }
}
