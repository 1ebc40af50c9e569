//! Who asks: the bearer of an API key or of an access token, or the holder of a client certificate that the configuration
//! names.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use leafgate_access::{ApiKey, ApiKeyId, ApiKeyText, Principal};
use leafgate_api::ProblemType;
use leafgate_identity::UnixMs;
use leafgate_registrar::{Registrar, RegistrarError};
use quick_cache::sync::Cache;
use rustls::pki_types::CertificateDer;

use crate::app::App;
use crate::clients::ClientRefusal;
use crate::listener::Peer;
use crate::oidc::{OidcError, OidcVerifier};
use crate::problem::Problem;

/// How long a key is known without being read again: what another process revokes counts here no longer than that.
const KNOWN_FOR: Duration = Duration::from_secs(1);
const KNOWN_KEYS: usize = 1_024;

/// Whoever asks, in the extensions of the request and of its answer.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    credential: Credential,
}

/// By what a caller was known.
#[derive(Debug, Clone)]
enum Credential {
    ApiKey(ApiKeyId),
    AccessToken { expires_at: UnixMs },
    Certificate(Arc<[CertificateDer<'static>]>),
}

/// Lets only those through that are known; every route behind it has a [`Caller`].
pub(crate) async fn authenticate(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>();
    match identify(&app, peer, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            let mut response = next.run(request).await;
            response.extensions_mut().insert(caller);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn identify(app: &App, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Caller, Problem> {
    let Some(text) = bearer(headers) else {
        return by_certificate(app, peer);
    };
    let address = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.address.ip());
    if let Some(verifier) = &app.oidc
        && OidcVerifier::is_candidate(text)
    {
        return by_access_token(app, verifier, address, text).await;
    }
    let presented = ApiKeyText::parse(text);
    let id = presented.as_ref().ok().map(|presented| &presented.id);
    let now = app.clock.monotonic();
    if let Some(wait) = app.guesses.wait(address, id, now) {
        let detail = "too many wrong credentials; wait before the next attempt";
        return Err(Problem::new(ProblemType::AttemptsTooMany, detail).retry_after(wait));
    }
    let wrong = |detail: String| {
        app.guesses.failed(address, id, now);
        Problem::new(ProblemType::CredentialsInvalid, detail)
    };
    let presented = match &presented {
        Ok(presented) => presented,
        Err(error) => return Err(wrong(error.to_string())),
    };
    let found = app
        .api_keys
        .find(&app.registrar, &presented.id, now)
        .await?;
    match found.filter(|key| key.is(presented)) {
        None => Err(wrong("no API key is like this one".to_owned())),
        Some(key) => {
            app.guesses.succeeded(address, &key.id);
            check_counts(app, &key)?;
            Ok(Caller {
                principal: key.principal(),
                credential: Credential::ApiKey(key.id),
            })
        }
    }
}

/// A good token is never made to wait: nobody guesses a signature, and whoever tries shall slow down only themselves.
async fn by_access_token(
    app: &App,
    verifier: &OidcVerifier,
    address: IpAddr,
    text: &str,
) -> Result<Caller, Problem> {
    let error = match verifier.verify(text, &*app.clock).await {
        Ok(token) => {
            return Ok(Caller {
                principal: token.principal,
                credential: Credential::AccessToken {
                    expires_at: token.expires_at,
                },
            });
        }
        Err(error) => error,
    };
    tracing::info!(%address, reason = error.reason(), %error, "access token refused");
    let detail = error.to_string();
    match error {
        OidcError::KeysUnavailable { retry_after } => Err(Problem::new(
            ProblemType::IdentityProviderUnavailable,
            detail,
        )
        .retry_after(retry_after)),
        OidcError::GrantNone { .. } => Err(Problem::new(ProblemType::RoleInsufficient, detail)),
        _ => {
            let now = app.clock.monotonic();
            if let Some(wait) = app.guesses.wait(address, None, now) {
                let detail = "too many wrong credentials; wait before the next attempt";
                return Err(Problem::new(ProblemType::AttemptsTooMany, detail).retry_after(wait));
            }
            app.guesses.failed(address, None, now);
            Err(Problem::new(ProblemType::CredentialsInvalid, detail))
        }
    }
}

/// Only who has shown the secret is told what became of the key.
fn check_counts(app: &App, key: &ApiKey) -> Result<(), Problem> {
    if key.counts(app.clock.now()) {
        return Ok(());
    }
    let detail = match key.revoked_at {
        Some(at) => format!("this API key was revoked at {at}"),
        None => format!("this API key ended at {}", key.expires_at),
    };
    Err(Problem::new(ProblemType::CredentialsInvalid, detail))
}

/// A certificate that does not count is answered with 401 and a challenge like one that is missing, not with 403
/// (RFC 9110 section 15.5.2): with another credential the request may succeed. A device's is such a one.
fn by_certificate(app: &App, peer: Option<&Peer>) -> Result<Caller, Problem> {
    let presented = peer.map(|peer| Arc::clone(&peer.certificates));
    let presented = presented.unwrap_or_default();
    let principal = holder(app, &presented)?;
    Ok(Caller {
        principal,
        credential: Credential::Certificate(presented),
    })
}

/// Who holds these certificates, as of this moment.
fn holder(app: &App, presented: &[CertificateDer<'static>]) -> Result<Principal, Problem> {
    let clients = app.clients.as_ref().filter(|_| !presented.is_empty());
    let refusal = match clients.map(|clients| clients.identify(presented, app.clock.now())) {
        Some(Ok(principal)) => return Ok(principal),
        Some(Err(refusal)) => refusal,
        None => ClientRefusal::Unverified,
    };
    let why = match refusal {
        ClientRefusal::GrantNone { common_name } => {
            let detail = format!("nothing is granted to the client certificate of {common_name:?}");
            return Err(Problem::new(ProblemType::RoleInsufficient, detail));
        }
        ClientRefusal::Revoked => "the client certificate of this connection is revoked; ",
        ClientRefusal::RevocationUnknown => {
            "no current revocation list of its CA tells whether the client certificate of this connection is revoked; "
        }
        ClientRefusal::Unverified if presented.is_empty() => "",
        ClientRefusal::Unverified => {
            "the certificate of this connection gives no right here, as no device's does; "
        }
    };
    let what = match app.oidc {
        Some(_) => "an API key or an access token",
        None => "an API key",
    };
    let detail = format!("{why}send {what} as Authorization: Bearer …");
    Err(Problem::new(ProblemType::CredentialsInvalid, detail))
}

/// RFC 6750 section 2.1; the scheme's name is without regard to case (RFC 9110 section 11.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start_matches(' '))
}

impl App {
    /// That what the caller was known by still counts: asked again by whoever answers for longer than a moment.
    pub(crate) async fn still_counts(&self, caller: &Caller) -> Result<(), Problem> {
        let id = match &caller.credential {
            Credential::ApiKey(id) => id,
            Credential::AccessToken { expires_at } => {
                if self.clock.now() < *expires_at {
                    return Ok(());
                }
                let detail = format!("the access token ended at {expires_at}");
                return Err(Problem::new(ProblemType::CredentialsInvalid, detail));
            }
            Credential::Certificate(presented) => return holder(self, presented).map(|_| ()),
        };
        let now = self.clock.monotonic();
        let found = self.api_keys.find(&self.registrar, id, now).await?;
        match found {
            Some(key) => check_counts(self, &key),
            None => Err(RegistrarError::ApiKeyUnknown { id: id.clone() }.into()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(ProblemType::CredentialsInvalid, "nobody was identified"))
    }
}

/// API keys, each read from the registry at most once a second.
#[derive(Debug)]
pub(crate) struct ApiKeys {
    known: Cache<ApiKeyId, (Duration, ApiKey)>,
}

impl ApiKeys {
    pub(crate) fn new() -> Self {
        Self {
            known: Cache::new(KNOWN_KEYS),
        }
    }

    /// The key with this id. `now` is of the monotonic clock.
    async fn find(
        &self,
        registrar: &Registrar,
        id: &ApiKeyId,
        now: Duration,
    ) -> Result<Option<ApiKey>, RegistrarError> {
        let known = self.known.get(id);
        if let Some((_, key)) = known.filter(|(read, _)| now < *read + KNOWN_FOR) {
            return Ok(Some(key));
        }
        let found = registrar.api_key(id).await?;
        match &found {
            Some(key) => self.known.insert(id.clone(), (now, key.clone())),
            None => {
                self.known.remove(id);
            }
        }
        Ok(found)
    }

    /// Forgets a key that was changed here.
    pub(crate) fn forget(&self, id: &ApiKeyId) {
        self.known.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_is_read_whatever_the_case_of_the_scheme() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        for value in ["Bearer lgk_a_b", "bearer lgk_a_b", "BEARER  lgk_a_b"] {
            assert_eq!(of(value).as_deref(), Some("lgk_a_b"));
        }
        for value in ["lgk_a_b", "Basic bGdr", "Bearer"] {
            assert_eq!(of(value), None);
        }
    }
}
