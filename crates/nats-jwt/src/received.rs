//! Reading answers as a server does: for tests, load and diagnosis.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::key::{AccountKey, ParseKeyError, ServerKey, UserKey};
use crate::response::RESPONSE_TYPE;
use crate::text::Excerpt;
use crate::token::{self, CLAIMS_VERSION, DecodeTokenError};
use crate::user::{Limits, ResponsePermission, USER_TYPE};

/// Why a token is no authentic response or user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeResponseError {
    /// The form of the token.
    #[error(transparent)]
    Token(#[from] DecodeTokenError),
    /// A claim that should be a key is none of the right kind.
    #[error("the claim {claim} is not a valid public key of its kind")]
    Key {
        /// The claim, as a path.
        claim: &'static str,
        /// What is wrong with it.
        #[source]
        source: ParseKeyError,
    },
    /// The signature is not the issuer's.
    #[error("the signature is not that of the issuer {issuer}")]
    Signature {
        /// The account that is said to have signed.
        issuer: AccountKey,
    },
    /// Claims of another type or version.
    #[error(
        "these are claims of type {found}, version {version}, not \"{expected}\", version {CLAIMS_VERSION}"
    )]
    Type {
        /// The type expected.
        expected: &'static str,
        /// The type found.
        found: Excerpt,
        /// The version found.
        version: i64,
    },
    /// Not exactly one of `jwt` and `error`.
    #[error("a response has either a user JWT or an error, this one has both or none")]
    Outcome,
}

/// An authentic response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedResponse {
    /// `iss`
    pub issuer: AccountKey,
    /// `sub`: for which log-in attempt.
    pub subject: UserKey,
    /// `aud`: for which server.
    pub audience: ServerKey,
    /// `iat`, Unix time.
    pub issued_at_secs: i64,
    /// A user JWT, or why there is none.
    pub outcome: Result<String, String>,
    /// The account, when one of its signing keys signed.
    pub issuer_account: Option<AccountKey>,
}

impl VerifiedResponse {
    /// Reads a response and checks its signature. Whether the issuer is the right one is the
    /// caller's question.
    pub fn decode(token: &[u8]) -> Result<Self, DecodeResponseError> {
        let (issuer, claims) = open::<ResponseWire>(token)?;
        expect_type(RESPONSE_TYPE, &claims.nats.r#type, claims.nats.version)?;
        let outcome = match (claims.nats.jwt, claims.nats.error) {
            (jwt, error) if error.is_empty() && !jwt.is_empty() => Ok(jwt),
            (jwt, error) if jwt.is_empty() && !error.is_empty() => Err(error),
            _ => return Err(DecodeResponseError::Outcome),
        };
        Ok(Self {
            issuer,
            subject: UserKey::parse(&claims.sub).map_err(of("sub"))?,
            audience: ServerKey::parse(&claims.aud).map_err(of("aud"))?,
            issued_at_secs: claims.iat,
            outcome,
            issuer_account: parse_issuer_account(&claims.nats.issuer_account)?,
        })
    }
}

/// An authentic user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedUser {
    /// `iss`
    pub issuer: AccountKey,
    /// `sub`
    pub subject: UserKey,
    /// `name`
    pub name: String,
    /// `aud`: in config mode the account's name.
    pub audience: String,
    /// `iat`, Unix time.
    pub issued_at_secs: i64,
    /// `exp`, Unix time; `None`: never.
    pub expires_at_secs: Option<i64>,
    /// Subjects that may be published to.
    pub publish_allow: Vec<String>,
    /// Subjects that may not be published to.
    pub publish_deny: Vec<String>,
    /// Subjects that may be subscribed.
    pub subscribe_allow: Vec<String>,
    /// Subjects that may not be subscribed.
    pub subscribe_deny: Vec<String>,
    /// Publishing to reply subjects.
    pub responses: Option<ResponsePermission>,
    /// `STANDARD`, `MQTT`, …; none: any.
    pub allowed_connection_types: Vec<String>,
    /// Networks in CIDR notation; none: any.
    pub source_networks: Vec<String>,
    /// Numbers.
    pub limits: Limits,
    /// The account, when one of its signing keys signed.
    pub issuer_account: Option<AccountKey>,
    /// Names of the claims under `nats` that are not read here; they may narrow or widen the rest.
    pub other_claims: Vec<String>,
}

