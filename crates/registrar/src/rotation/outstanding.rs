use std::collections::HashSet;

use leafgate_identity::{SpkiHash, UnixMs};
use leafgate_registry::{CertificateQuery, Holder, StoreError};

use crate::error::RegistrarError;
use crate::registrar::Registrar;

const PAGE: usize = 10_000;

/// The certificates of an issuer that have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl Registrar {
    /// `None` if the store finds no certificates by their issuer.
    pub(super) async fn outstanding(
        &self,
        issuer: &SpkiHash,
        now: UnixMs,
    ) -> Result<Option<Outstanding>, RegistrarError> {
        let mut query = CertificateQuery {
            issuer: Some(*issuer),
            expires_after: Some(now),
            limit: PAGE,
            ..CertificateQuery::default()
        };
        let mut counted = Outstanding::default();
        let mut holders: HashSet<Holder> = HashSet::new();
        loop {
            let page = match self.store.find_certificates(&query).await {
                Err(StoreError::Unsupported { .. }) => return Ok(None),
                page => page?,
            };
            for certificate in page.items {
                let end = Some(certificate.not_after);
                counted.unexpired += 1;
                counted.last_unexpired = counted.last_unexpired.max(end);
                if certificate.status.admits(now) {
                    counted.certificates += 1;
                    counted.last_not_after = counted.last_not_after.max(end);
                    holders.insert(certificate.holder);
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                counted.holders = holders.len();
                return Ok(Some(counted));
            }
        }
    }
}
