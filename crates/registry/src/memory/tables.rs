use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use leafgate_identity::{DeviceId, SpkiHash};

use crate::certificate::{Certificate, CertificateId};
use crate::chain::Head;
use crate::change::{
    CertificateWrite, Change, CrlWrite, DeviceWrite, ServiceCertificateWrite, Write,
};
use crate::device::{Crl, DeviceRecord};
use crate::event::Event;
use crate::feed::{Epoch, FeedPosition};
use crate::query::{CertificateQuery, Cursor, Page, Query};
use crate::store::CommitError;

pub(super) struct Tables {
    devices: BTreeMap<DeviceId, DeviceRecord>,
    /// The spelling of every folded id.
    spellings: HashMap<String, DeviceId>,
    service_certificates: BTreeMap<CertificateId, Certificate>,
    /// Every certificate, with the device that has it in its record, if one does.
    holders: BTreeMap<CertificateId, Option<DeviceId>>,
    crls: BTreeMap<SpkiHash, Crl>,
    events: Vec<Event>,
    epoch: Epoch,
}

/// How to take back one step of a commit that fails later.
enum Undo {
    Device(DeviceId, Option<DeviceRecord>),
    ServiceCertificate(CertificateId, Option<Certificate>),
    Holder(CertificateId),
    Crl(SpkiHash, Option<Crl>),
    Epoch(Epoch),
}

impl Tables {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            devices: BTreeMap::new(),
            spellings: HashMap::new(),
            service_certificates: BTreeMap::new(),
            holders: BTreeMap::new(),
            crls: BTreeMap::new(),
            events: Vec::new(),
            epoch,
        }
    }

    pub(super) fn load(&self, id: &DeviceId) -> Option<&DeviceRecord> {
        self.devices.get(id)
    }

    pub(super) fn find(&self, query: &Query) -> Page<DeviceRecord, DeviceId> {
        let limit = query.limit.max(1);
        let from = query
            .after
            .as_ref()
            .map_or(Bound::Unbounded, |after| Bound::Excluded(after.key()));
        let found = self
            .devices
            .range::<DeviceId, _>((from, Bound::Unbounded))
            .map(|(_, record)| record);
        let items = found
            .filter(|record| query.matches(&record.device))
            .take(limit + 1)
            .cloned()
            .collect();
        Page::cut(items, limit, |record| record.device.id.clone())
    }

    pub(super) fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Page<Certificate, CertificateId> {
        let limit = query.limit.max(1);
        let from = query
            .after
            .as_ref()
            .map(Cursor::key)
            .map_or(Bound::Unbounded, Bound::Excluded);
        let found = self
            .holders
            .range((from, Bound::Unbounded))
            .filter_map(|(id, holder)| match holder {
                Some(device) => self.devices.get(device)?.certificate(id),
                None => self.service_certificates.get(id),
            });
        let items = found
            .filter(|certificate| query.matches(certificate))
            .take(limit + 1)
            .cloned()
            .collect();
        Page::cut(items, limit, Certificate::id)
    }

    pub(super) fn crl(&self, issuer: &SpkiHash) -> Option<&Crl> {
        self.crls.get(issuer)
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
        let mut undo = Vec::new();
        let applied = changes
            .iter()
            .try_for_each(|change| self.apply(change.write(), &mut undo));
        if let Err(error) = applied {
            undo.into_iter().rev().for_each(|step| self.take_back(step));
            return Err(error);
        }
        for change in changes {
            let event = change.event().after(&self.position().head());
            self.events.push(event);
        }
        Ok(self.position())
    }

    fn apply(&mut self, write: &Write, undo: &mut Vec<Undo>) -> Result<(), CommitError> {
        match write {
            Write::Device(write) => self.apply_device(write, undo),
            Write::ServiceCertificate(write) => self.apply_service_certificate(write, undo),
            Write::Crl(write) => self.apply_crl(write, undo),
            Write::Epoch(epoch) => {
                undo.push(Undo::Epoch(std::mem::replace(&mut self.epoch, *epoch)));
                Ok(())
            }
        }
    }

    fn apply_device(
        &mut self,
        write: &DeviceWrite,
        undo: &mut Vec<Undo>,
    ) -> Result<(), CommitError> {
        let id = &write.record.device.id;
        match write.expected_version {
            None => {
                if let Some(existing) = self.spellings.get(&id.folded()) {
                    return Err(CommitError::IdTaken {
                        id: id.clone(),
                        existing: existing.clone(),
                    });
                }
                self.spellings.insert(id.folded(), id.clone());
            }
            expected => {
                if self.devices.get(id).map(|record| record.device.version) != expected {
                    return Err(CommitError::Conflict {
                        what: format!("device {id}"),
                    });
                }
            }
        }
        undo.push(Undo::Device(
            id.clone(),
            self.devices.insert(id.clone(), write.record.clone()),
        ));
        for certificate in &write.certificates {
            if let CertificateWrite::Insert(certificate) = certificate {
                self.hold(certificate.id(), Some(id.clone()), undo)?;
            }
        }
        Ok(())
    }

    fn apply_service_certificate(
        &mut self,
        write: &ServiceCertificateWrite,
        undo: &mut Vec<Undo>,
    ) -> Result<(), CommitError> {
        let id = write.after.id();
        if write.before.is_none() {
            self.hold(id, None, undo)?;
        } else if self.service_certificates.get(&id) != write.before.as_ref() {
            return Err(CommitError::Conflict {
                what: format!("service certificate {id}"),
            });
        }
        let before = self.service_certificates.insert(id, write.after.clone());
        undo.push(Undo::ServiceCertificate(id, before));
        Ok(())
    }

    fn apply_crl(&mut self, write: &CrlWrite, undo: &mut Vec<Undo>) -> Result<(), CommitError> {
        let issuer = write.crl.issuer;
        if self.crls.get(&issuer).map(|crl| crl.number) != write.expected_number {
            return Err(CommitError::Conflict {
                what: format!("the CRL number of issuer {issuer}"),
            });
        }
        undo.push(Undo::Crl(issuer, self.crls.insert(issuer, write.crl)));
        Ok(())
    }

    fn hold(
        &mut self,
        id: CertificateId,
        device: Option<DeviceId>,
        undo: &mut Vec<Undo>,
    ) -> Result<(), CommitError> {
        if self.holders.contains_key(&id) {
            return Err(CommitError::SerialTaken { id });
        }
        self.holders.insert(id, device);
        undo.push(Undo::Holder(id));
        Ok(())
    }

    fn take_back(&mut self, step: Undo) {
        match step {
            Undo::Device(id, before) => {
                if before.is_none() {
                    self.spellings.remove(&id.folded());
                }
                restore(&mut self.devices, id, before);
            }
            Undo::ServiceCertificate(id, before) => {
                restore(&mut self.service_certificates, id, before);
            }
            Undo::Holder(id) => restore(&mut self.holders, id, None),
            Undo::Crl(issuer, before) => restore(&mut self.crls, issuer, before),
            Undo::Epoch(before) => self.epoch = before,
        }
    }
}

fn restore<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, before: Option<V>) {
    match before {
        Some(before) => map.insert(key, before),
        None => map.remove(&key),
    };
}
