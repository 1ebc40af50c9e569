use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Message};
use futures::StreamExt;
use leafgate_identity::DeviceId;
use leafgate_nats_config::Name;
use leafgate_nats_config::subjects::{ALIVE_ALL, EVICT, alive};
use leafgate_registry::FeedPosition;
use leafgate_runtime::{Clock, Shutdown};
use serde::{Deserialize, Serialize};

/// How often a replica says that it lives…
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// …and after how long without word it counts as gone.
const GONE_AFTER: Duration = Duration::from_secs(15);

/// What replicas say to each other over the callout's account: hints, never authority. Whoever
/// hears of an eviction reads the registry itself.
#[derive(Clone)]
pub(crate) struct Peers {
    client: Client,
    replica: Name,
    clock: Arc<dyn Clock>,
    others: Arc<Mutex<HashMap<String, Duration>>>,
}

#[derive(Serialize, Deserialize)]
struct Eviction {
    epoch: String,
    seq: u64,
    device_id: DeviceId,
}

impl Peers {
    pub(crate) fn new(client: Client, replica: Name, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            replica,
            clock,
            others: Arc::default(),
        }
    }

    /// Tells the others that what they remember of a device is old.
    pub(crate) async fn announce_eviction(&self, id: &DeviceId, position: &FeedPosition) {
        let eviction = Eviction {
            epoch: position.epoch.to_string(),
            seq: position.seq,
            device_id: id.clone(),
        };
        let body = serde_json::to_vec(&eviction).expect("strings always serialise");
        if let Err(error) = self.client.publish(EVICT, body.into()).await {
            tracing::warn!(%error, "other replicas could not be told of an eviction");
        }
    }

    /// Listens to the others, and lets them know of this replica. `heard` is told of the device,
    /// and of the epoch and sequence of the event that another replica has applied to it.
    pub(crate) async fn run(self, heard: impl Fn(DeviceId, &str, u64) + Send, shutdown: Shutdown) {
        let subscribed = futures::try_join!(
            self.client.subscribe(EVICT),
            self.client.subscribe(ALIVE_ALL),
        );
        let (mut evictions, mut lives) = match subscribed {
            Ok(subscribed) => subscribed,
            Err(error) => {
                tracing::error!(%error, "can't listen to other replicas");
                return;
            }
        };
        let mut ticks = tokio::time::interval(ALIVE_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => self.say_alive().await,
                Some(message) = evictions.next() => hear_eviction(&message, &heard),
                Some(message) = lives.next() => self.hear_alive(&message),
                else => return,
            }
        }
    }

    /// Whether this replica is the one of those alive that looks after the device.
    pub(crate) fn is_mine(&self, id: &DeviceId) -> bool {
        let now = self.clock.monotonic();
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|_, seen| now.saturating_sub(*seen) < GONE_AFTER);
        let own = weight(self.replica.as_str(), id);
        others.keys().all(|other| weight(other, id) < own)
    }

    async fn say_alive(&self) {
        let subject = alive(&self.replica);
        if let Err(error) = self.client.publish(subject, "".into()).await {
            tracing::warn!(%error, "other replicas could not be told that this one lives");
        }
    }

    fn hear_alive(&self, message: &Message) {
        let name = message.subject.rsplit('.').next().unwrap_or_default();
        if name != self.replica.as_str() {
            let now = self.clock.monotonic();
            let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            others.insert(name.to_owned(), now);
        }
    }
}

fn hear_eviction(message: &Message, heard: impl Fn(DeviceId, &str, u64)) {
    match serde_json::from_slice::<Eviction>(&message.payload) {
        Ok(eviction) => heard(eviction.device_id, &eviction.epoch, eviction.seq),
        Err(error) => tracing::warn!(%error, "an eviction by another replica can't be read"),
    }
}

/// Rendezvous hashing: of those alive, the one with the greatest weight. All replicas run the same
/// program, so `DefaultHasher` with its fixed keys agrees between them.
fn weight(replica: &str, id: &DeviceId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (replica, id.as_str()).hash(&mut hasher);
    hasher.finish()
}
