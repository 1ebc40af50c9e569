//! Authorization requests: what a server says about a client that wants in (nats-io/jwt v2
//! `authorization_claims.go`, filled in by nats-server `auth_callout.go`).

use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;

use crate::key::{CurvePublicKey, KeyKind, ServerKey, UserKey};
use crate::signing::SigningKey;
use crate::token::{self, CLAIMS_VERSION, EncodeClaimsError, RegisteredClaims};

pub(crate) const REQUEST_TYPE: &str = "authorization_request";
/// The audience that nats-server gives its requests.
pub(crate) const REQUEST_AUDIENCE: &str = "nats-authorization-request";

/// An authentic request: its server signed it, or a box bound to that server held it. It can be
/// had in no other way. That it is meant for this service, and still in time, says
/// [`check`](Self::check); that the server is one of ours, nothing in it.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// `iss`: the key that signed.
    pub issuer: ServerKey,
    /// `sub`: the configured issuer (config mode) or the callout account (operator mode).
    pub subject: String,
    /// `aud`
    pub audience: String,
    /// `iat`, Unix time; 0 if absent.
    pub issued_at_secs: i64,
    /// `exp`, Unix time: when the server stops waiting; 0 if absent.
    pub expires_at_secs: i64,
    /// `nbf`, Unix time; nats-server sets none, then 0.
    pub not_before_secs: i64,
    /// The key made for this log-in attempt, to which the answer must be addressed.
    pub user_nkey: UserKey,
    /// The server as it describes itself.
    pub server: ServerInfo,
    /// The connection, as the server sees it.
    pub client: ClientInfo,
    /// What the client said of itself in CONNECT.
    pub connect: ConnectOptions,
    /// The client's TLS connection, if it is one.
    pub tls: Option<ClientTls>,
    /// `nats.type`
    pub(crate) claims_type: String,
    /// `nats.version`
    pub(crate) claims_version: i64,
    /// The curve key whose box held the request; `None` if it came in plain text.
    pub(crate) box_peer: Option<CurvePublicKey>,
}

impl AuthorizationRequest {
    /// How far the server's clock was behind `now_secs` when it issued the request, the time on
    /// the way included; negative if it is ahead.
    pub fn skew_secs(&self, now_secs: i64) -> i64 {
        now_secs.saturating_sub(self.issued_at_secs)
    }
}

/// The server that asks. All but `id` are claims of that server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerInfo {
    /// `server_name`
    pub name: String,
    /// The host part of its client address.
    pub host: String,
    /// Its key, new at each start.
    pub id: ServerKey,
    /// Version of nats-server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Name of its cluster; empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// `server_tags`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its curve key, new at each start; named only in requests that it encrypts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xkey: Option<CurvePublicKey>,
}

/// The connection that is to be authorized.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientInfo {
    /// The client's address, without port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The connection's number on its server (`cid`).
    #[serde(skip_serializing_if = "is_zero")]
    pub id: u64,
    /// Who the client says it is: an nkey or a user name. Never a token: servers before 2.11 put
    /// it here, and it is removed in decoding.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The name that the client gave its connection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `Client`, `Leafnode`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The protocol of a client: `nats`, `mqtt` or `websocket`; empty for other kinds.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind_type: String,
    /// The MQTT client id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mqtt_id: String,
}

/// What the client sent in CONNECT. Of its secrets only the presence is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectOptions {
    /// The name that the client gave its connection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The language of the client library.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// The version of the client library.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The version of the client protocol.
    pub protocol: i64,
    /// A user JWT was sent.
    #[serde(rename = "jwt", skip_serializing, deserialize_with = "presence")]
    pub has_jwt: bool,
    /// An nkey was sent.
    #[serde(rename = "nkey", skip_serializing, deserialize_with = "presence")]
    pub has_nkey: bool,
    /// A signature of the server's nonce was sent.
    #[serde(rename = "sig", skip_serializing, deserialize_with = "presence")]
    pub has_signature: bool,
    /// A token was sent.
    #[serde(rename = "auth_token", skip_serializing, deserialize_with = "presence")]
    pub has_token: bool,
    /// A user name was sent.
    #[serde(rename = "user", skip_serializing, deserialize_with = "presence")]
    pub has_user: bool,
    /// A password was sent.
    #[serde(rename = "pass", skip_serializing, deserialize_with = "presence")]
    pub has_password: bool,
}

impl ConnectOptions {
    /// Whether nats-server takes the client's user from its token (`getRawAuthUser`).
    pub(crate) fn names_user_by_token(&self) -> bool {
        self.has_token && !self.has_nkey && !self.has_user && !self.has_jwt
    }
}

/// The client's TLS connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientTls {
    /// As in `1.3`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The cipher suite's IANA name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cipher: String,
    /// Certificates (PEM) that the server did **not** verify; given only when there is no verified
    /// chain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certs: Vec<String>,
    /// Chains (PEM) that the server verified, each from the client's certificate up to one that
    /// the listener trusts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verified_chains: Vec<Vec<String>>,
}

/// The server's side of a request: what it says and signs.
#[derive(Clone, Debug)]
pub struct RequestClaims {
    /// `sub`: the configured issuer (config mode) or the callout account (operator mode).
    pub subject: String,
    /// `iat`, Unix time.
    pub issued_at_secs: i64,
    /// `exp`, Unix time.
    pub expires_at_secs: i64,
    /// The key made for this log-in attempt.
    pub user_nkey: UserKey,
    /// The server, whose `id` should be the public key of the signer.
    pub server: ServerInfo,
    /// The connection.
    pub client: ClientInfo,
    /// What the client said of itself. Credentials (`has_…`) are not written.
    pub connect: ConnectOptions,
    /// The client's TLS connection, if it is one.
    pub tls: Option<ClientTls>,
}

impl RequestClaims {
    /// Signs the request with a server's key, as nats-server does.
    pub fn encode(&self, key: &SigningKey) -> Result<String, EncodeClaimsError> {
        token::require_issuer(KeyKind::Server, key)?;
        let registered = RegisteredClaims {
            audience: REQUEST_AUDIENCE,
            expires_at_secs: self.expires_at_secs,
            issued_at_secs: self.issued_at_secs,
            issuer: key.public().as_str(),
            name: "",
            subject: &self.subject,
        };
        let nats = NatsClaims {
            server_id: &self.server,
            user_nkey: &self.user_nkey,
            client_info: &self.client,
            connect_opts: &self.connect,
            client_tls: self.tls.as_ref(),
            r#type: REQUEST_TYPE,
            version: CLAIMS_VERSION,
        };
        Ok(token::encode(&registered, &nats, key))
    }
}

#[derive(Serialize)]
struct NatsClaims<'a> {
    server_id: &'a ServerInfo,
    user_nkey: &'a UserKey,
    client_info: &'a ClientInfo,
    connect_opts: &'a ConnectOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_tls: Option<&'a ClientTls>,
    r#type: &'static str,
    version: i64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Whether a text is there and not empty; the text is never stored.
fn presence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E>(self, text: &str) -> Result<bool, E> {
            Ok(!text.is_empty())
        }
    }

    deserializer.deserialize_str(Visitor)
}
