use std::collections::{BTreeMap, BTreeSet, HashMap};

use leafgate_identity::{DeviceId, SpkiHash};
use leafgate_registry::{
    Certificate, CertificateId, CertificateStatusKind, Change, DocumentKind, DocumentName, Holder,
    Ledger, Needs,
};
use leafgate_registry::{FeedPosition, Write as ChangeWrite};
use serde_json::{Value, json};

use super::registry::Registry;
use crate::device::Documents;
use crate::failure::Failure;
use crate::journal::{CommitName, Snapshot, Write};
use crate::kv::{Doc, all};
use crate::layout;
use crate::records::{self, Fields, Owner};

/// What was read to judge some changes, and to write what becomes of them.
pub(super) struct Draft {
    /// Of every device that the changes write, whether there is one or not.
    devices: BTreeMap<DeviceId, Documents>,
    /// Devices that have the ids of new ones in another spelling.
    namesakes: Vec<Documents>,
    /// The certificates that are to be new, and whether there are such.
    certificates: BTreeMap<CertificateId, bool>,
    /// The documents of services by name.
    services: BTreeMap<String, Doc>,
    /// The service certificates that are to change, with their service's name.
    service_certificates: BTreeMap<CertificateId, String>,
    crls: BTreeMap<SpkiHash, Doc>,
    documents: BTreeMap<(DocumentKind, DocumentName), Doc>,
}

impl Draft {
    pub(super) async fn read(
        registry: &Registry,
        base: &Snapshot,
        changes: &[&Change],
    ) -> Result<Self, Failure> {
        let needs = Needs::of(changes.iter().copied());
        let (ids, new) = device_ids(changes);
        let (devices, namesakes) = registry.read_devices(base, ids, new).await?;
        let kv = &registry.journal.kv;
        let mut draft = Self {
            devices,
            namesakes,
            certificates: BTreeMap::new(),
            services: BTreeMap::new(),
            service_certificates: BTreeMap::new(),
            crls: BTreeMap::new(),
            documents: BTreeMap::new(),
        };
        let docs = kv
            .read_all(needs.new_certificates.iter().map(layout::certificate))
            .await?;
        for id in needs.new_certificates {
            let exists = docs[&layout::certificate(&id)].version > 0;
            draft.certificates.insert(id, exists);
        }
        let names = service_names(changes);
        let docs = kv
            .read_all(names.keys().map(|name| layout::service(name)))
            .await?;
        for (name, changing) in names {
            let changing = changing.into_iter().map(|id| (id, name.clone()));
            draft.service_certificates.extend(changing);
            let doc = docs[&layout::service(&name)].clone();
            draft.services.insert(name, doc);
        }
        for issuer in needs.issuers {
            let doc = kv.read(&layout::crl(&issuer)).await?;
            draft.crls.insert(issuer, doc);
        }
        let path = |(kind, name): &(DocumentKind, DocumentName)| layout::document(*kind, name);
        let docs = kv.read_all(needs.documents.iter().map(path)).await?;
        for key in needs.documents {
            let doc = docs[&path(&key)].clone();
            draft.documents.insert(key, doc);
        }
        Ok(draft)
    }

    /// What the changes are compared with.
    pub(super) fn ledger<'a>(
        &self,
        registry: &Registry,
        position: FeedPosition,
    ) -> Result<Ledger<'a>, Failure> {
        let mut ledger = Ledger::at(position);
        // What is known last counts: the device of the very spelling.
        for documents in self.namesakes.iter().chain(self.devices.values()) {
            let name = registry.name(&layout::record(&documents.id));
            if let Some(version) = documents.version(&name)? {
                ledger.knows_device(documents.id.clone(), version);
            }
        }
        for (id, exists) in &self.certificates {
            if *exists {
                ledger.knows_certificate(*id);
            }
        }
        for (id, service) in &self.service_certificates {
            let name = registry.name(&layout::service(service));
            if let Some(certificate) =
                service_certificate(&self.services[service], service, id, &name)?
            {
                ledger.knows_service_certificate(certificate);
            }
        }
        for (issuer, doc) in &self.crls {
            if let Some(data) = &doc.data {
                let crl = records::crl(data, &registry.name(&layout::crl(issuer)))?;
                ledger.knows_crl(*issuer, crl.number);
            }
        }
        for ((kind, name), doc) in &self.documents {
            if let Some(data) = &doc.data {
                let place = registry.name(&layout::document(*kind, name));
                let document = records::document(data, &place)?;
                ledger.knows_document(*kind, name.clone(), document.version);
            }
        }
        Ok(ledger)
    }

    /// The writes that the changes come to.
    pub(super) fn writes(
        &self,
        registry: &Registry,
        ledger: &Ledger<'_>,
        commit: &CommitName,
    ) -> Result<Vec<Write>, Failure> {
        let mut writes = Vec::new();
        for record in ledger.devices() {
            writes.extend(self.devices[&record.device.id].writes(record));
        }
        let mut services: HashMap<&str, Fields> = HashMap::new();
        for certificate in ledger.certificates() {
            let owner = Owner::of(&certificate.holder);
            self.index(certificate, &owner, &mut writes);
            if let Holder::Service { name } = &certificate.holder {
                let fields = services.entry(name).or_insert_with(|| self.service(name));
                put_certificate(fields, certificate, &registry.name(&layout::service(name)))?;
            }
        }
        writes.extend(services.into_iter().map(|(name, fields)| Write {
            path: layout::service(name),
            version: self.services[name].version,
            data: Some(fields),
        }));
        writes.extend(ledger.crls().map(|crl| Write {
            path: layout::crl(&crl.issuer),
            version: self.crls[&crl.issuer].version,
            data: Some(records::crl_fields(crl)),
        }));
        for document in ledger.documents() {
            let (kind, name) = (document.kind, &document.name);
            writes.push(Write {
                path: layout::document(kind, name),
                version: self.documents[&document.key()].version,
                data: Some(records::document_fields(document)),
            });
            if let Some(at) = document.expires_at {
                let ends = json!({ "kind": kind, "name": name.as_str() });
                writes.push(new_write(layout::expiring(kind, name, at), &ends));
            }
        }
        writes.extend(ledger.events().iter().map(|event| Write {
            path: layout::event(event.seq),
            version: 0,
            data: Some(records::event_fields(&event.event(), commit.as_str())),
        }));
        Ok(writes)
    }

    /// What a certificate is found by besides its holder.
    fn index(&self, certificate: &Certificate, owner: &Owner, writes: &mut Vec<Write>) {
        let id = certificate.id();
        if self.certificates.get(&id) == Some(&false) {
            let owner = json!({ "holder": owner });
            let key = format!("{}/{id}", layout::key(&certificate.public_key));
            writes.push(new_write(layout::certificate(&id), &owner));
            writes.push(new_write(key, &owner));
        }
        if certificate.status.kind() == CertificateStatusKind::Revoked {
            let content = json!({
                "holder": owner,
                "certificate": records::certificate_json(certificate),
            });
            let path = layout::revoked(&id, certificate.not_after);
            writes.push(new_write(path, &content));
        }
    }

    fn service(&self, name: &str) -> Fields {
        let known = self.services[name].data.clone();
        known.unwrap_or_else(|| records::fields(&json!({ "name": name, "certificates": [] })))
    }
}

