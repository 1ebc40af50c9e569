use std::time::Duration;

use leafgate_access::{Authority, Principal};
use leafgate_identity::UnixMs;
use leafgate_registry::Actor;
use serde_json::Value;

use super::AccessToken;
use super::config::{ClaimPath, OidcConfig, OidcGrantConfig};
use super::error::OidcError;
use super::token::Claims;

/// What ID tokens have and access tokens don't (OpenID Connect Core 1.0 section 3.3.2.11, FAPI 1.0 part 2 section 5.1).
const ID_TOKEN_CLAIMS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// What the names of those begin with who come by an access token.
const PREFIX: &str = "oidc:";

/// What the claims of a signed token must say, and whom they then make of its bearer.
#[derive(Debug)]
pub(super) struct ClaimRules {
    issuer: String,
    audience: String,
    leeway: Duration,
    max_token_age: Option<Duration>,
    roles_claim: ClaimPath,
    name_claims: Vec<String>,
    grants: Vec<(String, Authority)>,
}

impl ClaimRules {
    pub(super) fn new(config: &OidcConfig) -> Self {
        let grant = |grant: &OidcGrantConfig| (grant.value.clone(), grant.authority());
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: config.leeway(),
            max_token_age: config.max_token_age(),
            roles_claim: config.roles_claim.clone(),
            name_claims: config.name_claims.clone(),
            grants: config.grants.iter().map(grant).collect(),
        }
    }

    /// Judges the claims of a token whose signature was checked. `is_typed` if its header says that it is an access
    /// token.
    pub(super) fn admit(
        &self,
        claims: &Claims,
        is_typed: bool,
        now: UnixMs,
    ) -> Result<AccessToken, OidcError> {
        self.check_issuer(claims)?;
        check_use(claims, is_typed)?;
        self.check_audience(claims)?;
        let expires_at = self.check_times(claims, now)?;
        let name = self.name(claims)?;
        let authority = self.authority(claims, &name)?;
        Ok(AccessToken {
            principal: Principal { name, authority },
            expires_at,
        })
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), OidcError> {
        let issuer = text(claims, "iss")?.ok_or(OidcError::ClaimMissing { claim: "iss" })?;
        if issuer != self.issuer {
            return Err(OidcError::IssuerMismatch {
                expected: self.issuer.clone(),
            });
        }
        Ok(())
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), OidcError> {
        let audience = claims
            .get("aud")
            .filter(|audience| !audience.is_null())
            .ok_or(OidcError::ClaimMissing { claim: "aud" })?;
        let audiences = texts(audience).ok_or_else(|| malformed("aud"))?;
        if !audiences.contains(&self.audience.as_str()) {
            return Err(OidcError::AudienceMismatch {
                expected: self.audience.clone(),
            });
        }
        Ok(())
    }

    /// When the token stops to count.
    fn check_times(&self, claims: &Claims, now: UnixMs) -> Result<UnixMs, OidcError> {
        let expires_at = time(claims, "exp")?.ok_or(OidcError::ClaimMissing { claim: "exp" })?;
        let issued_at = time(claims, "iat")?;
        let from = issued_at.max(time(claims, "nbf")?);
        let ends_at = match (self.max_token_age, issued_at) {
            (None, _) => expires_at,
            (Some(age), Some(issued_at)) => expires_at.min(issued_at.saturating_add(age)),
            (Some(_), None) => return Err(OidcError::ClaimMissing { claim: "iat" }),
        };
        let counts_until = ends_at.saturating_add(self.leeway);
        if now >= counts_until {
            return Err(OidcError::TokenExpired { at: ends_at });
        }
        match from {
            Some(from) if now < from.saturating_sub(self.leeway) => {
                Err(OidcError::TokenNotYetValid { from })
            }
            _ => Ok(counts_until),
        }
    }

    fn name(&self, claims: &Claims) -> Result<String, OidcError> {
        for claim in &self.name_claims {
            if claim == "email" && !may_be_verified(claims) {
                continue;
            }
            let Some(name) = text(claims, claim)? else {
                continue;
            };
            let named = Actor::parse(&format!("{PREFIX}{name}"));
            return match named {
                Ok(actor) if !name.is_empty() => Ok(actor.as_str().to_owned()),
                _ => Err(OidcError::NameMalformed {
                    claim: claim.clone(),
                    max_bytes: Actor::MAX_LEN - PREFIX.len(),
                }),
            };
        }
        Err(OidcError::NameMissing {
            claims: self.name_claims.join(", "),
        })
    }

    /// The first grant that matches counts alone. Together, two grants would give what neither does: the roles of the
    /// one in the scope of the other.
    fn authority(&self, claims: &Claims, name: &str) -> Result<Authority, OidcError> {
        let roles = self.roles(claims)?;
        let granted = self
            .grants
            .iter()
            .find(|(value, _)| roles.contains(&value.as_str()));
        granted
            .map(|(_, authority)| authority.clone())
            .ok_or_else(|| OidcError::GrantNone {
                name: name.to_owned(),
            })
    }

    fn roles<'c>(&self, claims: &'c Claims) -> Result<Vec<&'c str>, OidcError> {
        let path = &self.roles_claim;
        let is_scope = path.name() == "scope" || path.name() == "scp";
        match path.find_in(claims) {
            None | Some(Value::Null) => Ok(Vec::new()),
            // RFC 8693 section 4.2: scopes with blanks between.
            Some(Value::String(scopes)) if is_scope => Ok(scopes.split(' ').collect()),
            Some(value) => texts(value).ok_or_else(|| malformed(&path.to_string())),
        }
    }
}

