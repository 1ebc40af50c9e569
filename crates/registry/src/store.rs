use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use leafgate_identity::{DeviceId, SerialNumber, SpkiHash, UnixMs};

use crate::certificate::{Certificate, CertificateId};
use crate::change::Change;
use crate::device::{Crl, DeviceRecord};
use crate::document::{Document, DocumentKind, DocumentName};
use crate::event::Event;
use crate::feed::FeedPosition;
use crate::outstanding::{self, Outstanding};
use crate::query::{CertificateQuery, Cursor, Page, Query};

/// How many certificates are read at a time to be counted.
const COUNTED_PAGE: usize = 10_000;

/// Where the registry is kept.
///
/// A store keeps records and applies changes; it judges none of them. Its duties are that a commit is all or nothing and
/// durable once acknowledged, that versions, ids ignoring case, and serial numbers per issuer are compared as each
/// [`Write`](crate::Write) says, and that every change appends exactly its event, at the next sequence number.
///
/// One value is one handle: cheap further handles on the same data come from the store's own constructors. Any number of
/// callers may share a handle, but for [`wake`](Self::wake), which is for one follower each.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// The device of exactly this spelling, with all of its certificates; tombstones included.
    ///
    /// # Errors
    /// [`StoreError`]; among them a state that this version doesn't know, which never reads as another.
    async fn load(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError>;

    /// Devices in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn find(&self, query: &Query) -> Result<Page<DeviceRecord, DeviceId>, StoreError>;

    /// Certificates of devices and services.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, StoreError>;

    /// Those of an issuer's certificates that have one of these serial numbers, in any order.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn certificates(
        &self,
        issuer: &SpkiHash,
        serials: &[SerialNumber],
    ) -> Result<Vec<Certificate>, StoreError> {
        let mut found = Vec::with_capacity(serials.len());
        for serial in serials {
            let query = CertificateQuery {
                issuer: Some(*issuer),
                serial: Some(*serial),
                limit: 1,
                ..CertificateQuery::default()
            };
            found.extend(self.find_certificates(&query).await?.items);
        }
        Ok(found)
    }

    /// What is left at `now` of an issuer's certificates.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn outstanding(&self, issuer: &SpkiHash, now: UnixMs) -> Result<Outstanding, StoreError> {
        let mut query = CertificateQuery {
            issuer: Some(*issuer),
            expires_after: Some(now),
            limit: COUNTED_PAGE,
            ..CertificateQuery::default()
        };
        let mut count = outstanding::Count::default();
        loop {
            let page = self.find_certificates(&query).await?;
            for certificate in &page.items {
                count.add(certificate, now);
            }
            query.after = page.next;
            if query.after.is_none() {
                return Ok(count.finish());
            }
        }
    }

    /// The newest CRL number of an issuer.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn crl(&self, issuer: &SpkiHash) -> Result<Option<Crl>, StoreError>;

    /// A document.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn document(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, StoreError>;

    /// Documents of a kind in the order of their names, byte by byte.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<Document, DocumentName>, StoreError>;

    /// Forgets up to `limit` documents that expired by `now`, and says how many. It leaves no event: whoever reads a
    /// document must heed its end anyway.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn forget_expired(&self, now: UnixMs, limit: usize) -> Result<usize, StoreError>;

    /// Applies changes in their order, in one transaction, and gives the position after the last of them. When this
    /// returns an error none of them was applied, except that after [`StoreError::Unavailable`] it is unknown: read
    /// again. A caller that stops waiting doesn't stop the commit.
    ///
    /// # Errors
    /// [`CommitError`]
    async fn commit(&self, changes: &[Change]) -> Result<FeedPosition, CommitError>;

    /// The feed's newest position.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn position(&self) -> Result<FeedPosition, StoreError>;

    /// Up to `limit` events that follow the one with this number, oldest first, without gaps.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// Returns when something may have changed since this handle was made or its last `wake` returned, by whatever
    /// process, and in any case after a second.
    async fn wake(&self);
}

/// Why a store can't answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached now. What it holds is unknown; trying again may help.
    #[error("{what}")]
    Unavailable {
        /// What isn't there, and what to do about it.
        what: String,
        /// What went wrong below.
        #[source]
        source: Option<Arc<dyn Error + Send + Sync>>,
    },
    /// It holds something that no version could have written. Trying again doesn't help.
    #[error("the registry holds a record that it can't read: {what}")]
    Corrupt {
        /// Which record, and what is wrong with it.
        what: String,
    },
    /// It can't do this, or is of a form that this version doesn't work with.
    #[error("{what}")]
    Unsupported {
        /// What, and what to do instead.
        what: String,
    },
}

impl StoreError {
    /// An [`Unavailable`](Self::Unavailable) with its cause.
    pub fn unavailable(
        what: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self::Unavailable {
            what: what.into(),
            source: Some(Arc::new(source)),
        }
    }
}

/// Why changes were not applied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// A record is no longer what the change was built from. Load it again, and see whether the act still applies.
    #[error("{what} was changed by someone else meanwhile; read it again and retry")]
    Conflict {
        /// The record.
        what: String,
    },
    /// A new device's id is that of another one, ignoring case.
    #[error("the id {id} is taken by {existing}; ids are unique ignoring case")]
    IdTaken {
        /// The new device.
        id: DeviceId,
        /// The device that has the id.
        existing: DeviceId,
    },
    /// A new certificate's serial number is that of another one of the same issuer.
    #[error("serial number {} of issuer {} is taken", .id.serial, .id.issuer)]
    SerialTaken {
        /// The new certificate.
        id: CertificateId,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
