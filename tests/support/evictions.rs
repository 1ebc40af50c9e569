//! What replicas tell each other of devices, as one of them hears it.

use async_nats::{Client, Message, Subscriber};
use leafgate::local::next_message;
use leafgate_nats_config::subjects::EVICT;
use serde_json::{Value, json};

use super::PATIENCE;

/// Hears replicas from some moment on.
pub struct Evictions {
    client: Client,
    heard: Subscriber,
}

impl Evictions {
    /// From now on; `client` is a replica's in the callout's account.
    pub async fn follow(client: Client) -> Self {
        let heard = client.subscribe(EVICT).await.unwrap();
        let mut evictions = Self { client, heard };
        // Its own words come back only to who listens already.
        evictions.so_far().await;
        evictions
    }

    /// All that nats-server has taken from others until now, and that was not asked for before.
    pub async fn so_far(&mut self) -> Vec<Message> {
        let own = json!({"epoch": "none", "seq": 0, "device_id": "nobody"}).to_string();
        self.client
            .publish(EVICT, own.clone().into())
            .await
            .unwrap();
        let mut others = Vec::new();
        loop {
            let message = next_message(&mut self.heard, PATIENCE).await.unwrap();
            if message.payload == own {
                return others;
            }
            others.push(message);
        }
    }

    /// Waits until a replica has ended the sessions that the change of this number ends: it tells
    /// the others only then.
    pub async fn reach(&mut self, seq: u64) {
        loop {
            let message = next_message(&mut self.heard, PATIENCE).await.unwrap();
            let eviction: Value = serde_json::from_slice(&message.payload).unwrap();
            if eviction["seq"].as_u64().unwrap() >= seq {
                return;
            }
        }
    }
}
