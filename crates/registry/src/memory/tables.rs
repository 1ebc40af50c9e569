use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use leafgate_identity::{DeviceId, SpkiHash, UnixMs};

use crate::certificate::{Certificate, CertificateId};
use crate::change::Change;
use crate::device::{Crl, DeviceRecord};
use crate::document::{Document, DocumentKind, DocumentName};
use crate::event::{Event, Link};
use crate::feed::{Epoch, FeedPosition};
use crate::head::Head;
use crate::ledger::{Ledger, Needs};
use crate::query::{CertificateQuery, Cursor, Page, Query};
use crate::store::CommitError;

pub(super) struct Tables {
    devices: BTreeMap<DeviceId, DeviceRecord>,
    /// The spelling of every folded id.
    spellings: HashMap<String, DeviceId>,
    /// Every certificate; those of devices stand in their records too.
    certificates: BTreeMap<CertificateId, Certificate>,
    crls: BTreeMap<SpkiHash, Crl>,
    documents: BTreeMap<(DocumentKind, DocumentName), Document>,
    events: Vec<Event>,
    epoch: Epoch,
}

impl Tables {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            devices: BTreeMap::new(),
            spellings: HashMap::new(),
            certificates: BTreeMap::new(),
            crls: BTreeMap::new(),
            documents: BTreeMap::new(),
            events: Vec::new(),
            epoch,
        }
    }

    pub(super) fn load(&self, id: &DeviceId) -> Option<&DeviceRecord> {
        self.devices.get(id)
    }

    pub(super) fn find(&self, query: &Query) -> Page<DeviceRecord, DeviceId> {
        let found = self
            .devices
            .range((from(query.after.as_ref()), Bound::Unbounded))
            .map(|(_, record)| record)
            .filter(|record| query.matches(record));
        page(found, query.limit, |record| record.device.id.clone())
    }

    pub(super) fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Page<Certificate, CertificateId> {
        let found = self
            .certificates
            .range((from(query.after.as_ref()), Bound::Unbounded))
            .map(|(_, certificate)| certificate)
            .filter(|certificate| query.matches(certificate));
        page(found, query.limit, Certificate::id)
    }

    pub(super) fn crl(&self, issuer: &SpkiHash) -> Option<&Crl> {
        self.crls.get(issuer)
    }

    pub(super) fn document(&self, kind: DocumentKind, name: &DocumentName) -> Option<&Document> {
        self.documents.get(&(kind, name.clone()))
    }

    pub(super) fn documents(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Page<Document, DocumentName> {
        let found = self.documents.values().filter(|document| {
            document.kind == kind && after.is_none_or(|after| document.name > *after.key())
        });
        page(found, limit, |document| document.name.clone())
    }

    pub(super) fn forget_expired(&mut self, now: UnixMs, limit: usize) -> usize {
        let expired = self.documents.values().filter(|document| {
            document
                .expires_at
                .is_some_and(|expires_at| expires_at <= now)
        });
        let expired: Vec<_> = expired.take(limit).map(Document::key).collect();
        for key in &expired {
            self.documents.remove(key);
        }
        expired.len()
    }

    pub(super) fn events_after(&self, seq: u64, limit: usize) -> &[Event] {
        let from = usize::try_from(seq)
            .unwrap_or(usize::MAX)
            .min(self.events.len());
        let to = from.saturating_add(limit).min(self.events.len());
        &self.events[from..to]
    }

    pub(super) fn position(&self) -> FeedPosition {
        let head = self.events.last().map_or(Head::GENESIS, Event::head);
        FeedPosition {
            epoch: self.epoch,
            seq: head.seq,
            hash: head.hash,
        }
    }

    pub(super) fn commit(&mut self, changes: &[Change]) -> Result<FeedPosition, CommitError> {
        let mut ledger = self.ledger(&Needs::of(changes));
        let position = ledger.commit(changes)?;
        self.write(&ledger);
        Ok(position)
    }

    fn ledger<'a>(&self, needs: &Needs) -> Ledger<'a> {
        let mut ledger = Ledger::at(self.position());
        let spellings = needs.folded_ids.iter();
        for id in spellings.filter_map(|folded| self.spellings.get(folded)) {
            if let Some(record) = self.devices.get(id) {
                ledger.knows_device(id.clone(), record.device.version);
            }
        }
        for id in &needs.new_certificates {
            if self.certificates.contains_key(id) {
                ledger.knows_certificate(*id);
            }
        }
        for id in &needs.service_certificates {
            if let Some(certificate) = self.certificates.get(id) {
                ledger.knows_service_certificate(certificate.clone());
            }
        }
        for issuer in &needs.issuers {
            if let Some(crl) = self.crls.get(issuer) {
                ledger.knows_crl(*issuer, crl.number);
            }
        }
        for (kind, name) in &needs.documents {
            if let Some(document) = self.document(*kind, name) {
                ledger.knows_document(*kind, name.clone(), document.version);
            }
        }
        ledger
    }

    fn write(&mut self, ledger: &Ledger<'_>) {
        for record in ledger.devices() {
            let id = &record.device.id;
            self.spellings.insert(id.folded(), id.clone());
            self.devices.insert(id.clone(), record.clone());
        }
        for certificate in ledger.certificates() {
            self.certificates
                .insert(certificate.id(), certificate.clone());
        }
        for crl in ledger.crls() {
            self.crls.insert(crl.issuer, *crl);
        }
        for document in ledger.documents() {
            self.documents.insert(document.key(), document.clone());
        }
        self.events.extend(ledger.events().iter().map(Link::event));
        self.epoch = ledger.position().epoch;
    }
}

fn from<K>(after: Option<&Cursor<K>>) -> Bound<&K> {
    after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.key()))
}

fn page<'a, T: Clone + 'a, K>(
    found: impl Iterator<Item = &'a T>,
    limit: usize,
    key: impl Fn(&T) -> K,
) -> Page<T, K> {
    let limit = limit.max(1);
    let items = found.take(limit.saturating_add(1)).cloned().collect();
    Page::cut(items, limit, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::tests::{act, new_certificate, new_device};

    #[test]
    fn no_limit_is_too_large() {
        let mut tables = Tables::new(Epoch::generate());
        let register = Change::register(None, new_device("0001"), &act(1)).unwrap();
        let prepare =
            Change::prepare_service_certificate("leaf-1", new_certificate(1), &act(2)).unwrap();
        tables.commit(&[register, prepare]).unwrap();
        let devices = Query {
            limit: usize::MAX,
            ..Query::default()
        };
        assert_eq!(tables.find(&devices).items.len(), 1);
        let certificates = CertificateQuery {
            limit: usize::MAX,
            ..CertificateQuery::default()
        };
        assert_eq!(tables.find_certificates(&certificates).items.len(), 1);
    }
}