impl Registry {
    /// The documents of devices, and those of others that have the ids of `new` ones in another spelling.
    async fn read_devices(
        &self,
        base: &Snapshot,
        ids: BTreeSet<DeviceId>,
        new: BTreeSet<DeviceId>,
    ) -> Result<(BTreeMap<DeviceId, Documents>, Vec<Documents>), Failure> {
        let mut namesakes = BTreeSet::new();
        if !new.is_empty() {
            let folded: BTreeSet<_> = new.iter().map(DeviceId::folded).collect();
            let others = self.device_ids(base).await?;
            let others = others.iter().filter(|id| !ids.contains(id));
            namesakes.extend(others.filter(|id| folded.contains(&id.folded())).cloned());
        }
        let ids: Vec<_> = ids.into_iter().collect();
        let devices = self.read_documents(base, &ids).await?.into_iter();
        let devices = devices.map(|documents| (documents.id.clone(), documents));
        let namesakes: Vec<_> = namesakes.into_iter().collect();
        let namesakes = self.read_documents(base, &namesakes).await?;
        Ok((devices.collect(), namesakes))
    }

    pub(super) async fn read_documents(
        &self,
        snapshot: &Snapshot,
        ids: &[DeviceId],
    ) -> Result<Vec<Documents>, Failure> {
        let reads = ids
            .iter()
            .map(async |id| self.documents_of(snapshot, id).await);
        all(reads.collect()).await
    }
}

/// The devices that the changes write, and those of them that are to be new.
fn device_ids(changes: &[&Change]) -> (BTreeSet<DeviceId>, BTreeSet<DeviceId>) {
    let (mut ids, mut new) = (BTreeSet::new(), BTreeSet::new());
    for change in changes {
        if let ChangeWrite::Device(write) = change.write() {
            let id = &write.record.device.id;
            ids.insert(id.clone());
            if write.expected_version.is_none() {
                new.insert(id.clone());
            }
        }
    }
    (ids, new)
}

/// The services whose certificates the changes write, with those certificates that are to change.
fn service_names(changes: &[&Change]) -> BTreeMap<String, BTreeSet<CertificateId>> {
    let mut names: BTreeMap<String, BTreeSet<CertificateId>> = BTreeMap::new();
    for change in changes {
        if let ChangeWrite::ServiceCertificate(write) = change.write()
            && let Holder::Service { name } = &write.after.holder
        {
            let changing = names.entry(name.clone()).or_default();
            changing.extend(write.before.as_ref().map(Certificate::id));
        }
    }
    names
}

fn service_certificate(
    doc: &Doc,
    service: &str,
    id: &CertificateId,
    name: &str,
) -> Result<Option<Certificate>, Failure> {
    let Some(fields) = &doc.data else {
        return Ok(None);
    };
    let values = records::list(fields, "certificates", name)?;
    let value = values.iter().find(|value| is(value, id));
    let owner = Owner::Service(service.to_owned());
    let certificate = value.map(|value| {
        records::certificate(value, &owner)
            .map_err(|problem| Failure::Record(format!("certificate {id} in {name}: {problem}")))
    });
    certificate.transpose()
}

/// Puts a certificate in the place of what is there of it.
fn put_certificate(
    fields: &mut Fields,
    certificate: &Certificate,
    name: &str,
) -> Result<(), Failure> {
    let id = certificate.id();
    let mut values = records::list(fields, "certificates", name)?.to_vec();
    values.retain(|value| !is(value, &id));
    values.push(records::certificate_json(certificate));
    fields.insert("certificates".to_owned(), Value::Array(values));
    Ok(())
}

/// Whether that JSON is of this certificate.
fn is(value: &Value, id: &CertificateId) -> bool {
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    text("issuer") == Some(&id.issuer.to_string()) && text("serial") == Some(&id.serial.to_string())
}

/// A document that never changes.
fn new_write(path: String, content: &Value) -> Write {
    Write {
        path,
        version: 0,
        data: Some(records::fields(content)),
    }
}
