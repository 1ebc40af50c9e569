use std::collections::HashSet;
use std::slice;
use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use leafgate_identity::DeviceId;
use leafgate_registry::{Act, Change, DeviceRecord, DeviceState, NewDevice};

use crate::error::RegistrarError;
use crate::on_its_own::on_its_own;
use crate::registrar::{Registrar, device_after};

/// How many devices are registered in one commit.
const GROUP: usize = 512;
/// How many groups are on their way at a time: twice what a store writes in one transaction, so that while one half is
/// written the other is read and checked.
const GROUPS_AT_ONCE: usize = 32;
/// How many devices of a group that failed are looked at one by one at a time.
const SINGLES_AT_ONCE: usize = 64;

/// What came of one line of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// The device was registered.
    Registered(DeviceRecord),
    /// It is registered just so.
    Unchanged(DeviceRecord),
}

impl Registrar {
    /// Registers many devices. Each line has a key, such as its number, and a device, or why it holds none; each gets one
    /// result under its key, in the same order. A line that can't be registered fails alone. One that is registered just
    /// so is no failure: an import that was broken off can be made again as a whole. `act` is asked anew for each group.
    ///
    /// Nothing is begun but while the stream is read; what has begun when it is dropped is still done. Lines are committed in groups of those that are there, some groups
    /// at a time. Of two lines for one id in one group the first counts; of two in different groups, the one that is
    /// written first.
    pub fn import<K, E, S>(
        &self,
        lines: S,
        act: impl Fn() -> Act + Send + Sync + 'static,
    ) -> BoxStream<'static, (K, Result<Imported, E>)>
    where
        K: Send + 'static,
        E: From<RegistrarError> + Send + 'static,
        S: Stream<Item = (K, Result<NewDevice, E>)> + Send + 'static,
    {
        let shared = Arc::new((self.clone(), act));
        lines
            .ready_chunks(GROUP)
            .map(move |group| {
                let shared = Arc::clone(&shared);
                on_its_own(async move {
                    let (registrar, act) = &*shared;
                    registrar.import_group(group, &act()).await
                })
            })
            .buffered(GROUPS_AT_ONCE)
            .flat_map(stream::iter)
            .boxed()
    }

    async fn import_group<K: Send, E: From<RegistrarError> + Send>(
        &self,
        lines: Vec<(K, Result<NewDevice, E>)>,
        act: &Act,
    ) -> Vec<(K, Result<Imported, E>)> {
        let mut results: Vec<(K, Option<Result<Imported, E>>)> = Vec::with_capacity(lines.len());
        let mut good = Vec::with_capacity(lines.len());
        let (mut ids, mut repeats) = (HashSet::with_capacity(lines.len()), Vec::new());
        for (place, (key, line)) in lines.into_iter().enumerate() {
            let refused = match line {
                Ok(new) => match self.first_registration(new, act) {
                    Ok(change) => {
                        let line = Line { place, change };
                        let group = if ids.insert(line.id().folded()) {
                            &mut good
                        } else {
                            &mut repeats
                        };
                        group.push(line);
                        None
                    }
                    Err(refusal) => Some(Err(refusal.into())),
                },
                Err(error) => Some(Err(error)),
            };
            results.push((key, refused));
        }
        for (place, result) in self.register_all(good, act).await {
            results[place].1 = Some(result.map_err(E::from));
        }
        for line in repeats {
            let result = self.import_one(&line.new_device(), act).await;
            results[line.place].1 = Some(result.map_err(E::from));
        }
        let complete = results
            .into_iter()
            .filter_map(|(key, result)| Some((key, result?)));
        complete.collect()
    }

    /// The registration of a device whose id nobody had before.
    fn first_registration(&self, new: NewDevice, act: &Act) -> Result<Change, RegistrarError> {
        self.check_name(&new)?;
        let change = Change::register(None, new, act)?;
        self.guard.after(&device_after(&change).device)?;
        Ok(change)
    }

