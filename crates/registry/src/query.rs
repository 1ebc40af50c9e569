use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use leafgate_identity::{DeviceId, Fingerprint, SerialNumber, SpkiHash, UnixMs};

use crate::certificate::CertificateStatus;
use crate::certificate::{Certificate, CertificateId, CertificateStatusKind, Holder};
use crate::device::DeviceRecord;
use crate::state::DeviceState;

/// Which devices to find. Every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// In this state. Without it: in any but [`DeviceState::Deleted`], whose tombstones come only
    /// when asked for.
    pub state: Option<DeviceState>,
    /// Of this type.
    pub device_type: Option<String>,
    /// With this attribute, by name and value.
    pub attribute: Option<(String, String)>,
    /// Of this site.
    pub site: Option<String>,
    /// With an id that begins with this, case included.
    pub id_prefix: Option<String>,
    /// Whose last issued certificate of the present generation ends by this time. A device that has
    /// none is not meant.
    pub expires_by: Option<UnixMs>,
    /// After this place in the order of ids, byte by byte.
    pub after: Option<Cursor<DeviceId>>,
    /// How many at most; at least one is given if there is one.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            state: None,
            device_type: None,
            attribute: None,
            site: None,
            id_prefix: None,
            expires_by: None,
            after: None,
            limit: 100,
        }
    }
}

impl Query {
    /// Whether a device meets the conditions, its place and the limit aside.
    pub fn matches(&self, record: &DeviceRecord) -> bool {
        let device = &record.device;
        self.state
            .map_or(device.state != DeviceState::Deleted, |state| {
                device.state == state
            })
            && self
                .device_type
                .as_ref()
                .is_none_or(|device_type| device.device_type == *device_type)
            && self
                .attribute
                .as_ref()
                .is_none_or(|(name, value)| device.attributes.get(name) == Some(value))
            && self
                .id_prefix
                .as_ref()
                .is_none_or(|prefix| device.id.as_str().starts_with(prefix))
            && self
                .site
                .as_ref()
                .is_none_or(|site| device.site.as_ref() == Some(site))
            && self
                .expires_by
                .is_none_or(|time| last_end(record).is_some_and(|end| end <= time))
    }
}

/// When the last of the issued certificates of a device's present generation ends.
fn last_end(record: &DeviceRecord) -> Option<UnixMs> {
    record
        .current_certificates()
        .filter(|certificate| certificate.status == CertificateStatus::Issued)
        .map(|certificate| certificate.not_after)
        .max()
}

/// Which certificates to find. Every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateQuery {
    /// Of this issuer.
    pub issuer: Option<SpkiHash>,
    /// With this serial number, of whichever issuer.
    pub serial: Option<SerialNumber>,
    /// Issued to this holder.
    pub holder: Option<Holder>,
    /// Issued to a device, of whichever generation, whose id begins with this, case included.
    pub device_prefix: Option<String>,
    /// With this SHA-256 of its DER.
    pub fingerprint: Option<Fingerprint>,
    /// For this key.
    pub public_key: Option<SpkiHash>,
    /// Of this status.
    pub status: Option<CertificateStatusKind>,
    /// Still valid after this time: a CRL needs no others.
    pub expires_after: Option<UnixMs>,
    /// No longer valid after this time.
    pub expires_by: Option<UnixMs>,
    /// After this place; certificates come in an order of the store's own.
    pub after: Option<Cursor<CertificateId>>,
    /// How many at most; at least one is given if there is one.
    pub limit: usize,
}

impl Default for CertificateQuery {
    fn default() -> Self {
        Self {
            issuer: None,
            serial: None,
            holder: None,
            device_prefix: None,
            fingerprint: None,
            public_key: None,
            status: None,
            expires_after: None,
            expires_by: None,
            after: None,
            limit: 100,
        }
    }
}

impl CertificateQuery {
    /// Whether a certificate meets the conditions, its place and the limit aside.
    pub fn matches(&self, certificate: &Certificate) -> bool {
        self.issuer
            .as_ref()
            .is_none_or(|issuer| certificate.issuer == *issuer)
            && self
                .serial
                .as_ref()
                .is_none_or(|serial| certificate.serial == *serial)
            && self
                .holder
                .as_ref()
                .is_none_or(|holder| certificate.holder == *holder)
            && self.device_prefix.as_ref().is_none_or(|prefix| {
                matches!(&certificate.holder, Holder::Device { id, .. } if id.as_str().starts_with(prefix))
            })
            && self
                .fingerprint
                .is_none_or(|fingerprint| certificate.fingerprint == Some(fingerprint))
            && self
                .public_key
                .is_none_or(|key| certificate.public_key == key)
            && self
                .status
                .is_none_or(|status| certificate.status.kind() == status)
            && self
                .expires_after
                .is_none_or(|time| certificate.not_after > time)
            && self
                .expires_by
                .is_none_or(|time| certificate.not_after <= time)
    }
}

/// What was found, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, K> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Where the next page begins; `None` when nothing more was there.
    pub next: Option<Cursor<K>>,
}

impl<T, K> Page<T, K> {
    /// A page of `limit` from one item more than that, if there was one: its presence tells that there is a next page.
    pub fn cut(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| Cursor::after(key(last)));
        Self { items, next }
    }
}

/// A place in a listing: after one key. It stays good whatever is written meanwhile, so a listing shows everything that
/// was there all along exactly once. Its text is opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor<K>(K);

impl<K> Cursor<K> {
    /// The place right after `key`.
    pub const fn after(key: K) -> Self {
        Self(key)
    }

    /// The key that the place comes after.
    pub const fn key(&self) -> &K {
        &self.0
    }
}

impl<K: fmt::Display> fmt::Display for Cursor<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(self.0.to_string().as_bytes()))
    }
}

impl<K: FromStr> FromStr for Cursor<K> {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_| ParseCursorError)?;
        let key = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|key| key.parse().ok());
        key.map(Self).ok_or(ParseCursorError)
    }
}

/// A text that is no [`Cursor`] of this listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a place in this listing; pass on the one that the page before gave, unchanged"
)]
pub struct ParseCursorError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor::after(DeviceId::parse("pump-7").unwrap());
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        let device = Cursor::after(DeviceId::parse("pump-7").unwrap()).to_string();
        assert_eq!(
            device.parse::<Cursor<CertificateId>>(),
            Err(ParseCursorError)
        );
        for wrong in ["pump-7", "", "cHVtcC43", "cHVtcC03="] {
            assert_eq!(
                wrong.parse::<Cursor<DeviceId>>(),
                Err(ParseCursorError),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_page_names_its_successor_only_if_there_is_one() {
        let key = |item: &u32| *item;
        let full = Page::cut(vec![1, 2], 2, key);
        assert_eq!((full.items, full.next), (vec![1, 2], None));
        let more = Page::cut(vec![1, 2, 3], 2, key);
        assert_eq!(
            (more.items, more.next),
            (vec![1, 2], Some(Cursor::after(2)))
        );
    }
}
