use std::collections::HashMap;

use leafgate_identity::{SerialNumber, UnixMs};
use leafgate_registrar::crl_reason;
use leafgate_registry::{
    Certificate, CertificateQuery, CertificateStatus, CertificateStatusKind, StoreError,
};

use super::issuer::IssuerStatus;
use super::revoked::Entry;
use super::{RevocationStatus, STORE_LIMIT, within};

/// Certificates read at once. Some stores begin each page with work that does not depend on its length.
const PAGE: usize = 10_000;

impl RevocationStatus {
    /// Reads from the registry what is revoked of an issuer's certificates, until a reading was good.
    pub(super) async fn read_revoked(&self, issuer: &IssuerStatus) -> Result<(), StoreError> {
        loop {
            let reading = issuer.revoked().wanted_reading();
            let Some(since) = self.following.position() else {
                self.following
                    .until(|followed| followed.position.is_some())
                    .await;
                continue;
            };
            let read = self.all_revoked(issuer).await?;
            let end = within(STORE_LIMIT, self.store.position()).await?;
            // A feed that is not followed any more can't be followed up to here.
            self.following
                .until(|followed| {
                    followed.reaches(&end) || issuer.revoked().wanted_reading() != reading
                })
                .await;
            if issuer.revoked_mut().take_reading(reading, since.seq, read) {
                return Ok(());
            }
        }
    }

    async fn all_revoked(
        &self,
        issuer: &IssuerStatus,
    ) -> Result<HashMap<SerialNumber, Entry>, StoreError> {
        let mut query = CertificateQuery {
            issuer: Some(issuer.spki),
            status: Some(CertificateStatusKind::Revoked),
            expires_after: Some(self.ends_after(issuer).await?),
            limit: PAGE,
            ..CertificateQuery::default()
        };
        let mut read = HashMap::new();
        loop {
            let page = within(STORE_LIMIT, self.store.find_certificates(&query)).await?;
            read.extend(page.items.iter().filter_map(entry));
            query.after = page.next;
            if query.after.is_none() {
                return Ok(read);
            }
        }
    }

    /// What ended by this time is on no list to come: it was on the last one, or is none that a list needs.
    async fn ends_after(&self, issuer: &IssuerStatus) -> Result<UnixMs, StoreError> {
        let now = self.clock.now();
        let previous = within(STORE_LIMIT, self.store.crl(&issuer.spki)).await?;
        Ok(previous.map_or(now, |previous| previous.this_update.min(now)))
    }
}

fn entry(certificate: &Certificate) -> Option<(SerialNumber, Entry)> {
    let CertificateStatus::Revoked { at, reason } = certificate.status else {
        return None;
    };
    let entry = Entry {
        at,
        reason: crl_reason(reason),
        not_after: certificate.not_after,
        seq: 0,
    };
    Some((certificate.serial, entry))
}
