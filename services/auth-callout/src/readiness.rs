use std::sync::Arc;

use async_nats::Client;
use async_nats::connection::State;
use leafgate_runtime::{Readiness, ReadinessReport};

use crate::worker::Shared;
use crate::workers::Subscription;

/// What `/readyz` says: ready while any worker takes requests, degraded by whatever is lost.
pub(crate) struct ReplicaReadiness {
    pub(crate) shared: Arc<Shared>,
    pub(crate) system: Option<Client>,
    pub(crate) replicas: Client,
    pub(crate) subscriptions: Vec<Subscription>,
}

impl Readiness for ReplicaReadiness {
    fn report(&self) -> ReadinessReport {
        let decider = &self.shared.decider;
        let mut degraded = Vec::new();
        if !decider.records.is_fresh(decider.clock.monotonic()) {
            degraded.push("the registry can't be followed: known devices only".to_owned());
        }
        if self.system.as_ref().is_some_and(is_lost) {
            degraded.push(
                "the system account can't be reached: new servers are refused, and sessions are \
                 not ended"
                    .to_owned(),
            );
        }
        if is_lost(&self.replicas) {
            degraded.push("other replicas can't be reached".to_owned());
        }
        let workers = self.subscriptions.len();
        let live = self.subscriptions.iter().filter(|worker| worker.is_live());
        let idle = workers - live.count();
        if idle > 0 {
            degraded.push(format!("{idle} of {workers} workers take no requests"));
        }
        ReadinessReport {
            ready: idle < workers,
            degraded,
        }
    }
}

fn is_lost(client: &Client) -> bool {
    client.connection_state() != State::Connected
}
