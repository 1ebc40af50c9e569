use std::collections::{BTreeMap, BTreeSet};

use leafgate_identity::{DeviceId, SerialNumber, SpkiHash};
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, CertificateStatusKind, Cursor, Page, Query,
};
use serde_json::Value;

use super::devices::unindexed_search;
use super::registry::Registry;
use crate::failure::Failure;
use crate::journal::Snapshot;
use crate::kv::all;
use crate::layout;
use crate::records::{self, Owner};

/// How many devices are read at a time when certificates are looked for by the prefix of their device.
const DEVICES_AT_ONCE: usize = 100;

impl Registry {
    pub(super) async fn find_certificates(
        &self,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, Failure> {
        if let Some(prefix) = &query.device_prefix
            && query.holder.is_none()
            && query.serial.is_none()
            && query.public_key.is_none()
        {
            return self.certificates_of_devices(query, prefix).await;
        }
        let snapshot = self.journal.snapshot().await?;
        if let Some(holder) = &query.holder {
            let owner = Owner::of(holder);
            let certificates = self.certificates_of(&snapshot, &owner).await?;
            return Ok(page(query, certificates));
        }
        if let Some(ids) = self.named(&snapshot, query).await? {
            let certificates = self.resolve(&snapshot, &ids).await?;
            return Ok(page(query, certificates));
        }
        if query.status == Some(CertificateStatusKind::Revoked) && query.fingerprint.is_none() {
            return self.revoked(&snapshot, query).await;
        }
        refuse_unindexed(query)?;
        let limit = query.limit.max(1);
        let mut ids = self.all_ids(&snapshot, query).await?;
        ids.truncate(limit.saturating_add(1));
        let certificates = self.resolve(&snapshot, &ids).await?;
        Ok(page(query, certificates))
    }

    pub(super) async fn certificates(
        &self,
        issuer: &SpkiHash,
        serials: &[SerialNumber],
    ) -> Result<Vec<Certificate>, Failure> {
        let snapshot = self.journal.snapshot().await?;
        let ids = serials.iter().map(|serial| CertificateId {
            issuer: *issuer,
            serial: *serial,
        });
        self.resolve(&snapshot, &ids.collect::<Vec<_>>()).await
    }

    /// The certificates of the given serial number or key, of whichever issuer; none if neither is given.
    async fn named(
        &self,
        snapshot: &Snapshot,
        query: &CertificateQuery,
    ) -> Result<Option<Vec<CertificateId>>, Failure> {
        if let Some(serial) = query.serial {
            let issuers = self.issuers(snapshot, layout::CERTIFICATES, query).await?;
            let ids = issuers
                .into_iter()
                .map(|issuer| CertificateId { issuer, serial });
            return Ok(Some(ids.collect()));
        }
        let Some(key) = &query.public_key else {
            return Ok(None);
        };
        let names = self.journal.list(snapshot, &layout::key(key)).await?;
        Ok(Some(
            names.iter().filter_map(|name| name.parse().ok()).collect(),
        ))
    }

    /// The ids of all certificates, of one issuer or all, after the place that is asked for.
    async fn all_ids(
        &self,
        snapshot: &Snapshot,
        query: &CertificateQuery,
    ) -> Result<Vec<CertificateId>, Failure> {
        let mut ids = Vec::new();
        for issuer in self.issuers(snapshot, layout::CERTIFICATES, query).await? {
            let folder = format!("{}/{issuer}", layout::CERTIFICATES);
            let names = self.journal.list(snapshot, &folder).await?;
            let serials = names.iter().filter_map(|name| name.parse().ok());
            ids.extend(serials.map(|serial: SerialNumber| CertificateId { issuer, serial }));
        }
        ids.retain(|id| comes_after(query, id));
        ids.sort_unstable();
        Ok(ids)
    }

    /// Revoked certificates, as a CRL needs them: those that ended before a given time are not read.
    async fn revoked(
        &self,
        snapshot: &Snapshot,
        query: &CertificateQuery,
    ) -> Result<Page<Certificate, CertificateId>, Failure> {
        let ended = |end: i64| {
            query
                .expires_after
                .is_some_and(|time| end <= layout::clamped(time))
        };
        let mut names = Vec::new();
        for issuer in self.issuers(snapshot, layout::REVOKED, query).await? {
            let folder = format!("{}/{issuer}", layout::REVOKED);
            for name in self.journal.list(snapshot, &folder).await? {
                let Some((serial, end)) = layout::parse_revoked(&name) else {
                    continue;
                };
                let id = CertificateId { issuer, serial };
                if !ended(end) && comes_after(query, &id) {
                    names.push((id, format!("{folder}/{name}")));
                }
            }
        }
        names.sort_unstable();
        let limit = query.limit.max(1);
        let mut found = Vec::new();
        let mut rest = names.as_slice();
        while found.len() <= limit && !rest.is_empty() {
            let (some, others) =
                rest.split_at(rest.len().min(limit.saturating_add(1) - found.len()));
            let reads = some
                .iter()
                .map(async |(_, path)| self.revocation(snapshot, path).await);
            let some = all(reads.collect()).await?.into_iter().flatten();
            found.extend(some.filter(|certificate| query.matches(certificate)));
            rest = others;
        }
        Ok(Page::cut(found, limit, Certificate::id))
    }

    async fn revocation(
        &self,
        snapshot: &Snapshot,
        path: &str,
    ) -> Result<Option<Certificate>, Failure> {
        let doc = self.journal.read(snapshot, path).await?;
        let Some(fields) = doc.data else {
            return Ok(None);
        };
        let place = self.name(path);
        let owner = owner(&fields, &place)?;
        let certificate = fields.get("certificate").unwrap_or(&Value::Null);
        records::certificate(certificate, &owner)
            .map(Some)
            .map_err(|problem| Failure::Record(format!("certificate in {place}: {problem}")))
    }

    /// Certificates of devices whose ids begin with a prefix, in the order of devices.
    async fn certificates_of_devices(
        &self,
        query: &CertificateQuery,
        prefix: &str,
    ) -> Result<Page<Certificate, CertificateId>, Failure> {
        let limit = query.limit.max(1);
        let start = match &query.after {
            Some(after) => self.device_of(after.key()).await?,
            None => None,
        };
        let mut found = Vec::new();
        let mut after = start.as_ref().map(|id| Cursor::after(id.clone()));
        if let (Some(id), Some(place)) = (&start, &query.after) {
            let snapshot = self.journal.snapshot().await?;
            let owner = Owner::Device(id.clone());
            let rest = self.certificates_of(&snapshot, &owner).await?;
            found.extend(
                matching(query, rest)
                    .into_iter()
                    .filter(|certificate| certificate.id() > *place.key()),
            );
        }
        while found.len() <= limit {
            let devices = Query {
                id_prefix: Some(prefix.to_owned()),
                after,
                limit: DEVICES_AT_ONCE,
                ..Query::default()
            };
            let page = self.find_any(&devices, &|_| true).await?;
            for record in page.items {
                found.extend(matching(query, record.certificates));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(Page::cut(found, limit, Certificate::id))
    }

    async fn device_of(&self, id: &CertificateId) -> Result<Option<DeviceId>, Failure> {
        let snapshot = self.journal.snapshot().await?;
        Ok(match self.owner_of(&snapshot, id).await? {
            Some(Owner::Device(id)) => Some(id),
            _ => None,
        })
    }

    /// Certificates by their ids, in that order, without those that there are none of.
    async fn resolve(
        &self,
        snapshot: &Snapshot,
        ids: &[CertificateId],
    ) -> Result<Vec<Certificate>, Failure> {
        let reads = ids.iter().map(async |id| self.owner_of(snapshot, id).await);
        let owners = all(reads.collect()).await?;
        let distinct: BTreeSet<_> = owners.iter().flatten().cloned().collect();
        let reads = distinct.into_iter().map(async |owner| {
            let certificates = self.certificates_of(snapshot, &owner).await?;
            Ok((owner, certificates))
        });
        let held: BTreeMap<_, _> = all(reads.collect()).await?.into_iter().collect();
        let found = ids.iter().zip(&owners).filter_map(|(id, owner)| {
            let certificates = held.get(owner.as_ref()?)?;
            certificates
                .iter()
                .find(|certificate| certificate.is(id))
                .cloned()
        });
        Ok(found.collect())
    }

    async fn owner_of(
        &self,
        snapshot: &Snapshot,
        id: &CertificateId,
    ) -> Result<Option<Owner>, Failure> {
        let path = layout::certificate(id);
        let doc = self.journal.read(snapshot, &path).await?;
        let owner = doc.data.map(|fields| owner(&fields, &self.name(&path)));
        owner.transpose()
    }

    async fn certificates_of(
        &self,
        snapshot: &Snapshot,
        owner: &Owner,
    ) -> Result<Vec<Certificate>, Failure> {
        match owner {
            Owner::Device(id) => {
                let record = self.load(id).await?;
                Ok(record.map_or_else(Vec::new, |record| record.certificates))
            }
            Owner::Service(name) => {
                let path = layout::service(name);
                let doc = self.journal.read(snapshot, &path).await?;
                let place = self.name(&path);
                let certificates = doc
                    .data
                    .map(|fields| records::certificates(&fields, owner, &place));
                Ok(certificates.transpose()?.unwrap_or_default())
            }
        }
    }

    /// The issuer that is asked for, or all that a folder is divided by.
    async fn issuers(
        &self,
        snapshot: &Snapshot,
        folder: &str,
        query: &CertificateQuery,
    ) -> Result<Vec<SpkiHash>, Failure> {
        if let Some(issuer) = query.issuer {
            return Ok(vec![issuer]);
        }
        let names = self.journal.list(snapshot, folder).await?;
        let names = names
            .iter()
            .filter_map(|name| name.trim_end_matches('/').parse().ok());
        Ok(names.collect())
    }
}

fn owner(fields: &records::Fields, place: &str) -> Result<Owner, Failure> {
    let holder = fields.get("holder").cloned().unwrap_or_default();
    serde_json::from_value(holder)
        .map_err(|error| Failure::Record(format!("holder in {place}: {error}")))
}

/// The page of a query from all that may be on it.
fn page(
    query: &CertificateQuery,
    certificates: Vec<Certificate>,
) -> Page<Certificate, CertificateId> {
    let limit = query.limit.max(1);
    let mut found = matching(query, certificates);
    found.retain(|certificate| comes_after(query, &certificate.id()));
    found.truncate(limit.saturating_add(1));
    Page::cut(found, limit, Certificate::id)
}

/// Those that meet the conditions, in the order of their ids.
fn matching(query: &CertificateQuery, mut certificates: Vec<Certificate>) -> Vec<Certificate> {
    certificates.retain(|certificate| query.matches(certificate));
    certificates.sort_unstable_by_key(Certificate::id);
    certificates
}

fn comes_after(query: &CertificateQuery, id: &CertificateId) -> bool {
    query.after.as_ref().is_none_or(|after| id > after.key())
}

/// Of all certificates, or all of an issuer, some can be found only by reading them all.
fn refuse_unindexed(query: &CertificateQuery) -> Result<(), Failure> {
    let unindexed = [
        ("fingerprint", query.fingerprint.is_some()),
        ("status", query.status.is_some()),
        (
            "their end",
            query.expires_after.is_some() || query.expires_by.is_some(),
        ),
    ];
    match unindexed.iter().find(|(_, given)| *given) {
        Some((what, _)) => Err(unindexed_search("certificates", what)),
        None => Ok(()),
    }
}
