use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::DeviceId;
use leafgate_nats_jwt::ServerKey;
use leafgate_policy::ConnectionType;
use leafgate_registry::{DeviceStore, StoreError};
use leafgate_runtime::Shutdown;
use leafgate_sessions::{AskSystemError, Connection, ConnectionFilter, SystemAccount};
use tokio::time::MissedTickBehavior;

use crate::grants::Place;
use crate::live::admits_live;
use crate::records::Found;
use crate::revocation::{Effect, Enforcer, FoundBy, effect_of};
use crate::setup::Trust;

/// How soon a comparison that has failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// More sessions than this, or than one in [`SHARE`], are not ended unless the change feed accounts
/// for each: it is likelier that the registry is wrong than that so many changes bypassed the feed.
const FEW: usize = 20;
const SHARE: usize = 100;

/// Events read from the store at once.
const PAGE: usize = 1000;

/// Finds what no replica saw happen, or what bypassed the change feed: compares live connections
/// with the registry at start and from time to time.
pub(crate) struct Sweeper {
    pub(crate) enforcer: Arc<Enforcer>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) store: Arc<dyn DeviceStore>,
    pub(crate) every: Duration,
}

/// Why live connections can't be compared with the registry.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    System(#[from] AskSystemError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sweeper {
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            self.sweep_own().await;
            if let Some(system) = &self.enforcer.system
                && let Err(error) = self.sweep_live(system).await
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "live connections could not be compared with the registry"
                );
                ticks.reset_after(RETRY_AFTER);
            }
        }
    }

    /// Ends sessions granted here that would now be decided otherwise, such as those whose
    /// certificate's overlap has run out.
    async fn sweep_own(&self) {
        let decider = &self.enforcer.shared.decider;
        decider.grants.purge(decider.clock.now());
        for id in decider.grants.devices() {
            if !decider.records.is_fresh(decider.clock.monotonic()) {
                return;
            }
            let Some(found) = self.found(&id).await else {
                return;
            };
            for session in self.enforcer.altered_by(&id, &found) {
                self.enforcer
                    .kick(&id, &session.place, FoundBy::Grant)
                    .await;
            }
        }
    }

    /// Ends device sessions on any server that the registry does not admit.
    async fn sweep_live(&self, system: &SystemAccount) -> Result<(), SweepError> {
        let asked_at = self.enforcer.shared.decider.clock.monotonic();
        let mut live = HashSet::new();
        let mut seen = 0;
        let mut unwanted = Vec::new();
        for account in &self.enforcer.accounts {
            let filter = ConnectionFilter {
                account,
                user: None,
            };
            for connection in system.connections(filter).await? {
                seen += 1;
                let Ok(place) = Place::of(&connection) else {
                    continue;
                };
                live.insert(place);
                if let Some(id) = self.is_unwanted(&connection).await {
                    unwanted.push((id, place));
                }
            }
        }
        self.forget_ended(system, &live, asked_at).await;
        if unwanted.len() > FEW.max(seen / SHARE) {
            unwanted = self.accounted_for(unwanted, seen).await?;
        }
        for (id, place) in unwanted {
            self.enforcer.kick(&id, &place, FoundBy::Sweep).await;
        }
        Ok(())
    }

    /// Forgets sessions that ended without an event: their server was killed, or the system account
    /// could not be reached.
    async fn forget_ended(
        &self,
        system: &SystemAccount,
        live: &HashSet<Place>,
        asked_at: Duration,
    ) {
        let grants = &self.enforcer.shared.decider.grants;
        let answered: HashSet<ServerKey> = live.iter().map(|place| place.server_id).collect();
        let mut gone: HashMap<ServerKey, bool> = HashMap::new();
        for session in grants.missing(live, asked_at) {
            let server = session.place.server_id;
            let has_ended = if answered.contains(&server) {
                // Devices that are leaf nodes are in no listing of clients.
                session.connection.connection_type != ConnectionType::Leafnode
            } else if let Some(gone) = gone.get(&server) {
                *gone
            } else {
                // One that lives has no session left, or was slow to list them.
                let is_gone = matches!(system.identify(server.as_str()).await, Ok(None));
                gone.insert(server, is_gone);
                is_gone
            };
            if has_ended {
                grants.forget(&session.identity.id, &session.place);
            }
        }
    }

    /// Of so many sessions only those to end that the feed has an event for, if the others are
    /// still too many.
    async fn accounted_for(
        &self,
        unwanted: Vec<(DeviceId, Place)>,
        seen: usize,
    ) -> Result<Vec<(DeviceId, Place)>, StoreError> {
        let changed = self.changed_devices().await?;
        let (explained, unexplained): (Vec<_>, Vec<_>) = unwanted
            .into_iter()
            .partition(|(id, _)| changed.contains(id));
        if unexplained.len() <= FEW.max(seen / SHARE) {
            return Ok([explained, unexplained].concat());
        }
        tracing::error!(
            sessions = unexplained.len(),
            seen,
            "the registry no longer admits many sessions and has no event that says why: they \
             are left alone; is it the right registry?"
        );
        Ok(explained)
    }

    /// The devices that any event has ended or altered the sessions of.
    async fn changed_devices(&self) -> Result<HashSet<DeviceId>, StoreError> {
        let mut changed = HashSet::new();
        let mut seq = 0;
        loop {
            let events = self.store.events_after(seq, PAGE).await?;
            let Some(last) = events.last() else {
                return Ok(changed);
            };
            seq = last.seq;
            let altering = events
                .into_iter()
                .filter(|event| effect_of(&event.kind) != Effect::None);
            changed.extend(altering.filter_map(|event| event.device));
        }
    }

    /// The device whose session this is, if its record does not admit it. Connections of others
    /// than devices, and those that another replica looks after, are left alone.
    async fn is_unwanted(&self, connection: &Connection) -> Option<DeviceId> {
        let id = self.device_of(connection)?;
        if !self.enforcer.peers.is_mine(&id) {
            return None;
        }
        let found = self.found(&id).await?;
        let now = self.enforcer.shared.decider.clock.now();
        (!admits_live(&found, connection, now)).then_some(id)
    }

    fn device_of(&self, connection: &Connection) -> Option<DeviceId> {
        let common_name = connection.common_name()?;
        let ids = self.trust.domains.iter();
        ids.filter_map(|domain| domain.cn_pattern.matches(common_name).ok())
            .find(|id| id.as_str() == connection.user)
    }

    async fn found(&self, id: &DeviceId) -> Option<Found> {
        let decider = &self.enforcer.shared.decider;
        let now = decider.clock.monotonic();
        match decider.records.cached(id, now) {
            Some(found) => Some(found),
            None => decider.records.look_up(id, now).await.ok(),
        }
    }
}