impl VerifiedUser {
    /// Reads a user and checks its signature. Whether the issuer is the right one, and the user
    /// still valid, is the caller's question.
    pub fn decode(token: &[u8]) -> Result<Self, DecodeResponseError> {
        let (issuer, claims) = open::<UserWire>(token)?;
        let nats = claims.nats;
        expect_type(USER_TYPE, &nats.r#type, nats.version)?;
        Ok(Self {
            issuer,
            subject: UserKey::parse(&claims.sub).map_err(of("sub"))?,
            name: claims.name,
            audience: claims.aud,
            issued_at_secs: claims.iat,
            expires_at_secs: (claims.exp > 0).then_some(claims.exp),
            publish_allow: nats.publish.allow,
            publish_deny: nats.publish.deny,
            subscribe_allow: nats.subscribe.allow,
            subscribe_deny: nats.subscribe.deny,
            responses: nats.resp,
            allowed_connection_types: nats.allowed_connection_types,
            source_networks: nats.src,
            limits: Limits::from_wire(nats.subs, nats.data, nats.payload),
            issuer_account: parse_issuer_account(&nats.issuer_account)?,
            other_claims: nats.other.into_keys().collect(),
        })
    }
}

fn of(claim: &'static str) -> impl FnOnce(ParseKeyError) -> DecodeResponseError {
    move |source| DecodeResponseError::Key { claim, source }
}

fn parse_issuer_account(text: &str) -> Result<Option<AccountKey>, DecodeResponseError> {
    if text.is_empty() {
        return Ok(None);
    }
    AccountKey::parse(text)
        .map(Some)
        .map_err(of("nats.issuer_account"))
}

fn expect_type(
    expected: &'static str,
    found: &str,
    version: i64,
) -> Result<(), DecodeResponseError> {
    if found == expected && version == CLAIMS_VERSION {
        return Ok(());
    }
    Err(DecodeResponseError::Type {
        expected,
        found: Excerpt::of(found),
        version,
    })
}

fn open<T: for<'a> Deserialize<'a>>(
    token: &[u8],
) -> Result<(AccountKey, Wire<T>), DecodeResponseError> {
    let parts = token::split(token)?;
    let claims: Wire<T> = token::parse_claims(&parts.claims)?;
    let issuer = AccountKey::parse(&claims.iss).map_err(of("iss"))?;
    token::signature_item(issuer.raw(), parts.signature, parts.signed)
        .verify_single()
        .map_err(|_| DecodeResponseError::Signature { issuer })?;
    Ok((issuer, claims))
}

#[derive(Deserialize)]
struct Wire<T> {
    #[serde(default)]
    aud: String,
    #[serde(default)]
    exp: i64,
    #[serde(default)]
    iat: i64,
    iss: String,
    #[serde(default)]
    name: String,
    sub: String,
    nats: T,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseWire {
    jwt: String,
    error: String,
    issuer_account: String,
    r#type: String,
    version: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UserWire {
    #[serde(rename = "pub")]
    publish: RulesWire,
    #[serde(rename = "sub")]
    subscribe: RulesWire,
    resp: Option<ResponsePermission>,
    src: Vec<String>,
    subs: i64,
    data: i64,
    payload: i64,
    allowed_connection_types: Vec<String>,
    issuer_account: String,
    r#type: String,
    version: i64,
    #[serde(flatten)]
    other: BTreeMap<String, IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RulesWire {
    allow: Vec<String>,
    deny: Vec<String>,
}

#[cfg(test)]
mod tests;
