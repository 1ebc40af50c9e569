mod idp;
mod mint;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::oidc::{AccessToken, OidcConfig, OidcError, OidcVerifier};
use leafgate_identity::UnixMs;
use leafgate_runtime::{Clock, SetUpProblems};
use serde_json::{Value, json};

pub(crate) use self::idp::{Answer, Idp};
pub(crate) use self::mint::{SigningKey, b64, first_rsa, p256, second_rsa};

/// 2026-03-01T12:00:00Z.
pub(crate) const NOW_SECS: i64 = 1_772_366_400;

pub(crate) const AUDIENCE: &str = "https://fleet.example/api";

/// Clocks that move when they are told to.
#[derive(Debug)]
pub(crate) struct SetClock {
    wall_ms: AtomicI64,
    monotonic_ms: AtomicU64,
}

impl SetClock {
    fn new() -> Self {
        Self {
            wall_ms: AtomicI64::new(NOW_SECS * 1_000),
            monotonic_ms: AtomicU64::new(5_000),
        }
    }

    pub(crate) fn advance(&self, secs: u64) {
        let ms = secs * 1_000;
        self.wall_ms.fetch_add(ms as i64, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMs {
        UnixMs::new(self.wall_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst))
    }
}

/// A verifier and the provider that it asks.
pub(crate) struct Bench {
    pub(crate) idp: Idp,
    pub(crate) clock: SetClock,
    pub(crate) verifier: OidcVerifier,
}

impl Bench {
    /// With the first RSA key as `rsa-1` and the P-256 key as `ec-1`.
    pub(crate) async fn start() -> Self {
        Self::with_config("").await
    }

    /// With these lines more in the configuration.
    pub(crate) async fn with_config(more: &str) -> Self {
        let idp = Idp::start(json!([first_rsa().jwk("rsa-1"), p256().jwk("ec-1")])).await;
        let verifier = verifier(&config(&idp, more));
        let clock = SetClock::new();
        Self {
            idp,
            clock,
            verifier,
        }
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<AccessToken, OidcError> {
        let verdict = self.verifier.verify(token, &self.clock).await;
        if let Err(error) = &verdict {
            assert_tells_nothing_of(error, token);
        }
        verdict
    }

    /// Why the token is refused; `admitted` if it is not.
    pub(crate) async fn reason(&self, token: &str) -> &'static str {
        let verdict = self.verify(token).await;
        verdict.map_or_else(|error| error.reason(), |_| "admitted")
    }

    /// The claims of a good token, an hour before it ends.
    pub(crate) fn claims(&self) -> Value {
        let now = self.clock.now().as_secs();
        json!({
            "iss": self.idp.issuer(),
            "aud": AUDIENCE,
            "sub": "2f41",
            "email": "ann@example.com",
            "iat": now,
            "exp": now + 3_600,
            "roles": ["staff", "fleet-operators"],
        })
    }

    /// A token like the good one, but for these claims; those that are null are left out.
    pub(crate) fn token_but(&self, claims: &Value) -> String {
        self.token_with(
            &json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa-1"}),
            claims,
        )
    }

    /// As [`Self::token_but`], with this header.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        first_rsa().sign(header, &self.claims_but(claims))
    }

    pub(crate) fn claims_but(&self, but: &Value) -> Value {
        let mut claims = self.claims();
        let members = claims.as_object_mut().unwrap();
        for (claim, value) in but.as_object().unwrap() {
            if value.is_null() {
                members.remove(claim);
            } else {
                members.insert(claim.clone(), value.clone());
            }
        }
        claims
    }

    /// A good token.
    pub(crate) fn token(&self) -> String {
        self.token_but(&json!({}))
    }

    /// A good token of another key.
    pub(crate) fn token_of(&self, key: &SigningKey, kid: &str) -> String {
        key.sign(&json!({"alg": key.algorithm(), "kid": kid}), &self.claims())
    }
}

pub(crate) fn config(idp: &Idp, more: &str) -> OidcConfig {
    let text = format!(
        r#"
        issuer = "{}"
        audience = "{AUDIENCE}"
        ca_file = "{}"
        {more}
        [[grant]]
        value = "fleet-admins"
        roles = ["admin"]
        scope.sites = "*"
        [[grant]]
        value = "fleet-operators"
        roles = ["operator", "auditor"]
        scope.sites = ["north"]
        [[grant]]
        value = "fleet-makers"
        roles = ["provisioner"]
        scope.device_types = ["pump"]
        "#,
        idp.issuer(),
        idp.ca_file().display(),
    );
    toml::from_str(&text).unwrap()
}

pub(crate) fn verifier(config: &OidcConfig) -> OidcVerifier {
    let mut problems = SetUpProblems::default();
    let loaded = OidcVerifier::load(config, &mut problems);
    problems.finish(loaded).unwrap()
}

/// That neither form of an error holds a part of the token.
fn assert_tells_nothing_of(error: &OidcError, token: &str) {
    let parts = token.split('.').filter(|part| part.len() >= 8);
    for part in parts {
        for told in [error.to_string(), format!("{error:?}")] {
            assert!(!told.contains(part), "{told}");
        }
    }
}
