//! Log-in of people by access tokens of an OpenID provider (JWT, in the profile of RFC 9068 as far as providers keep to
//! it).
//!
//! A token is believed if a key of the provider's, of those that its documents list now, has signed it by an accepted
//! algorithm that is the key's own; the token only chooses among these. It must then be from the configured issuer, for
//! the configured audience, in its time, and an access token:
//!
//! - Its header's `typ` is `at+jwt`, or `JWT` or missing, as many providers have it.
//! - ID tokens say to a client who logged in there, and are in many hands; they give no access. What keeps them out is
//!   the audience, which is the client's in theirs. In case a client is called like this API, a token not typed
//!   `at+jwt` is also refused for the claims that only ID tokens have (`nonce`, `at_hash`, `c_hash`, `s_hash`); any
//!   token for `typ: "ID"` or a `token_use` other than `access` among its claims, or `events`, as in orders to log out.
//! - It is not bound to a key of its bearer (`cnf`). Nobody is asked to prove here that they have the key, and without
//!   that a stolen token would be as good as one's own.
//!
//! Whoever bears it is named `oidc:` and a claim, and has the authority of the first grant, in the order of the file,
//! for a role in it, and nothing of the others.

mod algorithm;
mod claims;
mod config;
mod error;
mod key_cache;
mod keys;
mod provider;
mod token;

#[cfg(test)]
mod tests;

use std::fmt;

use leafgate_access::Principal;
use leafgate_identity::UnixMs;
use leafgate_runtime::{Clock, SetUpProblems};

pub use self::algorithm::SigningAlgorithm;
pub use self::config::{ClaimPath, OidcConfig, OidcGrantConfig};
pub(crate) use self::error::OidcError;

use self::claims::ClaimRules;
use self::key_cache::KeyCache;
use self::provider::Provider;
use self::token::SignedToken;

/// Tells who bears an access token.
pub(crate) struct OidcVerifier {
    accepted: Vec<SigningAlgorithm>,
    rules: ClaimRules,
    keys: KeyCache,
}

/// A good access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessToken {
    /// Whoever bears it.
    pub(crate) principal: Principal,
    /// When it stops to count, the leeway included; for whoever answers for longer than a moment.
    pub(crate) expires_at: UnixMs,
}

impl OidcVerifier {
    /// Checks the configuration and reads the file that it names. The provider is not asked before it is needed.
    pub(crate) fn load(config: &OidcConfig, problems: &mut SetUpProblems) -> Option<Self> {
        config.check(problems);
        let provider = match Provider::new(config) {
            Ok(provider) => provider,
            Err(error) => {
                let place = format!("[oidc] {}", error.key());
                return problems.note(&place, Err(error.into()));
            }
        };
        let keys = KeyCache::new(provider, config.refresh_after(), config.stale_after());
        Some(Self {
            accepted: config.algorithms.clone(),
            rules: ClaimRules::new(config),
            keys,
        })
    }

    /// Whether a bearer's text may be an access token, rather than something else that is borne: a JWT has dots.
    pub(crate) fn is_candidate(text: &str) -> bool {
        text.contains('.')
    }

    /// Tells who bears the token. It waits for the provider if its keys are not at hand.
    ///
    /// # Errors
    /// [`OidcError`]. With [`OidcError::KeysUnavailable`] the token may be good.
    pub(crate) async fn verify(
        &self,
        token: &str,
        clock: &dyn Clock,
    ) -> Result<AccessToken, OidcError> {
        let token = SignedToken::parse(token, &self.accepted)?;
        let claims = self.keys.verify(&token, clock.monotonic()).await?;
        self.rules.admit(&claims, token.is_typed, clock.now())
    }
}

impl fmt::Debug for OidcVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcVerifier")
            .field("accepted", &self.accepted)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
