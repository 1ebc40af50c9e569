use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use leafgate_access::Scope;
use leafgate_identity::{DeviceId, SpkiHash};
use leafgate_registry::{Act, CertificateStatus, DeviceRecord, Query};
use tokio::time::{MissedTickBehavior, interval};

use crate::devices::DeviceAction;
use crate::error::RegistrarError;
use crate::guard::target;
use crate::on_its_own::on_its_own;
use crate::registrar::Registrar;

const PAGE: usize = 1000;
/// How many devices are changed at a time: those that are committed together share a transaction.
const AT_ONCE: usize = 64;
/// How often in a second devices have their turn, where there is a rate.
const TURNS_PER_SEC: u32 = 100;

/// Which devices a change of many is about. Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// What to look for; its place and its limit don't count.
    pub query: Query,
    /// With a certificate of this issuer, of the present registration and not revoked.
    pub issuer: Option<SpkiHash>,
    /// In this scope.
    pub scope: Scope,
}

/// What came of one device.
#[derive(Debug)]
pub struct BulkResult {
    /// The device.
    pub id: DeviceId,
    /// The device afterwards, or why it was not changed.
    pub outcome: Result<DeviceRecord, RegistrarError>,
}

impl Registrar {
    /// How many devices [`apply`](Self::apply) would change now: those that are selected and in a state that allows it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn plan(
        &self,
        filter: &DeviceFilter,
        action: DeviceAction,
    ) -> Result<usize, RegistrarError> {
        Ok(self.selected(filter, action).await?.len())
    }

    /// Changes the state of many devices, if they are as many as expected: the number that [`plan`](Self::plan) gave and
    /// somebody confirmed. `rate` bounds how many are changed in a second. `act` is asked anew for each.
    ///
    /// Nothing is begun but while the stream is read. Each device is looked at again when its turn comes: one that is no
    /// longer selected is left alone. What has begun when the stream is dropped is still done. To resume what was
    /// broken off, plan and apply again.
    ///
    /// # Errors
    /// [`RegistrarError::CountDiffers`], before anything is done, or the store fails.
    pub async fn apply(
        &self,
        filter: DeviceFilter,
        action: DeviceAction,
        expected: usize,
        rate: Option<NonZeroU32>,
        act: impl Fn() -> Act + Send + Sync + 'static,
    ) -> Result<BoxStream<'static, BulkResult>, RegistrarError> {
        let ids = self.selected(&filter, action).await?;
        if ids.len() != expected {
            return Err(RegistrarError::CountDiffers {
                expected,
                found: ids.len(),
            });
        }
        let shared = Arc::new((self.clone(), filter, act));
        let changes = paced(ids, rate).map(move |id| {
            let shared = Arc::clone(&shared);
            on_its_own(async move {
                let (registrar, filter, act) = &*shared;
                let act = act();
                let outcome = registrar.apply_to(&id, filter, action, &act).await;
                BulkResult { id, outcome }
            })
        });
        Ok(changes.buffered(AT_ONCE).boxed())
    }

    async fn apply_to(
        &self,
        id: &DeviceId,
        filter: &DeviceFilter,
        action: DeviceAction,
        act: &Act,
    ) -> Result<DeviceRecord, RegistrarError> {
        self.change(id, |record| {
            if !filter.selects(record, action) {
                return Err(RegistrarError::NotSelected { id: id.clone() });
            }
            Ok(action.build(record, act)?)
        })
        .await
    }

    async fn selected(
        &self,
        filter: &DeviceFilter,
        action: DeviceAction,
    ) -> Result<Vec<DeviceId>, RegistrarError> {
        let mut query = Query {
            after: None,
            limit: PAGE,
            ..filter.query.clone()
        };
        let mut ids = Vec::new();
        loop {
            let page = self.store.find(&query).await?;
            let selected = page
                .items
                .into_iter()
                .filter(|record| filter.selects(record, action));
            ids.extend(selected.map(|record| record.device.id));
            query.after = page.next;
            if query.after.is_none() {
                return Ok(ids);
            }
        }
    }
}

impl DeviceFilter {
    fn selects(&self, record: &DeviceRecord, action: DeviceAction) -> bool {
        let of_issuer = |issuer| {
            record.current_certificates().any(|certificate| {
                certificate.issuer == issuer
                    && !matches!(certificate.status, CertificateStatus::Revoked { .. })
            })
        };
        self.query.matches(record)
            && self.issuer.is_none_or(of_issuer)
            && self.scope.contains(&target(&record.device))
            && record.device.state.after(action.action()).is_some()
    }
}

/// The ids, no more of them in a second than this.
fn paced(ids: Vec<DeviceId>, rate: Option<NonZeroU32>) -> BoxStream<'static, DeviceId> {
    let Some(rate) = rate else {
        return stream::iter(ids).boxed();
    };
    // Timers know no shorter times than a millisecond: of many ids in a second, some go together.
    let together = rate.get().div_ceil(TURNS_PER_SEC);
    let mut pace = interval(Duration::from_secs(1) * together / rate.get());
    // Time that was lost is not made up for in a burst.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begin = (ids.into_iter(), pace, 0);
    stream::unfold(begin, move |(mut ids, mut pace, left)| async move {
        let id = ids.next()?;
        let left = match left {
            0 => {
                pace.tick().await;
                together
            }
            left => left,
        };
        Some((id, (ids, pace, left - 1)))
    })
    .boxed()
}
