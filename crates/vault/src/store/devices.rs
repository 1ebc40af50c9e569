use std::collections::{BTreeMap, BTreeSet};

use leafgate_identity::DeviceId;
use leafgate_registry::{DeviceRecord, Page, Query};

use super::registry::Registry;
use crate::failure::Failure;
use crate::journal::Snapshot;

/// How often a page is read anew because its devices changed while it was read.
const ATTEMPTS: u32 = 100;

/// After this many events it is cheaper to read a page anew than to read what happened.
const MANY_EVENTS: u64 = 500;

impl Registry {
    /// A page of devices, all as they were at one moment.
    pub(super) async fn find(
        &self,
        query: &Query,
    ) -> Result<Page<DeviceRecord, DeviceId>, Failure> {
        refuse_unindexed(query)?;
        self.find_any(query, &|record| query.matches(record)).await
    }

    /// A page of those devices that `matches` picks from what a query lists.
    pub(super) async fn find_any(
        &self,
        query: &Query,
        matches: &(dyn Fn(&DeviceRecord) -> bool + Send + Sync),
    ) -> Result<Page<DeviceRecord, DeviceId>, Failure> {
        let limit = query.limit.max(1);
        let mut snapshot = self.journal.snapshot().await?;
        let mut ids = self.ids_of(query, &snapshot).await?;
        let mut known: BTreeMap<DeviceId, Option<DeviceRecord>> = BTreeMap::new();
        for _ in 0..ATTEMPTS {
            self.fill(matches, limit, &snapshot, &ids, &mut known)
                .await?;
            let now = self.journal.snapshot().await?;
            if now.position == snapshot.position {
                let matching = known.into_values().flatten();
                let found = matching.filter(matches).take(limit.saturating_add(1));
                return Ok(Page::cut(found.collect(), limit, |record| {
                    record.device.id.clone()
                }));
            }
            if now.position.seq.saturating_sub(snapshot.position.seq) > MANY_EVENTS {
                ids = self.ids_of(query, &now).await?;
                known.clear();
            } else {
                let events = self.events_in(&now, snapshot.position.seq, now.position.seq);
                for id in events.await?.into_iter().filter_map(|event| event.device) {
                    known.remove(&id);
                    if is_listed(query, &id) {
                        ids.insert(id);
                    }
                }
            }
            snapshot = now;
        }
        Err(Failure::NotNow(
            "the devices of this page change faster than they can be read; ask for fewer at a time"
                .to_owned(),
        ))
    }

    /// The ids that a query lists, whatever it asks of the devices.
    async fn ids_of(
        &self,
        query: &Query,
        snapshot: &Snapshot,
    ) -> Result<BTreeSet<DeviceId>, Failure> {
        let ids = self.device_ids(snapshot).await?;
        let listed = ids.iter().filter(|id| is_listed(query, id));
        Ok(listed.cloned().collect())
    }

    /// Reads as many of the devices as a page needs, in their order, but for those that are known.
    async fn fill(
        &self,
        matches: &(dyn Fn(&DeviceRecord) -> bool + Send + Sync),
        limit: usize,
        snapshot: &Snapshot,
        ids: &BTreeSet<DeviceId>,
        known: &mut BTreeMap<DeviceId, Option<DeviceRecord>>,
    ) -> Result<(), Failure> {
        loop {
            let mut enough = limit.saturating_add(1);
            let mut unknown = Vec::new();
            for id in ids {
                if enough == 0 {
                    break;
                }
                match known.get(id) {
                    Some(record) => {
                        enough -= usize::from(record.as_ref().is_some_and(matches));
                    }
                    None => {
                        unknown.push(id.clone());
                        enough -= 1;
                    }
                }
            }
            if unknown.is_empty() {
                return Ok(());
            }
            for documents in self.read_documents(snapshot, &unknown).await? {
                let record = self.record_of(&documents)?;
                known.insert(documents.id, record);
            }
        }
    }
}

/// Whether a listing comes by this id.
fn is_listed(query: &Query, id: &DeviceId) -> bool {
    let prefix = query.id_prefix.as_ref();
    prefix.is_none_or(|prefix| id.as_str().starts_with(prefix))
        && query.after.as_ref().is_none_or(|after| id > after.key())
}

/// A search by what only the documents themselves tell would read all of them.
fn refuse_unindexed(query: &Query) -> Result<(), Failure> {
    let unindexed = [
        ("device type", query.device_type.is_some()),
        ("attribute", query.attribute.is_some()),
        ("site", query.site.is_some()),
        ("the end of their certificates", query.expires_by.is_some()),
    ];
    match unindexed.iter().find(|(_, given)| *given) {
        Some((what, _)) => Err(unindexed_search("devices", what)),
        None => Ok(()),
    }
}

/// What to say to a search that Vault has no index for.
pub(super) fn unindexed_search(of: &str, by: &str) -> Failure {
    Failure::Unsupported(format!(
        "a registry in Vault can't search {of} by {by}: Vault has no index for it. Search by id, or keep the registry in \
         PostgreSQL"
    ))
}
