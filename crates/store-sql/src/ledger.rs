use std::collections::{BTreeMap, BTreeSet};

use leafgate_identity::{DeviceId, SpkiHash};
use leafgate_registry::{
    Certificate, CertificateId, CertificateWrite, Change, CommitError, Crl, CrlWrite, Device,
    DeviceWrite, Event, FeedPosition, Head, ServiceCertificateWrite, Write,
};

/// What has to be read before changes can be compared with it.
#[derive(Default)]
pub(crate) struct Needs {
    /// Of devices, in lower case.
    pub(crate) folded_ids: BTreeSet<String>,
    /// Of certificates that are to be new: all that matters is whether they exist.
    pub(crate) new_certificates: BTreeSet<CertificateId>,
    /// Of service certificates that are to change.
    pub(crate) service_certificates: BTreeSet<CertificateId>,
    /// Of CRL numbers.
    pub(crate) issuers: BTreeSet<SpkiHash>,
}

impl Needs {
    pub(crate) fn of<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Self {
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
                Write::Epoch(_) => {}
            }
        }
        needs
    }
}

/// The part of the registry that one transaction is about: what was read of it, and what the transaction makes of it.
/// Commits that share the transaction are applied here one after the other, each whole or not at all, and the outcome is
/// written once.
pub(crate) struct Ledger {
    position: FeedPosition,
    events: Vec<Event>,
    devices: BTreeMap<String, DeviceEntry>,
    certificates: BTreeMap<CertificateId, CertificateEntry>,
    crls: BTreeMap<SpkiHash, CrlEntry>,
}

#[derive(Clone)]
struct DeviceEntry {
    id: DeviceId,
    version: u64,
    /// To be written.
    device: Option<Device>,
}

#[derive(Clone, Default)]
struct CertificateEntry {
    /// As read, where that matters.
    stored: Option<Certificate>,
    /// To be written.
    certificate: Option<Certificate>,
}

#[derive(Clone)]
struct CrlEntry {
    number: u64,
    /// To be written.
    crl: Option<Crl>,
}

/// What to put back when a commit is refused after its first changes.
enum Undo {
    Device(String, Option<DeviceEntry>),
    Certificate(CertificateId, Option<Box<CertificateEntry>>),
    Crl(SpkiHash, Option<CrlEntry>),
}

// What was read.
impl Ledger {
    pub(crate) fn at(position: FeedPosition) -> Self {
        Self {
            position,
            events: Vec::new(),
            devices: BTreeMap::new(),
            certificates: BTreeMap::new(),
            crls: BTreeMap::new(),
        }
    }

    pub(crate) fn knows_device(&mut self, id: DeviceId, version: u64) {
        self.devices.insert(
            id.folded(),
            DeviceEntry {
                id,
                version,
                device: None,
            },
        );
    }

    pub(crate) fn knows_certificate(&mut self, id: CertificateId) {
        self.certificates.entry(id).or_default();
    }

    pub(crate) fn knows_service_certificate(&mut self, certificate: Certificate) {
        let entry = self.certificates.entry(certificate.id()).or_default();
        entry.stored = Some(certificate);
    }

    pub(crate) fn knows_crl(&mut self, crl: &Crl) {
        self.crls.insert(
            crl.issuer,
            CrlEntry {
                number: crl.number,
                crl: None,
            },
        );
    }
}

// What is to be written.
impl Ledger {
    pub(crate) fn devices(&self) -> Vec<&Device> {
        self.devices
            .values()
            .filter_map(|entry| entry.device.as_ref())
            .collect()
    }

    pub(crate) fn certificates(&self) -> Vec<&Certificate> {
        self.certificates
            .values()
            .filter_map(|entry| entry.certificate.as_ref())
            .collect()
    }

    pub(crate) fn crls(&self) -> Vec<&Crl> {
        self.crls
            .values()
            .filter_map(|entry| entry.crl.as_ref())
            .collect()
    }

    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn position(&self) -> FeedPosition {
        self.position
    }
}

