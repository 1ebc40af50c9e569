use std::net::IpAddr;

use leafgate_identity::{Fingerprint, UnixMs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// A live connection of a device, as its nats-server tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// The server that holds it: its public nkey, new at each start.
    pub server_id: String,
    /// That server's name.
    pub server_name: String,
    /// The connection's number on that server.
    pub cid: u64,
    /// The account that the device was let into.
    pub account: String,
    /// When it began, by the server's clock.
    #[schema(value_type = Option<schema::Time>, required)]
    pub started_at: Option<UnixMs>,
    /// The address that the device connects from.
    #[schema(value_type = Option<String>, required, example = "192.0.2.7")]
    pub source: Option<IpAddr>,
    /// The certificate that it logged in with; null without TLS.
    #[schema(value_type = Option<schema::Sha256>, required)]
    pub fingerprint: Option<Fingerprint>,
    /// How long the server's last PING took to be answered, in microseconds; null before the first.
    #[schema(required)]
    pub round_trip_micros: Option<u64>,
    /// Messages that the device has published.
    pub messages_in: u64,
    /// Messages that it was sent.
    pub messages_out: u64,
}

/// The live connections of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionList {
    /// By server and number.
    pub sessions: Vec<Session>,
}

/// What became of a device's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Disconnected {
    /// How many were ended.
    pub ended: u64,
}
