use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Message};
use futures::StreamExt;
use leafgate_identity::DeviceId;
use leafgate_nats_config::Name;
use leafgate_nats_config::subjects::{ALIVE_ALL, EVICT, alive};
use leafgate_nats_jwt::ServerKey;
use leafgate_registry::FeedPosition;
use leafgate_runtime::{Clock, Shutdown};
use leafgate_sessions::{KickOutcome, SystemAccount};
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use crate::grants::Place;
use crate::signs_of_life::{ALIVE_EVERY, SignsOfLife};

/// How often it is looked for replicas that have frozen.
const JUDGE_EVERY: Duration = Duration::from_secs(1);

/// What replicas say to each other over the callout's account: hints, never authority. Whoever
/// hears of an eviction reads the registry itself.
#[derive(Clone)]
pub(crate) struct Peers {
    client: Client,
    replica: Name,
    clock: Arc<dyn Clock>,
    signs: Arc<Mutex<SignsOfLife>>,
}

#[derive(Serialize, Deserialize)]
struct Eviction {
    epoch: String,
    seq: u64,
    device_id: DeviceId,
}

impl Peers {
    pub(crate) fn new(client: Client, replica: Name, clock: Arc<dyn Clock>) -> Self {
        let signs = Arc::new(Mutex::new(SignsOfLife::new(replica.clone())));
        Self {
            client,
            replica,
            clock,
            signs,
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

    /// Listens to the others. `heard` is told of the device, and of the epoch and sequence of the
    /// event that another replica has applied to it.
    pub(crate) async fn listen(
        self,
        heard: impl Fn(DeviceId, &str, u64) + Send,
        shutdown: Shutdown,
    ) {
        let subscribed = futures::try_join!(
            self.client.subscribe(EVICT),
            self.client.subscribe(ALIVE_ALL),
        );
        let (mut evictions, mut signs) = match subscribed {
            Ok(subscribed) => subscribed,
            Err(error) => {
                tracing::error!(%error, "can't listen to other replicas");
                return;
            }
        };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(message) = evictions.next() => hear_eviction(&message, &heard),
                Some(message) = signs.next() => self.hear_sign(&message),
                else => return,
            }
        }
    }

    /// Ends the connections of replicas that have frozen: nats-server goes on giving them requests,
    /// which nobody answers. A replica that runs again connects again by itself.
    pub(crate) async fn end_frozen(self, system: SystemAccount, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(JUDGE_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let frozen = self.signs().take_frozen(self.clock.monotonic());
            for (replica, place) in frozen {
                let kicked = system.kick(place.server_id.as_str(), place.client_id).await;
                match kicked {
                    Ok(KickOutcome::Kicked) => tracing::warn!(
                        replica = replica.as_str(),
                        server_id = place.server_id.as_str(),
                        cid = place.client_id,
                        "a replica was silent: its connection was ended, so that others get its \
                         requests"
                    ),
                    // It has ended by itself, or another replica was faster.
                    Ok(KickOutcome::Gone) => {}
                    Err(error) => {
                        tracing::warn!(
                            replica = replica.as_str(),
                            error = &error as &dyn std::error::Error,
                            "the connection of a silent replica could not be ended"
                        );
                        let now = self.clock.monotonic();
                        self.signs().put_off(replica, place, now);
                    }
                }
            }
        }
    }

    /// Whether this replica is the one of those alive that looks after the device.
    pub(crate) fn is_mine(&self, id: &DeviceId) -> bool {
        let own = weight(&self.replica, id);
        self.signs()
            .others(self.clock.monotonic())
            .all(|other| weight(other, id) < own)
    }

    fn hear_sign(&self, message: &Message) {
        let name = message.subject.rsplit('.').next().unwrap_or_default();
        let Ok(replica) = Name::parse(name) else {
            return;
        };
        // Versions that vouch for no connection send nothing.
        let place = serde_json::from_slice(&message.payload).ok();
        let now = self.clock.monotonic();
        self.signs().hear(replica, place, now);
    }

    fn signs(&self) -> MutexGuard<'_, SignsOfLife> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hear_eviction(message: &Message, heard: impl Fn(DeviceId, &str, u64)) {
    match serde_json::from_slice::<Eviction>(&message.payload) {
        Ok(eviction) => heard(eviction.device_id, &eviction.epoch, eviction.seq),
        Err(error) => tracing::warn!(%error, "an eviction by another replica can't be read"),
    }
}

/// Says again and again that the connection lives, over that connection and from the thread that
/// serves it, so that its silence is the silence of either.
pub(crate) async fn say_alive(client: Client, replica: Name) {
    let subject = alive(&replica);
    // Succeeds with the first connection.
    let _ = client.flush().await;
    let mut ticks = tokio::time::interval(ALIVE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // What is said without a connection would wait for one.
        if client.connection_state() == State::Connected
            && let Some(place) = place_of(&client)
        {
            let body = serde_json::to_vec(&place).expect("a key and a number always serialise");
            if let Err(error) = client.publish(subject.clone(), body.into()).await {
                tracing::warn!(%error, "other replicas could not be told that this one lives");
            }
        }
    }
}

/// Where nats-server holds the client's connection.
fn place_of(client: &Client) -> Option<Place> {
    let info = client.server_info();
    Some(Place {
        server_id: ServerKey::parse(&info.server_id).ok()?,
        client_id: info.client_id,
    })
}

/// Rendezvous hashing: of those alive, the one with the greatest weight. All replicas run the same
/// program, so `DefaultHasher` with its fixed keys agrees between them.
fn weight(replica: &Name, id: &DeviceId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (replica.as_str(), id.as_str()).hash(&mut hasher);
    hasher.finish()
}