// The commits.
impl Ledger {
    /// Applies the changes of one commit, all or none.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<FeedPosition, CommitError> {
        let mut undo = Vec::new();
        let applied = changes
            .iter()
            .try_for_each(|change| self.apply(change.write(), &mut undo));
        if let Err(refusal) = applied {
            undo.into_iter().rev().for_each(|step| self.take_back(step));
            return Err(refusal);
        }
        for change in changes {
            self.append(change);
        }
        Ok(self.position)
    }

    fn append(&mut self, change: &Change) {
        if let Write::Epoch(epoch) = change.write() {
            self.position.epoch = *epoch;
        }
        let event = change.event().after(&self.position.head());
        let Head { seq, hash } = event.head();
        self.position = FeedPosition {
            epoch: self.position.epoch,
            seq,
            hash,
        };
        self.events.push(event);
    }

    fn apply(&mut self, write: &Write, undo: &mut Vec<Undo>) -> Result<(), CommitError> {
        match write {
            Write::Device(write) => self.apply_device(write, undo),
            Write::ServiceCertificate(write) => self.apply_service_certificate(write, undo),
            Write::Crl(write) => self.apply_crl(write, undo),
            Write::Epoch(_) => Ok(()),
        }
    }

    fn apply_device(
        &mut self,
        write: &DeviceWrite,
        undo: &mut Vec<Undo>,
    ) -> Result<(), CommitError> {
        let DeviceWrite {
            expected_version,
            record,
            certificates,
        } = write;
        let device = &record.device;
        let folded = device.id.folded();
        let known = self.devices.get(&folded);
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
            device: Some(device.clone()),
        };
        undo.push(Undo::Device(
            folded.clone(),
            self.devices.insert(folded, entry),
        ));
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
        write: &ServiceCertificateWrite,
        undo: &mut Vec<Undo>,
    ) -> Result<(), CommitError> {
        let Some(before) = &write.before else {
            return self.insert_certificate(&write.after, undo);
        };
        let known = self.certificates.get(&before.id());
        let known = known.and_then(|entry| entry.certificate.as_ref().or(entry.stored.as_ref()));
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
        certificate: &Certificate,
        undo: &mut Vec<Undo>,
    ) -> Result<(), CommitError> {
        if self.certificates.contains_key(&certificate.id()) {
            return Err(CommitError::SerialTaken {
                id: certificate.id(),
            });
        }
        self.put_certificate(certificate, undo);
        Ok(())
    }

    fn put_certificate(&mut self, certificate: &Certificate, undo: &mut Vec<Undo>) {
        let id = certificate.id();
        let entry = CertificateEntry {
            stored: None,
            certificate: Some(certificate.clone()),
        };
        let before = self.certificates.insert(id, entry).map(Box::new);
        undo.push(Undo::Certificate(id, before));
    }

    fn apply_crl(&mut self, write: &CrlWrite, undo: &mut Vec<Undo>) -> Result<(), CommitError> {
        let crl = &write.crl;
        if self.crls.get(&crl.issuer).map(|known| known.number) != write.expected_number {
            return Err(CommitError::Conflict {
                what: format!("the CRL number of issuer {}", crl.issuer),
            });
        }
        let entry = CrlEntry {
            number: crl.number,
            crl: Some(*crl),
        };
        undo.push(Undo::Crl(crl.issuer, self.crls.insert(crl.issuer, entry)));
        Ok(())
    }

    fn take_back(&mut self, step: Undo) {
        match step {
            Undo::Device(id, before) => restore(&mut self.devices, id, before),
            Undo::Certificate(id, before) => {
                restore(&mut self.certificates, id, before.map(|entry| *entry));
            }
            Undo::Crl(issuer, before) => restore(&mut self.crls, issuer, before),
        }
    }
}

fn restore<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, before: Option<V>) {
    match before {
        Some(before) => map.insert(key, before),
        None => map.remove(&key),
    };
}

#[cfg(test)]
mod tests {
    use leafgate_registry::{Action, DeviceRecord, Epoch, EventHash, verify_chain};
    use leafgate_testkit::store_conformance::records::{
        act, certificate_id, new_certificate, new_device, number_first_crl,
    };

    use super::*;

    fn empty() -> Ledger {
        Ledger::at(FeedPosition {
            epoch: Epoch::from([1; 16]),
            seq: 0,
            hash: EventHash::ZERO,
        })
    }

    fn register(text: &str) -> Change {
        Change::register(None, new_device(text), &act(1)).unwrap()
    }

    fn record(change: &Change) -> DeviceRecord {
        change.device_after().unwrap().clone()
    }

    #[test]
    fn commits_that_share_a_transaction_see_each_other() {
        let mut ledger = empty();
        let first = register("Pump");
        ledger.commit(std::slice::from_ref(&first)).unwrap();
        let taken = ledger.commit(&[register("pump")]).unwrap_err();
        assert!(matches!(taken, CommitError::IdTaken { .. }), "{taken:?}");

        let disable = Change::transition(&record(&first), Action::Disable, &act(2)).unwrap();
        let revoke = Change::transition(&record(&first), Action::Revoke, &act(2)).unwrap();
        ledger.commit(&[disable]).unwrap();
        let stale = ledger.commit(&[revoke]).unwrap_err();
        assert!(matches!(stale, CommitError::Conflict { .. }), "{stale:?}");
        assert_eq!(ledger.devices()[0].version, 2);
    }

    #[test]
    fn a_refused_commit_leaves_nothing_to_those_after_it() {
        let mut ledger = empty();
        let first = register("a");
        let prepare = Change::prepare_certificate(
            &record(&first),
            new_certificate(certificate_id(1)),
            &act(2),
        );
        let good = [first.clone(), prepare.unwrap(), number_first_crl(1)];
        let mut bad = good.to_vec();
        bad.push(first);
        ledger.commit(&bad).unwrap_err();
        assert!(
            ledger.devices().is_empty()
                && ledger.certificates().is_empty()
                && ledger.crls().is_empty()
        );
        assert!(ledger.events().is_empty());

        let position = ledger.commit(&good).unwrap();
        assert_eq!(
            (
                ledger.devices().len(),
                ledger.certificates().len(),
                ledger.crls().len()
            ),
            (1, 1, 1)
        );
        assert_eq!(verify_chain(ledger.events()), Ok(position.head()));
    }

    #[test]
    fn needs_name_what_is_compared() {
        let first = register("Pump");
        let prepare = Change::prepare_certificate(
            &record(&first),
            new_certificate(certificate_id(1)),
            &act(2),
        );
        let service = Change::prepare_service_certificate(
            "leaf-1",
            new_certificate(certificate_id(2)),
            &act(3),
        );
        let service = service.unwrap();
        let certificate = service.service_certificate_after().unwrap();
        let revoke =
            Change::revoke_service_certificate(certificate, Default::default(), &act(4)).unwrap();
        let needs = Needs::of(&[
            first,
            prepare.unwrap(),
            service,
            revoke,
            number_first_crl(7),
        ]);
        assert_eq!(needs.folded_ids, BTreeSet::from(["pump".to_owned()]));
        assert_eq!(
            needs.new_certificates,
            BTreeSet::from([certificate_id(1), certificate_id(2)])
        );
        assert_eq!(
            needs.service_certificates,
            BTreeSet::from([certificate_id(2)])
        );
        assert_eq!(needs.issuers.len(), 1);
    }
}