    /// Registers a group in one commit. Where that fails, those that are registered are sorted out and the others tried
    /// once more, for an import that is made again meets whole groups of known devices; then each goes alone.
    async fn register_all(&self, lines: Vec<Line>, act: &Act) -> Vec<Done> {
        let (mut done, left) = self.register_together(lines).await;
        let ids: Vec<DeviceId> = left.iter().map(|line| line.id().clone()).collect();
        let known: Vec<bool> = stream::iter(ids)
            .map(|id| async move { matches!(self.store.load(&id).await, Ok(Some(_))) })
            .buffered(SINGLES_AT_ONCE)
            .collect()
            .await;
        let mut known = known.into_iter();
        let (mut singles, new): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|_| known.next().unwrap_or(true));
        let (registered, left) = if singles.is_empty() {
            (Vec::new(), new)
        } else {
            self.register_together(new).await
        };
        done.extend(registered);
        singles.extend(left);
        let singles = stream::iter(singles)
            .map(|line| async move {
                let result = self.import_one(&line.new_device(), act).await;
                (line.place, result)
            })
            .buffered(SINGLES_AT_ONCE);
        done.extend(singles.collect::<Vec<_>>().await);
        done
    }

    /// Registers all in one commit, or gives them back if it was refused for the sake of one of them.
    async fn register_together(&self, lines: Vec<Line>) -> (Vec<Done>, Vec<Line>) {
        if lines.is_empty() {
            return (Vec::new(), lines);
        }
        let (places, changes): (Vec<_>, Vec<_>) = lines
            .into_iter()
            .map(|Line { place, change }| (place, change))
            .unzip();
        let committed = self.commit(&changes).await;
        let lines = places.into_iter().zip(changes);
        match committed {
            Ok(true) => {
                let registered = lines.filter_map(|(place, change)| {
                    let record = change.into_device_after()?;
                    Some((place, Ok(Imported::Registered(record))))
                });
                (registered.collect(), Vec::new())
            }
            Err(RegistrarError::Unconfirmed(source)) => {
                let failed = lines
                    .map(|(place, _)| (place, Err(RegistrarError::Unconfirmed(source.clone()))));
                (failed.collect(), Vec::new())
            }
            Ok(false) | Err(_) => {
                let back = lines.map(|(place, change)| Line { place, change });
                (Vec::new(), back.collect())
            }
        }
    }

    async fn import_one(&self, new: &NewDevice, act: &Act) -> Result<Imported, RegistrarError> {
        let mut tries = self.tries();
        loop {
            if let Some(existing) = self.store.load(&new.id).await?
                && is_just_so(&existing, new)
            {
                self.guard.after(&existing.device)?;
                return Ok(Imported::Unchanged(existing));
            }
            let change = self.build_registration(new, act).await?;
            match self.commit(slice::from_ref(&change)).await {
                Ok(true) => return Ok(Imported::Registered(device_after(&change).clone())),
                Ok(false) => {}
                // Somebody registered this very id meanwhile, perhaps just so.
                Err(RegistrarError::IdTaken { existing, .. }) if existing == new.id => {}
                Err(other) => return Err(other),
            }
            tries.again(&new.id).await?;
        }
    }
}

/// A line that holds a device.
struct Line {
    /// Within its group.
    place: usize,
    /// Its registration, if nobody had the id before.
    change: Change,
}

impl Line {
    fn id(&self) -> &DeviceId {
        &device_after(&self.change).device.id
    }

    /// What the registration was made of.
    fn new_device(&self) -> NewDevice {
        let device = &device_after(&self.change).device;
        NewDevice {
            id: device.id.clone(),
            trust_domain: device.trust_domain.clone(),
            pending: device.state == DeviceState::Pending,
            device_type: device.device_type.clone(),
            site: device.site.clone(),
            attributes: device.attributes.clone(),
        }
    }
}

/// A place within the group, and what came of it.
type Done = (usize, Result<Imported, RegistrarError>);

/// Whether a device is registered as this line says, whatever was done with it since.
fn is_just_so(existing: &DeviceRecord, new: &NewDevice) -> bool {
    let device = &existing.device;
    device.state != DeviceState::Deleted
        && device.trust_domain == new.trust_domain
        && device.device_type == new.device_type
        && device.site == new.site
        && device.attributes == new.attributes
}