/// That it is an access token, and one that counts for whoever bears it.
fn check_use(claims: &Claims, is_typed: bool) -> Result<(), OidcError> {
    if let Some(what) = sign_of_another_use(claims, is_typed) {
        return Err(OidcError::NotAccessToken { what });
    }
    // RFC 7800 section 3.1; RFC 8705 section 3.1 and RFC 9449 section 6.1 use it in access tokens.
    if claims.contains_key("cnf") {
        return Err(OidcError::TokenBound);
    }
    Ok(())
}

fn sign_of_another_use(claims: &Claims, is_typed: bool) -> Option<&'static str> {
    let says = |claim: &str, value: &str| claims.get(claim).is_some_and(|said| said == value);
    let has_id_claim = ID_TOKEN_CLAIMS
        .iter()
        .any(|claim| claims.contains_key(*claim));
    if has_id_claim && !is_typed {
        Some("it has a claim of ID tokens: nonce, at_hash, c_hash or s_hash")
    } else if says("typ", "ID") {
        Some("its claim typ is ID")
    } else if claims.contains_key("token_use") && !says("token_use", "access") {
        Some("its claim token_use is not access")
    } else if claims.contains_key("events") {
        // RFC 8417 section 2.2; among them are the orders to log somebody out.
        Some("it has the claim events, as security events have")
    } else {
        None
    }
}

/// Whether the provider does not say that the address is anybody's word.
fn may_be_verified(claims: &Claims) -> bool {
    match claims.get("email_verified") {
        None => true,
        Some(verified) => verified == &Value::Bool(true) || verified == "true",
    }
}

fn text<'c>(claims: &'c Claims, claim: &str) -> Result<Option<&'c str>, OidcError> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed(claim)),
    }
}

/// One text, or a list of them.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Seconds since the Unix epoch, perhaps with a fraction (RFC 7519 section 2, NumericDate).
fn time(claims: &Claims, claim: &str) -> Result<Option<UnixMs>, OidcError> {
    let Some(value) = claims.get(claim).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let time = match (value.as_i64(), value.as_f64()) {
        (Some(secs), _) => UnixMs::from_secs(secs),
        // What lies beyond all times becomes the first or the last.
        (None, Some(secs)) => UnixMs::new((secs * 1_000.0) as i64),
        (None, None) => return Err(malformed(claim)),
    };
    Ok(Some(time))
}

fn malformed(claim: &str) -> OidcError {
    OidcError::ClaimMalformed {
        claim: claim.to_owned(),
    }
}
