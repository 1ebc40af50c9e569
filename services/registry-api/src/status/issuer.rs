use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use leafgate_identity::{SpkiHash, UnixMs};
use leafgate_pki::{Issuer, IssuerHashes, ParseIssuerError};
use leafgate_runtime::Shutdown;

use super::fault::Fault;
use super::look_ups::{LookUps, Reader};
use super::revoked::Revoked;

/// Hex digits of an issuer's key that metrics and logs name it by.
const LABEL_LEN: usize = 8;

/// What is told of one issuer's certificates.
pub(super) struct IssuerStatus {
    pub(super) issuer: Arc<dyn Issuer>,
    pub(super) spki: SpkiHash,
    pub(super) label: String,
    /// How OCSP requests name it.
    pub(super) hashes: IssuerHashes,
    /// Whether its list can't be renewed.
    pub(super) listing: Fault,
    /// Whether its OCSP answers can't be signed.
    pub(super) signing: Fault,
    /// Ends the keeping of its list.
    pub(super) gone: Shutdown,
    pub(super) look_ups: LookUps,
    revoked: RwLock<Revoked>,
    list: ArcSwapOption<ServedList>,
}

/// A revocation list that is served.
#[derive(Debug)]
pub(super) struct ServedList {
    pub(super) der: Bytes,
    /// A quoted ETag.
    pub(super) tag: String,
    pub(super) this_update: UnixMs,
    pub(super) next_update: UnixMs,
}

impl IssuerStatus {
    /// With what reads the states of its certificates.
    pub(super) fn new(
        issuer: Arc<dyn Issuer>,
        gone: Shutdown,
    ) -> Result<(Self, Reader), ParseIssuerError> {
        let spki = issuer.spki();
        let mut label = spki.to_string();
        label.truncate(LABEL_LEN);
        let (look_ups, reader) = LookUps::new();
        let issuer = Self {
            hashes: IssuerHashes::of_certificate_pem(issuer.certificate_pem())?,
            issuer,
            spki,
            label,
            listing: Fault::default(),
            signing: Fault::default(),
            gone,
            revoked: RwLock::default(),
            list: ArcSwapOption::empty(),
            look_ups,
        };
        Ok((issuer, reader))
    }

    pub(super) fn revoked(&self) -> RwLockReadGuard<'_, Revoked> {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn revoked_mut(&self) -> RwLockWriteGuard<'_, Revoked> {
        self.revoked.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn list(&self) -> Option<Arc<ServedList>> {
        self.list.load_full()
    }

    pub(super) fn serve(&self, list: ServedList) {
        self.list.store(Some(Arc::new(list)));
    }

    /// Whether there is a list, or it turned out that none can be made.
    pub(super) fn has_begun(&self) -> bool {
        self.list.load().is_some() || self.listing.lasts()
    }

    /// Whether the list that is served holds everything that was revoked up to the event `seq`, which has been applied.
    pub(super) fn serves(&self, seq: u64) -> bool {
        let unlisted = self.revoked().first_unlisted();
        unlisted.is_none_or(|first| first > seq)
    }
}

/// An ETag for something that ends with its signature, which is as good as a hash of all before it.
pub(super) fn entity_tag(signed: &[u8]) -> String {
    let end = signed.len().saturating_sub(16);
    format!("\"{}\"", HEXLOWER.encode(&signed[end..]))
}
