use leafgate_identity::{DeviceId, SpkiHash, TrustDomainName};
use leafgate_registry::{
    Crl, Cursor, DeviceRecord, Document, DocumentKind, DocumentName, Event, Page,
};

use super::roster::Roster;
use crate::device::Documents;
use crate::failure::Failure;
use crate::journal::{Journal, Snapshot};
use crate::kv::all;
use crate::layout;
use crate::records;

/// How often a device is read anew because it changed while it was read.
const ATTEMPTS: u32 = 20;

/// The registry, for reading.
pub(super) struct Registry {
    pub(super) journal: Journal,
    /// Of devices that leafgate has no record of.
    pub(super) trust_domain: TrustDomainName,
    pub(super) roster: Roster,
}

impl Registry {
    /// How a person finds a document.
    pub(super) fn name(&self, path: &str) -> String {
        self.journal.kv.name(path)
    }

    pub(super) async fn load(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, Failure> {
        let mut snapshot = self.journal.snapshot().await?;
        for _ in 0..ATTEMPTS {
            let documents = self.documents_of(&snapshot, id).await?;
            // Documents that don't belong together were edited by hand, or the one was read before and the other after
            // a commit.
            if !documents.agree() {
                let now = self.journal.snapshot().await?;
                if now.position != snapshot.position {
                    snapshot = now;
                    continue;
                }
            }
            return self.record_of(&documents);
        }
        Err(Failure::NotNow(format!(
            "device {id} changes faster than it can be read"
        )))
    }

    /// Both documents of a device.
    pub(super) async fn documents_of(
        &self,
        snapshot: &Snapshot,
        id: &DeviceId,
    ) -> Result<Documents, Failure> {
        let (public, own) = (layout::device(id), layout::record(id));
        let (public, own) = tokio::try_join!(
            self.journal.read(snapshot, &public),
            self.journal.read(snapshot, &own)
        )?;
        Ok(Documents {
            id: id.clone(),
            public,
            own,
        })
    }

    pub(super) fn record_of(&self, documents: &Documents) -> Result<Option<DeviceRecord>, Failure> {
        let name = self.name(&layout::record(&documents.id));
        documents.record(&self.trust_domain, &name)
    }

    pub(super) async fn crl(&self, issuer: &SpkiHash) -> Result<Option<Crl>, Failure> {
        let snapshot = self.journal.snapshot().await?;
        let path = layout::crl(issuer);
        let doc = self.journal.read(&snapshot, &path).await?;
        let crl = doc.data.map(|data| records::crl(&data, &self.name(&path)));
        crl.transpose()
    }

    pub(super) async fn document(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, Failure> {
        let snapshot = self.journal.snapshot().await?;
        self.document_in(&snapshot, kind, name).await
    }

    pub(super) async fn document_in(
        &self,
        snapshot: &Snapshot,
        kind: DocumentKind,
        name: &DocumentName,
    ) -> Result<Option<Document>, Failure> {
        let path = layout::document(kind, name);
        let doc = self.journal.read(snapshot, &path).await?;
        let document = doc
            .data
            .map(|data| records::document(&data, &self.name(&path)));
        document.transpose()
    }

    pub(super) async fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<Document, DocumentName>, Failure> {
        let limit = limit.max(1);
        let snapshot = self.journal.snapshot().await?;
        let folder = layout::documents(kind);
        let names = self.journal.list(&snapshot, &folder).await?;
        let mut names: Vec<_> = names
            .iter()
            .filter_map(|name| layout::parse_document_name(name))
            .filter(|name| after.is_none_or(|after| name > after.key()))
            .collect();
        names.sort_unstable();
        let mut found = Vec::new();
        let mut rest = names.as_slice();
        while found.len() <= limit && !rest.is_empty() {
            let (some, others) =
                rest.split_at(rest.len().min(limit.saturating_add(1) - found.len()));
            let reads = some
                .iter()
                .map(async |name| self.document_in(&snapshot, kind, name).await);
            found.extend(all(reads.collect()).await?.into_iter().flatten());
            rest = others;
        }
        Ok(Page::cut(found, limit, |document| document.name.clone()))
    }

    pub(super) async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<Event>, Failure> {
        let snapshot = self.journal.snapshot().await?;
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let last = snapshot.position.seq.min(seq.saturating_add(limit));
        self.events_in(&snapshot, seq, last).await
    }

    /// The events after one number up to another.
    pub(super) async fn events_in(
        &self,
        snapshot: &Snapshot,
        after: u64,
        last: u64,
    ) -> Result<Vec<Event>, Failure> {
        let reads = (after.saturating_add(1)..=last).map(async |seq| {
            let path = layout::event(seq);
            let doc = self.journal.read(snapshot, &path).await?;
            let event = doc
                .data
                .map(|data| records::event(&data, &self.name(&path)));
            event.transpose()
        });
        // An event that somebody removed is missing from the chain, which whoever follows it notices.
        Ok(all(reads.collect()).await?.into_iter().flatten().collect())
    }
}
