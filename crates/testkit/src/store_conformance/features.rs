//! What a store may lack, as its fixture says. A store that lacks something has to say so when it is asked for it.

use leafgate_identity::DeviceId;
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, CertificateStatusKind, DeviceRecord, DeviceStore,
    Page, Query, StoreError,
};

use super::StoreFixture;

/// Something that a store may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Searches over everything: of devices by type, attribute, site or the end of their certificates; of certificates by
    /// fingerprint, and by status or end unless they are searched by their holder, serial number or key too, or are
    /// those that were revoked.
    UnindexedSearches,
}

/// The devices that a query finds; none where the store refuses it, which is checked.
pub async fn find(
    fixture: &dyn StoreFixture,
    store: &dyn DeviceStore,
    query: &Query,
) -> Option<Page<DeviceRecord, DeviceId>> {
    let indexed = query.device_type.is_none()
        && query.attribute.is_none()
        && query.site.is_none()
        && query.expires_by.is_none();
    expected(fixture, indexed, store.find(query).await, query)
}

/// The certificates that a query finds; none where the store refuses it, which is checked.
pub async fn find_certificates(
    fixture: &dyn StoreFixture,
    store: &dyn DeviceStore,
    query: &CertificateQuery,
) -> Option<Page<Certificate, CertificateId>> {
    let narrow = query.serial.is_some()
        || query.holder.is_some()
        || query.device_prefix.is_some()
        || query.public_key.is_some();
    let revoked = query.status == Some(CertificateStatusKind::Revoked);
    let plain =
        query.status.is_none() && query.expires_after.is_none() && query.expires_by.is_none();
    let indexed = narrow || (query.fingerprint.is_none() && (revoked || plain));
    expected(
        fixture,
        indexed,
        store.find_certificates(query).await,
        query,
    )
}

fn expected<T: std::fmt::Debug>(
    fixture: &dyn StoreFixture,
    indexed: bool,
    answer: Result<T, StoreError>,
    query: &dyn std::fmt::Debug,
) -> Option<T> {
    if indexed || fixture.supports(Feature::UnindexedSearches) {
        return Some(answer.expect("a search that the store can make"));
    }
    match answer {
        Err(StoreError::Unsupported { what }) => {
            assert!(what.contains("PostgreSQL"), "it says what can: {what}");
            None
        }
        other => panic!("{query:?} is not refused: {other:?}"),
    }
}
