use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leafgate_identity::DeviceId;

use super::registry::Registry;
use crate::failure::Failure;
use crate::journal::Snapshot;
use crate::layout;

/// For how long a list of names is good: Vault decrypts each name for each list, and only some thousands of them stay
/// in its cache. What leafgate registers meanwhile is known from its events, what scripts do is not.
const AGE: Duration = Duration::from_secs(10);

/// With more events than this it is cheaper to list anew.
const MANY_EVENTS: u64 = 500;

/// The ids of all devices, and of some that are gone.
#[derive(Default)]
pub(super) struct Roster {
    known: Arc<Mutex<Option<Known>>>,
}

struct Known {
    /// The newest event that counts.
    seq: u64,
    ids: Arc<BTreeSet<DeviceId>>,
    /// Told from others by its address.
    list: Arc<()>,
}

impl Registry {
    /// The ids of all devices, and of some that are gone. Those that scripts registered lately may be missing.
    pub(super) async fn device_ids(
        &self,
        snapshot: &Snapshot,
    ) -> Result<Arc<BTreeSet<DeviceId>>, Failure> {
        let seq = snapshot.position.seq;
        let (known_seq, ids) = match self.roster.known() {
            Some((known, ids)) if known >= seq => return Ok(ids),
            Some((known, ids)) if seq - known <= MANY_EVENTS => (known, ids),
            _ => return self.list_devices(snapshot).await,
        };
        let events = self.events_in(snapshot, known_seq, seq).await?;
        let new = events.into_iter().filter_map(|event| event.device);
        self.roster.add(known_seq, seq, new.clone());
        let mut ids = ids.as_ref().clone();
        ids.extend(new);
        Ok(Arc::new(ids))
    }

    async fn list_devices(&self, snapshot: &Snapshot) -> Result<Arc<BTreeSet<DeviceId>>, Failure> {
        let (public, own) = tokio::try_join!(
            self.journal.list(snapshot, layout::DEVICES),
            self.journal.list(snapshot, layout::RECORDS)
        )?;
        let names = public.iter().chain(&own);
        // What scripts keep there under other names, or in folders, is no device.
        let ids = names.filter_map(|name| DeviceId::parse(name).ok());
        let ids = Arc::new(ids.collect());
        self.roster.learn(snapshot.position.seq, &ids);
        Ok(ids)
    }
}

impl Roster {
    /// Adds the ids that the events after one number up to another tell of.
    pub(super) fn add(&self, after: u64, seq: u64, new: impl Iterator<Item = DeviceId>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_mut().filter(|known| known.seq == after) {
            known.seq = seq;
            Arc::make_mut(&mut known.ids).extend(new);
        }
    }

    fn known(&self) -> Option<(u64, Arc<BTreeSet<DeviceId>>)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref();
        known.map(|known| (known.seq, Arc::clone(&known.ids)))
    }

    fn learn(&self, seq: u64, ids: &Arc<BTreeSet<DeviceId>>) {
        let list = Arc::new(());
        let known = Known {
            seq,
            ids: Arc::clone(ids),
            list: Arc::clone(&list),
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        let roster = Arc::downgrade(&self.known);
        tokio::spawn(async move {
            tokio::time::sleep(AGE).await;
            let Some(roster) = roster.upgrade() else {
                return;
            };
            let mut known = roster.lock().unwrap_or_else(PoisonError::into_inner);
            known.take_if(|known| Arc::ptr_eq(&known.list, &list));
        });
    }
}
