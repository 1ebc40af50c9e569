//! How a device connects: connection types, MQTT client ids.

use std::fmt;
use std::net::IpAddr;

use leafgate_identity::DeviceId;
use serde::{Serialize, Serializer};

/// The kinds of connection that nats-server tells apart (nats-io/jwt v2, `ConnectionType…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionType {
    /// NATS over TCP.
    Standard,
    /// NATS over WebSocket.
    Websocket,
    /// A leaf node over TCP.
    Leafnode,
    /// A leaf node over WebSocket.
    LeafnodeWs,
    /// MQTT over TCP.
    Mqtt,
    /// MQTT over WebSocket.
    MqttWs,
    /// A client within the server's process.
    InProcess,
}

impl ConnectionType {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::Standard,
        Self::Websocket,
        Self::Leafnode,
        Self::LeafnodeWs,
        Self::Mqtt,
        Self::MqttWs,
        Self::InProcess,
    ];

    /// The name that NATS JWTs use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::Websocket => "WEBSOCKET",
            Self::Leafnode => "LEAFNODE",
            Self::LeafnodeWs => "LEAFNODE_WS",
            Self::Mqtt => "MQTT",
            Self::MqttWs => "MQTT_WS",
            Self::InProcess => "IN_PROCESS",
        }
    }

    /// The type of that name, exactly spelt.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }

    /// Whether the device connects as a leaf node.
    #[must_use]
    pub const fn is_leaf_node(self) -> bool {
        matches!(self, Self::Leafnode | Self::LeafnodeWs)
    }

    /// Whether the device speaks MQTT, so that [`is_mqtt_client_id_of`] applies.
    #[must_use]
    pub const fn is_mqtt(self) -> bool {
        matches!(self, Self::Mqtt | Self::MqttWs)
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ConnectionType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a decision knows of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// How the device connects.
    pub connection_type: ConnectionType,
    /// Where from; a policy with source networks denies a connection without one.
    pub source: Option<IpAddr>,
}

/// What may follow the device id in an MQTT client id.
///
/// None of them can be part of a device id: with `-`, device `pump` could take the client id
/// `pump-7` of device `pump-7`.
const MQTT_CLIENT_ID_SEPARATORS: [char; 3] = [':', '/', '.'];

/// Whether device `id` may connect with this MQTT client id: its own id, alone or followed by `:`,
/// `/` or `.` and anything.
///
/// nats-server lets a client id take over the session that bears it, pending messages included,
/// and does not compare users (server/mqtt.go).
#[must_use]
pub fn is_mqtt_client_id_of(id: &DeviceId, client_id: &str) -> bool {
    client_id
        .strip_prefix(id.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(MQTT_CLIENT_ID_SEPARATORS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in ConnectionType::ALL {
            assert_eq!(ConnectionType::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(ConnectionType::from_name("standard"), None);
    }

    #[test]
    fn an_mqtt_client_id_belongs_to_one_device() {
        let pump = DeviceId::parse("pump").unwrap();
        for own in ["pump", "pump:1", "pump/telemetry", "pump."] {
            assert!(is_mqtt_client_id_of(&pump, own), "{own}");
        }
        for foreign in [
            "", "pum", "pump-7", "pump_7", "pump7", "PUMP", " pump", "pump 1",
        ] {
            assert!(!is_mqtt_client_id_of(&pump, foreign), "{foreign}");
        }
    }
}
