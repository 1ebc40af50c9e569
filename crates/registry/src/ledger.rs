#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, btree_map};

use leafgate_identity::{DeviceId, SpkiHash};

use crate::certificate::{Certificate, CertificateId};
use crate::change::{
    CertificateWrite, Change, CrlWrite, DeviceWrite, ServiceCertificateWrite, Write,
};
use crate::device::{Crl, DeviceRecord};
use crate::document::{Document, DocumentKind, DocumentName, DocumentWrite};
use crate::event::Link;
use crate::feed::FeedPosition;
use crate::store::CommitError;

/// What a store has to read before changes can be compared with it.
#[derive(Debug, Default)]
pub struct Needs {
    /// Of devices, in lower case: their id as it is spelled, and their version.
    pub folded_ids: BTreeSet<String>,
    /// Of certificates that are to be new: whether they exist, whoever holds them.
    pub new_certificates: BTreeSet<CertificateId>,
    /// Of service certificates that are to change: all of them.
    pub service_certificates: BTreeSet<CertificateId>,
    /// Of CRLs: the newest number of each of these issuers.
    pub issuers: BTreeSet<SpkiHash>,
    /// Of documents: their version.
    pub documents: BTreeSet<(DocumentKind, DocumentName)>,
}

impl Needs {
    /// What the changes are compared with.
    pub fn of<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Self {
        let mut needs = Self::default();
        for change in changes {
            match change.write() {
                Write::Device(write) => {
                    needs.folded_ids.insert(write.record.device.id.folded());
                    needs
                        .new_certificates
                        .extend(write.certificates.iter().filter_map(|write| match write {
                            CertificateWrite::Insert(certificate) => Some(certificate.id()),
                            CertificateWrite::Update(_) => None,
                        }));
                }
                Write::ServiceCertificate(write) => {
                    let needed = match write.before {
                        None => &mut needs.new_certificates,
                        Some(_) => &mut needs.service_certificates,
                    };
                    needed.insert(write.after.id());
                }
                Write::Crl(write) => {
                    needs.issuers.insert(write.crl.issuer);
                }
                Write::Epoch(_) | Write::Nothing => {}
            }
            let documents = change.documents().iter();
            needs
                .documents
                .extend(documents.map(|write| write.document.key()));
        }
        needs
    }
}

/// The part of the registry that one transaction is about: what was read of it, and what the transaction makes of it.
///
/// A store tells it what it holds of the [`Needs`] of some commits, applies those here one after the other, each whole or
/// not at all, and then writes the outcome once. What it reads must stay as it is until that is written.
#[derive(Debug)]
pub struct Ledger<'a> {
    position: FeedPosition,
    events: Vec<Link<'a>>,
    devices: BTreeMap<String, DeviceEntry<'a>>,
    certificates: BTreeMap<CertificateId, CertificateEntry<'a>>,
    crls: BTreeMap<SpkiHash, CrlEntry<'a>>,
    documents: BTreeMap<(DocumentKind, DocumentName), DocumentEntry<'a>>,
}

#[derive(Debug)]
struct DeviceEntry<'a> {
    id: DeviceId,
    version: u64,
    /// To be written.
    record: Option<&'a DeviceRecord>,
}

#[derive(Debug, Default)]
struct CertificateEntry<'a> {
    /// As read, where that matters.
    stored: Option<Certificate>,
    /// To be written.
    certificate: Option<&'a Certificate>,
}

#[derive(Debug)]
struct CrlEntry<'a> {
    number: u64,
    /// To be written.
    crl: Option<&'a Crl>,
}

#[derive(Debug)]
struct DocumentEntry<'a> {
    version: u64,
    /// To be written.
    document: Option<&'a Document>,
}

