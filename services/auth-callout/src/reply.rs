use bytes::Bytes;
use leafgate_identity::{DeviceId, UnixMs};
use leafgate_nats_jwt::{
    Limits, Permissions, ResponseClaims, ResponsePermission, SigningKey, SubjectRules, UserClaims,
};
use leafgate_policy::Grant;

use crate::decider::Case;
use crate::random;

/// Writes and signs what nats-server gets to read.
pub(crate) struct Replies {
    issuer: SigningKey,
}

impl Replies {
    /// `issuer` must be an account's key.
    pub(crate) fn new(issuer: SigningKey) -> Self {
        Self { issuer }
    }

    /// The account that nats-server must have as issuer.
    pub(crate) fn issuer(&self) -> &str {
        self.issuer.public().as_str()
    }

    /// The user that the device becomes.
    pub(crate) fn user_jwt(
        &self,
        case: &Case,
        id: &DeviceId,
        grant: &Grant,
        now: UnixMs,
        expires_at_secs: i64,
    ) -> String {
        let connection_types: Vec<&str> = grant
            .connection_types
            .iter()
            .map(|connection_type| connection_type.as_str())
            .collect();
        let sources: Vec<String> = grant.sources.iter().map(ToString::to_string).collect();
        let claims = UserClaims {
            subject: &case.request.user_nkey,
            name: id.as_str(),
            audience: &grant.account,
            issued_at_secs: now.as_secs(),
            expires_at_secs: Some(expires_at_secs),
            permissions: Permissions {
                publish: SubjectRules {
                    allow: grant.publish.allow(),
                    deny: grant.publish.deny(),
                },
                subscribe: SubjectRules {
                    allow: grant.subscribe.allow(),
                    deny: grant.subscribe.deny(),
                },
                responses: grant.responses.map(|responses| ResponsePermission {
                    max: responses.max,
                    ttl: responses.ttl,
                }),
            },
            allowed_connection_types: &connection_types,
            source_networks: &sources,
            limits: Limits {
                subscriptions: grant.limits.subscriptions,
                data_bytes: None,
                payload_bytes: grant.limits.payload_bytes,
            },
            issuer_account: None,
        };
        claims
            .encode(&self.issuer)
            .expect("the issuer was loaded as an account key")
    }

    /// The answer around a user JWT or an error, sealed as the request was.
    pub(crate) fn seal(&self, case: &Case, outcome: Result<&str, &str>, now: UnixMs) -> Bytes {
        let response = ResponseClaims {
            subject: &case.request.user_nkey,
            audience: &case.request.server.id,
            issued_at_secs: now.as_secs(),
            outcome,
            issuer_account: None,
        };
        let response = response
            .encode(&self.issuer)
            .expect("the issuer was loaded as an account key, and neither outcome is empty");
        match &case.server_xkey {
            Some(server_xkey) => server_xkey
                .shared
                .seal(response.as_bytes(), &random::nonce())
                .into(),
            None => response.into(),
        }
    }
}

/// A hash of what a session may do: it changes when a live grant is altered.
pub(crate) fn permission_hash(grant: &Grant) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    grant.account.hash(&mut hasher);
    for rules in [&grant.publish, &grant.subscribe] {
        rules.allow().hash(&mut hasher);
        rules.deny().hash(&mut hasher);
    }
    let responses = grant
        .responses
        .map(|responses| (responses.max, responses.ttl));
    responses.hash(&mut hasher);
    hasher.finish()
}
