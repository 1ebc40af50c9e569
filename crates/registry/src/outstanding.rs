use std::collections::HashSet;

use leafgate_identity::{SpkiHash, UnixMs};

use crate::certificate::{Certificate, Holder};
use crate::query::CertificateQuery;
use crate::store::{DeviceStore, StoreError};

const PAGE: usize = 10_000;

/// The certificates of an issuer that have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// How many are accepted.
    pub certificates: usize,
    /// How many devices and services hold these.
    pub holders: usize,
    /// When the last of these ends.
    pub last_not_after: Option<UnixMs>,
    /// How many there are, accepted or not: prepared, replaced and revoked ones too, of which revocation lists tell.
    pub unexpired: usize,
    /// When the last of those ends.
    pub last_unexpired: Option<UnixMs>,
}

/// Counts page by page, for stores that can't count by themselves.
pub(crate) async fn count(
    store: &(impl DeviceStore + ?Sized),
    issuer: &SpkiHash,
    now: UnixMs,
) -> Result<Outstanding, StoreError> {
    let mut query = CertificateQuery {
        issuer: Some(*issuer),
        expires_after: Some(now),
        limit: PAGE,
        ..CertificateQuery::default()
    };
    let mut counted = Outstanding::default();
    let mut holders = HashSet::new();
    loop {
        let page = store.find_certificates(&query).await?;
        for certificate in &page.items {
            let end = Some(certificate.not_after);
            counted.unexpired += 1;
            counted.last_unexpired = counted.last_unexpired.max(end);
            if certificate.status.admits(now) {
                counted.certificates += 1;
                counted.last_not_after = counted.last_not_after.max(end);
                holders.insert(name(certificate));
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            counted.holders = holders.len();
            return Ok(counted);
        }
    }
}

/// Whether it is a device, and its name.
fn name(certificate: &Certificate) -> (bool, String) {
    match &certificate.holder {
        Holder::Device { id, .. } => (true, id.as_str().to_owned()),
        Holder::Service { name } => (false, name.clone()),
    }
}