/// What to put back when a commit is refused after its first changes.
enum Undo<'a> {
    Device(&'a DeviceId, Option<DeviceEntry<'a>>),
    Certificate(CertificateId, Option<Box<CertificateEntry<'a>>>),
    Crl(SpkiHash, Option<CrlEntry<'a>>),
    Document((DocumentKind, DocumentName), Option<DocumentEntry<'a>>),
}

/// What was read.
impl Ledger<'_> {
    /// An empty ledger for a store whose feed is at this position.
    pub const fn at(position: FeedPosition) -> Self {
        Self {
            position,
            events: Vec::new(),
            devices: BTreeMap::new(),
            certificates: BTreeMap::new(),
            crls: BTreeMap::new(),
            documents: BTreeMap::new(),
        }
    }

    /// The store holds this device in this version; tombstones are devices.
    pub fn knows_device(&mut self, id: DeviceId, version: u64) {
        self.devices.insert(
            id.folded(),
            DeviceEntry {
                id,
                version,
                record: None,
            },
        );
    }

    /// The store holds a certificate of this issuer and serial number.
    pub fn knows_certificate(&mut self, id: CertificateId) {
        self.certificates.entry(id).or_default();
    }

    /// The store holds exactly this service certificate.
    pub fn knows_service_certificate(&mut self, certificate: Certificate) {
        let entry = self.certificates.entry(certificate.id()).or_default();
        entry.stored = Some(certificate);
    }

    /// The store holds this number as the newest of an issuer.
    pub fn knows_crl(&mut self, issuer: SpkiHash, number: u64) {
        self.crls.insert(issuer, CrlEntry { number, crl: None });
    }

    /// The store holds this document in this version.
    pub fn knows_document(&mut self, kind: DocumentKind, name: DocumentName, version: u64) {
        let entry = DocumentEntry {
            version,
            document: None,
        };
        self.documents.insert((kind, name), entry);
    }
}

/// What is to be written.
impl<'a> Ledger<'a> {
    /// The devices that are new or changed, each once, as the last change made it.
    pub fn devices(&self) -> impl Iterator<Item = &'a DeviceRecord> {
        self.devices.values().filter_map(|entry| entry.record)
    }

    /// The certificates of devices and services that are new or changed, each once.
    pub fn certificates(&self) -> impl Iterator<Item = &'a Certificate> {
        self.certificates
            .values()
            .filter_map(|entry| entry.certificate)
    }

    /// The newest list of each issuer that took a number.
    pub fn crls(&self) -> impl Iterator<Item = &'a Crl> {
        self.crls.values().filter_map(|entry| entry.crl)
    }

    /// The documents that are new or changed, each once, as the last change made it.
    pub fn documents(&self) -> impl Iterator<Item = &'a Document> {
        self.documents.values().filter_map(|entry| entry.document)
    }

    /// The events to append, oldest first.
    pub fn events(&self) -> &[Link<'a>] {
        &self.events
    }

    /// Where the feed stands after those events.
    pub const fn position(&self) -> FeedPosition {
        self.position
    }
}

/// The commits.
impl<'a> Ledger<'a> {
    /// Applies the changes of one commit, all or none, and gives the position after the last of them.
    ///
    /// # Errors
    /// Any [`CommitError`] but [`CommitError::Store`].
    pub fn commit(&mut self, changes: &'a [Change]) -> Result<FeedPosition, CommitError> {
        let mut undo = Vec::new();
        let applied = changes
            .iter()
            .try_for_each(|change| self.apply(change, &mut undo));
        if let Err(refusal) = applied {
            undo.into_iter().rev().for_each(|step| self.take_back(step));
            return Err(refusal);
        }
        for change in changes {
            self.append(change);
        }
        Ok(self.position)
    }

    fn append(&mut self, change: &'a Change) {
        if let Write::Epoch(epoch) = change.write() {
            self.position.epoch = *epoch;
        }
        let event = change.event().link(&self.position.head());
        self.position.seq = event.seq;
        self.position.hash = event.hash;
        self.events.push(event);
    }

    fn apply(&mut self, change: &'a Change, undo: &mut Vec<Undo<'a>>) -> Result<(), CommitError> {
        match change.write() {
            Write::Device(write) => self.apply_device(write, undo)?,
            Write::ServiceCertificate(write) => self.apply_service_certificate(write, undo)?,
            Write::Crl(write) => self.apply_crl(write, undo)?,
            Write::Epoch(_) | Write::Nothing => {}
        }
        let mut documents = change.documents().iter();
        documents.try_for_each(|write| self.apply_document(write, undo))
    }

