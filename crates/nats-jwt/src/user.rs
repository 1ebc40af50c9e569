//! User claims: what a client may do, once let in (nats-io/jwt v2 `user_claims.go`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::{AccountKey, KeyKind, UserKey};
use crate::signing::SigningKey;
use crate::token::{self, CLAIMS_VERSION, EncodeClaimsError, RegisteredClaims};

pub(crate) const USER_TYPE: &str = "user";
/// How nats-io/jwt writes "no limit" (`NoLimit`).
const NO_LIMIT: i64 = -1;

/// A user, borrowed from wherever its parts live.
///
/// nats-server enforces of a user that came by auth callout: permissions and expiry. Connection
/// types, source networks and limits are written, but have no effect there.
#[derive(Clone, Copy, Debug)]
pub struct UserClaims<'a> {
    /// `sub`: the request's `user_nkey`.
    pub subject: &'a UserKey,
    /// `name`: what CONNZ and events show as the user; left out if empty.
    pub name: &'a str,
    /// `aud`: in config mode the name of the account to place the user in; empty in operator mode.
    pub audience: &'a str,
    /// `iat`, Unix time.
    pub issued_at_secs: i64,
    /// `exp`, Unix time: when the server ends the connection; `None`: never.
    pub expires_at_secs: Option<i64>,
    /// Subjects.
    pub permissions: Permissions<'a>,
    /// `STANDARD`, `MQTT`, …; none: any.
    pub allowed_connection_types: &'a [&'a str],
    /// Networks in CIDR notation; none: any.
    pub source_networks: &'a [String],
    /// Numbers.
    pub limits: Limits,
    /// Operator mode: the account, when one of its signing keys signs.
    pub issuer_account: Option<&'a AccountKey>,
}

/// Which subjects a user may use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permissions<'a> {
    /// Publishing.
    pub publish: SubjectRules<'a>,
    /// Subscribing.
    pub subscribe: SubjectRules<'a>,
    /// Publishing to the reply subjects of messages received.
    pub responses: Option<ResponsePermission>,
}

/// Subjects, with wildcards. Without any `allow`, everything not denied is allowed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SubjectRules<'a> {
    /// May be used.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub allow: &'a [String],
    /// May not be used, even if allowed.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub deny: &'a [String],
}

/// How much a user may answer to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponsePermission {
    /// Messages; nats-server takes 0 for its default of 1, and less for no limit.
    pub max: i32,
    /// For how long; nats-server takes 0 for its default of 2 minutes.
    #[serde(with = "nanoseconds")]
    pub ttl: Duration,
}

/// Limits of one user; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Subscriptions at a time.
    pub subscriptions: Option<i64>,
    /// Bytes in all (enforced nowhere in nats-server).
    pub data_bytes: Option<i64>,
    /// Bytes of one message.
    pub payload_bytes: Option<i64>,
}

impl UserClaims<'_> {
    /// Signs the claims with an account's key.
    pub fn encode(&self, key: &SigningKey) -> Result<String, EncodeClaimsError> {
        token::require_issuer(KeyKind::Account, key)?;
        let registered = RegisteredClaims {
            audience: self.audience,
            // nats-io/jwt `claims.go` takes 0 and less for "never". Those times are as long past as 1 is.
            expires_at_secs: self.expires_at_secs.map_or(0, |secs| secs.max(1)),
            issued_at_secs: self.issued_at_secs,
            issuer: key.public().as_str(),
            name: self.name,
            subject: self.subject.as_str(),
        };
        let nats = NatsClaims {
            publish: self.permissions.publish,
            subscribe: self.permissions.subscribe,
            responses: self.permissions.responses,
            src: self.source_networks,
            subs: self.limits.subscriptions.unwrap_or(NO_LIMIT),
            data: self.limits.data_bytes.unwrap_or(NO_LIMIT),
            payload: self.limits.payload_bytes.unwrap_or(NO_LIMIT),
            allowed_connection_types: self.allowed_connection_types,
            issuer_account: self.issuer_account,
            r#type: USER_TYPE,
            version: CLAIMS_VERSION,
        };
        Ok(token::encode(&registered, &nats, key))
    }
}

#[derive(Serialize)]
struct NatsClaims<'a> {
    #[serde(rename = "pub")]
    publish: SubjectRules<'a>,
    #[serde(rename = "sub")]
    subscribe: SubjectRules<'a>,
    #[serde(rename = "resp", skip_serializing_if = "Option::is_none")]
    responses: Option<ResponsePermission>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    src: &'a [String],
    #[serde(skip_serializing_if = "token::is_zero")]
    subs: i64,
    #[serde(skip_serializing_if = "token::is_zero")]
    data: i64,
    #[serde(skip_serializing_if = "token::is_zero")]
    payload: i64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    allowed_connection_types: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_account: Option<&'a AccountKey>,
    r#type: &'static str,
    version: i64,
}

impl Limits {
    pub(crate) fn from_wire(subs: i64, data: i64, payload: i64) -> Self {
        let limit = |number| (number != NO_LIMIT).then_some(number);
        Self {
            subscriptions: limit(subs),
            data_bytes: limit(data),
            payload_bytes: limit(payload),
        }
    }
}

/// Go's `time.Duration` in JSON: an integer of nanoseconds.
mod nanoseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(ttl: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_nanos)
    }
}
