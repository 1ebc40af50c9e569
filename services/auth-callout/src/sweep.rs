use std::sync::Arc;
use std::time::Duration;

use leafgate_identity::DeviceId;
use leafgate_runtime::Shutdown;
use leafgate_sessions::{AskSystemError, Connection, ConnectionFilter, SystemAccount};

use crate::grants::Place;
use crate::live::admits_live;
use crate::records::Found;
use crate::revocation::Enforcer;
use crate::setup::Trust;

/// How often live connections are compared with the registry.
const EVERY: Duration = Duration::from_secs(60);

/// A sweep that would end more sessions than this, or than one in [`SHARE`], ends none: it is
/// likelier that the registry is wrong than that so many changes went unnoticed.
const FEW: usize = 20;
const SHARE: usize = 100;

/// Finds what bypassed the change feed: compares live connections with the registry at start and
/// every minute.
pub(crate) struct Sweeper {
    pub(crate) enforcer: Arc<Enforcer>,
    pub(crate) trust: Arc<Trust>,
}

impl Sweeper {
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(EVERY);
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
            }
        }
    }

    /// Ends sessions granted here that would now be decided otherwise, such as those whose
    /// certificate's overlap has run out.
    async fn sweep_own(&self) {
        let decider = &self.enforcer.shared.decider;
        decider.grants.purge(decider.clock.now());
        for id in decider.grants.devices() {
            let now = decider.clock.monotonic();
            if !decider.records.is_fresh(now) {
                return;
            }
            for session in self.enforcer.altered(&id).await {
                self.enforcer.kick(&id, &session.place).await;
            }
        }
    }

    /// Ends device sessions on any server that the registry does not admit.
    async fn sweep_live(&self, system: &SystemAccount) -> Result<(), AskSystemError> {
        let mut seen = 0;
        let mut unwanted = Vec::new();
        for account in &self.enforcer.accounts {
            let filter = ConnectionFilter {
                account,
                user: None,
            };
            for connection in system.connections(filter).await? {
                seen += 1;
                if let Some(id) = self.is_unwanted(&connection).await
                    && let Ok(place) = Place::of(&connection)
                {
                    unwanted.push((id, place));
                }
            }
        }
        if unwanted.len() > FEW.max(seen / SHARE) {
            tracing::error!(
                unwanted = unwanted.len(),
                seen,
                "the sweep would end too many sessions at once and ends none: is the registry right?"
            );
            return Ok(());
        }
        for (id, place) in unwanted {
            self.enforcer.kick(&id, &place).await;
        }
        Ok(())
    }

    /// The device whose session this is, if its record does not admit it. Connections of others
    /// than devices, and those that another replica looks after, are left alone.
    async fn is_unwanted(&self, connection: &Connection) -> Option<DeviceId> {
        let id = self.device_of(connection)?;
        let mine = self.enforcer.peers.as_ref().is_none_or(|peers| peers.is_mine(&id));
        if !mine {
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
