use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use futures::StreamExt;
use leafgate_feed::follow;
use leafgate_identity::DeviceId;
use leafgate_nats_config::Name;
use leafgate_nats_jwt::ServerKey;
use leafgate_registry::DeviceStore;
use leafgate_runtime::Shutdown;
use leafgate_sessions::{SessionEventKind, SystemAccount};

use crate::grants::Place;
use crate::peers::Peers;
use crate::revocation::{Enforcer, Revocation};
use crate::setup::Trust;
use crate::sweep::Sweeper;
use crate::worker::Shared;

/// What goes on beside the decisions: the registry is followed, sessions are watched and ended,
/// replicas and servers are looked after.
pub(crate) struct Upkeep {
    pub(crate) shared: Arc<Shared>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) store: Arc<dyn DeviceStore>,
    pub(crate) system: Option<SystemAccount>,
    pub(crate) replicas: Client,
    pub(crate) replica: Name,
    pub(crate) sweep_every: Duration,
}

impl Upkeep {
    /// Starts it, until `background` ends.
    pub(crate) fn start(self, background: &Shutdown) {
        let Self {
            shared,
            trust,
            store,
            system,
            ..
        } = self;
        let accounts = accounts_of(&trust);
        let (revocation, jobs) = Revocation::new(shared.clone());
        let revocation = Arc::new(revocation);
        tokio::spawn(follow(
            store.clone(),
            revocation.clone(),
            background.clone(),
        ));

        let peers = Peers::new(self.replicas, self.replica, shared.decider.clock.clone());
        let heard = move |id, epoch: &str, seq| revocation.hear(id, epoch, seq);
        tokio::spawn(peers.clone().listen(heard, background.clone()));

        let enforcer = Arc::new(Enforcer::new(
            shared.clone(),
            system.clone(),
            peers.clone(),
            accounts.clone(),
        ));
        tokio::spawn(enforcer.clone().run(jobs, background.clone()));
        let sweeper = Sweeper {
            enforcer,
            trust,
            store,
            every: self.sweep_every,
        };
        tokio::spawn(sweeper.run(background.clone()));

        let Some(system) = system else { return };
        tokio::spawn(peers.end_frozen(system.clone(), background.clone()));
        tokio::spawn({
            let (shared, background) = (shared.clone(), background.clone());
            async move { shared.decider.servers.recheck(background).await }
        });
        tokio::spawn(watch_departures(
            shared,
            system,
            accounts,
            background.clone(),
        ));
    }
}

fn accounts_of(trust: &Trust) -> Vec<String> {
    let policies = trust.policies.values().flat_map(|set| set.policies());
    let accounts: BTreeSet<String> = policies.map(|policy| policy.account).collect();
    accounts.into_iter().collect()
}

/// Forgets sessions as they end.
async fn watch_departures(
    shared: Arc<Shared>,
    system: SystemAccount,
    accounts: Vec<String>,
    shutdown: Shutdown,
) {
    let events = system
        .session_events(accounts.iter().map(String::as_str))
        .await;
    let mut events = match events {
        Ok(events) => std::pin::pin!(events.into_stream()),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "sessions can't be followed"
            );
            return;
        }
    };
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => match event {
                Some(event) => event,
                None => return,
            },
        };
        if let SessionEventKind::Disconnected(reason) = &event.kind
            && let Ok(id) = DeviceId::parse(&event.user)
            && let Ok(server_id) = ServerKey::parse(&event.server_id)
        {
            tracing::debug!(
                device = id.as_str(),
                cid = event.client_id,
                reason,
                "device left"
            );
            let place = Place {
                server_id,
                client_id: event.client_id,
            };
            shared.decider.grants.forget(&id, &place);
        }
    }
}