    fn apply_device(
        &mut self,
        write: &'a DeviceWrite,
        undo: &mut Vec<Undo<'a>>,
    ) -> Result<(), CommitError> {
        let DeviceWrite {
            expected_version,
            record,
            certificates,
        } = write;
        let device = &record.device;
        let place = self.devices.entry(device.id.folded());
        let known = match &place {
            btree_map::Entry::Occupied(known) => Some(known.get()),
            btree_map::Entry::Vacant(_) => None,
        };
        match (expected_version, known) {
            (None, None) => {}
            (None, Some(known)) => {
                return Err(CommitError::IdTaken {
                    id: device.id.clone(),
                    existing: known.id.clone(),
                });
            }
            (Some(version), Some(known)) if known.version == *version && known.id == device.id => {}
            (Some(_), _) => {
                return Err(CommitError::Conflict {
                    what: format!("device {}", device.id),
                });
            }
        }
        let entry = DeviceEntry {
            id: device.id.clone(),
            version: device.version,
            record: Some(record),
        };
        let before = match place {
            btree_map::Entry::Occupied(mut known) => Some(known.insert(entry)),
            btree_map::Entry::Vacant(place) => {
                place.insert(entry);
                None
            }
        };
        undo.push(Undo::Device(&device.id, before));
        for certificate in certificates {
            match certificate {
                CertificateWrite::Insert(certificate) => {
                    self.insert_certificate(certificate, undo)?;
                }
                CertificateWrite::Update(certificate) => self.put_certificate(certificate, undo),
            }
        }
        Ok(())
    }

    fn apply_service_certificate(
        &mut self,
        write: &'a ServiceCertificateWrite,
        undo: &mut Vec<Undo<'a>>,
    ) -> Result<(), CommitError> {
        let Some(before) = &write.before else {
            return self.insert_certificate(&write.after, undo);
        };
        let known = self.certificates.get(&before.id());
        let known = known.and_then(|entry| entry.certificate.or(entry.stored.as_ref()));
        if known != Some(before) {
            return Err(CommitError::Conflict {
                what: format!("service certificate {}", before.id()),
            });
        }
        self.put_certificate(&write.after, undo);
        Ok(())
    }

    fn insert_certificate(
        &mut self,
        certificate: &'a Certificate,
        undo: &mut Vec<Undo<'a>>,
    ) -> Result<(), CommitError> {
        if self.certificates.contains_key(&certificate.id()) {
            return Err(CommitError::SerialTaken {
                id: certificate.id(),
            });
        }
        self.put_certificate(certificate, undo);
        Ok(())
    }

    fn put_certificate(&mut self, certificate: &'a Certificate, undo: &mut Vec<Undo<'a>>) {
        let id = certificate.id();
        let entry = CertificateEntry {
            stored: None,
            certificate: Some(certificate),
        };
        let before = self.certificates.insert(id, entry).map(Box::new);
        undo.push(Undo::Certificate(id, before));
    }

    fn apply_crl(
        &mut self,
        write: &'a CrlWrite,
        undo: &mut Vec<Undo<'a>>,
    ) -> Result<(), CommitError> {
        let crl = &write.crl;
        if self.crls.get(&crl.issuer).map(|known| known.number) != write.expected_number {
            return Err(CommitError::Conflict {
                what: format!("the CRL number of issuer {}", crl.issuer),
            });
        }
        let entry = CrlEntry {
            number: crl.number,
            crl: Some(crl),
        };
        undo.push(Undo::Crl(crl.issuer, self.crls.insert(crl.issuer, entry)));
        Ok(())
    }

    fn apply_document(
        &mut self,
        write: &'a DocumentWrite,
        undo: &mut Vec<Undo<'a>>,
    ) -> Result<(), CommitError> {
        let document = &write.document;
        let key = document.key();
        if self.documents.get(&key).map(|known| known.version) != write.expected_version {
            return Err(CommitError::Conflict {
                what: format!("{} {}", document.kind, document.name),
            });
        }
        let entry = DocumentEntry {
            version: document.version,
            document: Some(document),
        };
        let before = self.documents.insert(key.clone(), entry);
        undo.push(Undo::Document(key, before));
        Ok(())
    }

    fn take_back(&mut self, step: Undo<'a>) {
        match step {
            Undo::Device(id, before) => restore(&mut self.devices, id.folded(), before),
            Undo::Certificate(id, before) => {
                restore(&mut self.certificates, id, before.map(|entry| *entry));
            }
            Undo::Crl(issuer, before) => restore(&mut self.crls, issuer, before),
            Undo::Document(key, before) => restore(&mut self.documents, key, before),
        }
    }
}

fn restore<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, before: Option<V>) {
    match before {
        Some(before) => map.insert(key, before),
        None => map.remove(&key),
    };
}
