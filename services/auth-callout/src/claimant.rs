use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use leafgate_admission::{Denial, Reason};
use leafgate_identity::{DeviceIdentity, Excerpt, ParsedChain};
use leafgate_nats_jwt::{AuthorizationRequest, ClientInfo};
use leafgate_policy::{ConnectionFacts, ConnectionType, is_mqtt_client_id_of};
use quick_cache::sync::Cache;

use crate::grants::{Place, Session};
use crate::refusal::{denial, of_identity};
use crate::setup::Trust;

/// Parsed certificate chains kept in memory.
const CHAINS: usize = 65_536;

/// Finds out who asks to be let in. What a chain says is remembered; what follows from it is not.
pub(crate) struct Claimants {
    trust: Arc<Trust>,
    chains: Cache<[u8; 32], Arc<ParsedChain>>,
}

impl Claimants {
    pub(crate) fn new(trust: Arc<Trust>) -> Self {
        Self {
            trust,
            chains: Cache::new(CHAINS),
        }
    }

    /// Who asks to come in, how and where; `received` is when, by the monotonic clock.
    pub(crate) fn session(
        &self,
        request: &AuthorizationRequest,
        received: Duration,
    ) -> Result<Session, Denial> {
        let identity = self.identify(request)?;
        let connection = connection_facts(&request.client).ok_or_else(|| Denial {
            reason: Reason::ConnectionTypeNotAllowed,
            detail: format!(
                "kind {} type {}",
                request.client.kind, request.client.kind_type
            ),
        })?;
        Ok(Session {
            place: place(request),
            identity: Arc::new(identity),
            connection,
            received,
            granted: None,
            missed: 0,
        })
    }

    pub(crate) fn identify(
        &self,
        request: &AuthorizationRequest,
    ) -> Result<DeviceIdentity, Denial> {
        let chains = request
            .tls
            .as_ref()
            .map(|tls| tls.verified_chains.as_slice());
        let chain = chains
            .and_then(<[_]>::first)
            .ok_or(Reason::CertificateMissing)?;
        let parsed = self
            .chains
            .get_or_insert_with(&digest(chain), || ParsedChain::parse(chain).map(Arc::new))
            .map_err(|error| {
                let reason = if error.is_name() {
                    Reason::NameMalformed
                } else {
                    Reason::CertificateMalformed
                };
                denial(reason, &error)
            })?;
        DeviceIdentity::resolve(&parsed, &self.trust.domains)
            .map_err(|error| denial(of_identity(&error), &error))
    }
}

/// An MQTT client takes over the session of its client id, whoever's that is.
pub(crate) fn check_mqtt_client_id(
    session: &Session,
    request: &AuthorizationRequest,
) -> Result<(), Denial> {
    let client_id = &request.client.mqtt_id;
    if session.connection.connection_type.is_mqtt()
        && !is_mqtt_client_id_of(&session.identity.id, client_id)
    {
        return Err(Denial {
            reason: Reason::MqttClientIdForeign,
            detail: format!("mqtt_client_id {}", Excerpt::of(client_id)),
        });
    }
    Ok(())
}

/// Where nats-server holds the connection.
pub(crate) fn place(request: &AuthorizationRequest) -> Place {
    Place {
        server_id: request.server.id,
        client_id: request.client.id,
    }
}

/// nats-server `client.go`: `kindString` and `clientTypeString`.
fn connection_facts(client: &ClientInfo) -> Option<ConnectionFacts> {
    let connection_type = match (client.kind.as_str(), client.kind_type.as_str()) {
        ("Client", "nats") => ConnectionType::Standard,
        ("Client", "websocket") => ConnectionType::Websocket,
        ("Client", "mqtt") => ConnectionType::Mqtt,
        ("Leafnode", _) => ConnectionType::Leafnode,
        _ => return None,
    };
    Some(ConnectionFacts {
        connection_type,
        source: client.host.parse::<IpAddr>().ok(),
    })
}

fn digest(chain: &[String]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for certificate in chain {
        // With its length, so that no other split of the same bytes is the same chain.
        context.update(&(certificate.len() as u64).to_be_bytes());
        context.update(certificate.as_bytes());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
