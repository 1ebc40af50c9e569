//! Authorization responses (nats-io/jwt v2 `authorization_claims.go`).

use serde::Serialize;

use crate::key::{AccountKey, KeyKind, ServerKey, UserKey};
use crate::signing::SigningKey;
use crate::token::{self, CLAIMS_VERSION, EncodeClaimsError, RegisteredClaims};

pub(crate) const RESPONSE_TYPE: &str = "authorization_response";

/// The answer to one request.
#[derive(Clone, Copy, Debug)]
pub struct ResponseClaims<'a> {
    /// `sub`: the request's `user_nkey`.
    pub subject: &'a UserKey,
    /// `aud`: the server that asked.
    pub audience: &'a ServerKey,
    /// `iat`, Unix time.
    pub issued_at_secs: i64,
    /// A user JWT, or why there is none. The server logs that text; the client never sees it.
    pub outcome: Result<&'a str, &'a str>,
    /// Operator mode: the account, when one of its signing keys signs.
    pub issuer_account: Option<&'a AccountKey>,
}

impl ResponseClaims<'_> {
    /// Signs the answer with an account's key.
    pub fn encode(&self, key: &SigningKey) -> Result<String, EncodeClaimsError> {
        token::require_issuer(KeyKind::Account, key)?;
        let (jwt, error) = match self.outcome {
            Ok("") | Err("") => return Err(EncodeClaimsError::EmptyOutcome),
            Ok(jwt) => (Some(jwt), None),
            Err(error) => (None, Some(error)),
        };
        let registered = RegisteredClaims {
            audience: self.audience.as_str(),
            expires_at_secs: 0,
            issued_at_secs: self.issued_at_secs,
            issuer: key.public().as_str(),
            name: "",
            subject: self.subject.as_str(),
        };
        let nats = NatsClaims {
            jwt,
            error,
            issuer_account: self.issuer_account,
            r#type: RESPONSE_TYPE,
            version: CLAIMS_VERSION,
        };
        Ok(token::encode(&registered, &nats, key))
    }
}

#[derive(Serialize)]
struct NatsClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_account: Option<&'a AccountKey>,
    r#type: &'static str,
    version: i64,
}
