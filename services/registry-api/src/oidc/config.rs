use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leafgate_access::{Authority, Roles, Scope};
use leafgate_runtime::SetUpProblems;
use reqwest::Url;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::algorithm::SigningAlgorithm;
use super::key_cache::REFRESH_PAUSE;
use super::token::Claims;

/// The longest that keys may go unread. One that its provider withdraws, since somebody else has it, counts that long
/// where the provider can't be reached.
const MAX_STALE_SECS: u64 = 30 * 24 * 3600;

/// The most that the clocks of the issuer and of this machine may be said to differ.
const MAX_LEEWAY_SECS: u64 = 600;

/// `[oidc]`: people log in with access tokens (JWT) of one OpenID provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// The provider's issuer identifier, exactly as it stands in `iss`, such as
    /// `https://login.example.com/realms/fleet`.
    pub issuer: String,
    /// What stands in `aud` of tokens for this API. It must not be the id of a client: that is the audience of ID tokens.
    pub audience: String,
    /// Certificates, in PEM, of those who may have signed the provider's; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// The signature algorithms that are accepted.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<SigningAlgorithm>,
    /// Where the provider's keys are; without it as `<issuer>/.well-known/openid-configuration` says.
    pub jwks_url: Option<String>,
    /// The claim with the roles that grants are for.
    #[serde(default = "default_roles_claim")]
    pub roles_claim: ClaimPath,
    /// The claims that may name a person, the first that is there counts. `email` is passed over if `email_verified` is
    /// there and not true.
    #[serde(default = "default_name_claims")]
    pub name_claims: Vec<String>,
    /// Who may do what. Of several that match, the first counts, and it alone.
    #[serde(default, rename = "grant")]
    pub grants: Vec<OidcGrantConfig>,
    /// How far the provider's clock may be from this one, in seconds.
    #[serde(default = "default_leeway_secs")]
    pub leeway_secs: u64,
    /// For how long after `iat` a token counts at most, in seconds, whatever its `exp` says.
    pub max_token_age_secs: Option<u64>,
    /// After how long keys are read again before they are used, in seconds.
    #[serde(default = "default_jwks_refresh_secs")]
    pub jwks_refresh_secs: u64,
    /// For how long keys count when they can't be read again, in seconds.
    #[serde(default = "default_jwks_stale_secs")]
    pub jwks_stale_secs: u64,
    /// How long reading the keys may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

/// `[[oidc.grant]]`: what people with a role of the provider's may do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcGrantConfig {
    /// A value of the roles claim, exactly.
    pub value: String,
    /// The roles that they have here.
    pub roles: Roles,
    /// The devices that they reach. It has to be written, even where it is all of them: `scope.sites = "*"`.
    pub scope: Scope,
}

/// Where a claim stands: its name, or the names of the objects around it and its own. In TOML a text whose dots part
/// the names, or a list of names where one has dots in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// The claim's own name.
    pub(super) fn name(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// What is there, if anything.
    pub(super) fn find_in<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        let (outermost, deeper) = self.0.split_first()?;
        deeper
            .iter()
            .try_fold(claims.get(outermost)?, |value, name| value.get(name))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl<'de> Deserialize<'de> for ClaimPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Dotted(String),
            Names(Vec<String>),
        }
        let expected = || {
            serde::de::Error::custom(
                "write the name of a claim, such as \"roles\" or \"realm_access.roles\", or a list of names",
            )
        };
        let names = match Form::deserialize(deserializer).map_err(|_| expected())? {
            Form::Dotted(dotted) => dotted.split('.').map(str::to_owned).collect(),
            Form::Names(names) => names,
        };
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(expected());
        }
        Ok(Self(names))
    }
}

impl OidcConfig {
    /// Takes the paths as relative to `folder`.
    pub fn resolve_paths(&mut self, folder: &Path) {
        if let Some(path) = &mut self.ca_file {
            *path = folder.join(&*path);
        }
    }

    /// Adds what is wrong with the values, whatever the network says. The URLs are checked by whoever uses them.
    pub(super) fn check(&self, problems: &mut SetUpProblems) {
        let mut check = |key: &str, good: bool, rule: &str| {
            if !good {
                problems.add(format!("[oidc] {key}: {rule}"));
            }
        };
        check("audience", !self.audience.is_empty(), "must not be empty");
        check(
            "algorithms",
            !self.algorithms.is_empty(),
            "must name one at least",
        );
        check(
            "name_claims",
            !self.name_claims.is_empty() && self.name_claims.iter().all(|claim| !claim.is_empty()),
            "must name one claim at least, and none by an empty name",
        );
        check(
            "leeway_secs",
            self.leeway_secs <= MAX_LEEWAY_SECS,
            "must be 600 (10 minutes) at most: set the clocks instead",
        );
        check(
            "max_token_age_secs",
            self.max_token_age_secs != Some(0),
            "must be at least 1",
        );
        check(
            "jwks_refresh_secs",
            self.refresh_after() >= REFRESH_PAUSE,
            "must be at least 30: keys are not read more often than that",
        );
        check(
            "jwks_stale_secs",
            (self.jwks_refresh_secs..=MAX_STALE_SECS).contains(&self.jwks_stale_secs),
            "must be at least jwks_refresh_secs, and 2592000 (30 days) at most",
        );
        check(
            "timeout_ms",
            (1..=10_000).contains(&self.timeout_ms),
            "must be 1 to 10000",
        );
        check(
            "[[oidc.grant]]",
            !self.grants.is_empty(),
            "there must be one at least, or nobody may do anything",
        );
        let mut values = BTreeSet::new();
        for OidcGrantConfig { value, roles, .. } in &self.grants {
            let place = format!("[[oidc.grant]] {value:?}");
            check(
                &place,
                !value.is_empty() && values.insert(value),
                "each value must be there once, and not be empty: of two grants the second would never count",
            );
            check(&place, !roles.is_empty(), "roles must name one at least");
        }
    }

    pub(super) fn leeway(&self) -> Duration {
        Duration::from_secs(self.leeway_secs)
    }

    pub(super) fn max_token_age(&self) -> Option<Duration> {
        self.max_token_age_secs.map(Duration::from_secs)
    }

    pub(super) fn refresh_after(&self) -> Duration {
        Duration::from_secs(self.jwks_refresh_secs)
    }

    pub(super) fn stale_after(&self) -> Duration {
        Duration::from_secs(self.jwks_stale_secs)
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

impl OidcGrantConfig {
    pub(super) fn authority(&self) -> Authority {
        Authority {
            roles: self.roles.clone(),
            scope: self.scope.clone(),
        }
    }
}

/// Reads a URL of the provider's: HTTPS, since whoever answers in its place can let anybody in.
pub(super) fn https_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be a URL such as https://login.example.com")?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() != "https" || !plain {
        return Err("must be a URL of https, without user and fragment");
    }
    Ok(url)
}

fn default_algorithms() -> Vec<SigningAlgorithm> {
    vec![SigningAlgorithm::Rs256, SigningAlgorithm::Es256]
}

fn default_roles_claim() -> ClaimPath {
    ClaimPath(vec!["roles".to_owned()])
}

fn default_name_claims() -> Vec<String> {
    vec!["email".to_owned(), "sub".to_owned()]
}

fn default_leeway_secs() -> u64 {
    60
}

fn default_jwks_refresh_secs() -> u64 {
    600
}

fn default_jwks_stale_secs() -> u64 {
    24 * 3600
}

fn default_timeout_ms() -> u64 {
    5_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"
        issuer = "https://login.example.com"
        audience = "leafgate"
        [[grant]]
        value = "fleet-admins"
        roles = ["admin"]
        scope.sites = "*"
    "#;

    fn problems(more: &str) -> Vec<String> {
        let config: OidcConfig = toml::from_str(&format!("{more}\n{LEAST}")).unwrap();
        let mut problems = SetUpProblems::default();
        config.check(&mut problems);
        problems
            .finish(Some(()))
            .err()
            .map(|error| error.problems().to_vec())
            .unwrap_or_default()
    }

    #[test]
    fn issuer_audience_and_a_grant_are_enough() {
        let config: OidcConfig = toml::from_str(LEAST).unwrap();
        assert_eq!(
            config.algorithms,
            [SigningAlgorithm::Rs256, SigningAlgorithm::Es256]
        );
        assert_eq!(config.roles_claim.to_string(), "roles");
        assert_eq!(config.name_claims, ["email", "sub"]);
        assert_eq!(config.leeway(), Duration::from_secs(60));
        assert_eq!(config.stale_after(), Duration::from_secs(86_400));
        assert_eq!(config.grants[0].scope, Scope::everything());
        assert_eq!(problems(""), [""; 0]);
    }

    #[test]
    fn unknown_keys_and_missing_scopes_are_refused() {
        for wrong in [
            LEAST.replace("audience", "audiences"),
            LEAST.replace("scope.sites = \"*\"", ""),
            LEAST.replace("scope.sites", "scope.site"),
            LEAST.replace("\"admin\"", "\"root\""),
            LEAST.replace("value", "claim"),
        ] {
            assert!(toml::from_str::<OidcConfig>(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_claim_is_named_by_a_path() {
        let path = |value: &str| {
            let config = toml::from_str::<OidcConfig>(&format!("roles_claim = {value}\n{LEAST}"));
            config.map(|config| config.roles_claim.0.join("|"))
        };
        assert_eq!(
            path(r#""realm_access.roles""#).unwrap(),
            "realm_access|roles"
        );
        assert_eq!(
            path(r#"["https://leafgate.example/roles"]"#).unwrap(),
            "https://leafgate.example/roles"
        );
        for wrong in [r#""""#, r#""a..b""#, "[]", r#"[""]"#, "7"] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_wrong_value_is_told_with_its_place() {
        for (wrong, place) in [
            ("algorithms = []", "[oidc] algorithms: "),
            ("name_claims = []", "[oidc] name_claims: "),
            ("name_claims = [\"\"]", "[oidc] name_claims: "),
            ("leeway_secs = 601", "[oidc] leeway_secs: "),
            ("max_token_age_secs = 0", "[oidc] max_token_age_secs: "),
            ("jwks_refresh_secs = 29", "[oidc] jwks_refresh_secs: "),
            ("jwks_stale_secs = 599", "[oidc] jwks_stale_secs: "),
            ("jwks_stale_secs = 2592001", "[oidc] jwks_stale_secs: "),
            ("timeout_ms = 0", "[oidc] timeout_ms: "),
            ("timeout_ms = 10001", "[oidc] timeout_ms: "),
        ] {
            let problems = problems(wrong);
            assert!(
                problems.len() == 1 && problems[0].starts_with(place),
                "{wrong}: {problems:?}"
            );
        }
        let many = problems("leeway_secs = 700\ntimeout_ms = 0");
        assert_eq!(many.len(), 2, "{many:?}");
    }

    #[test]
    fn grants_are_distinct_and_give_something() {
        let grant = |value: &str, roles: &str| {
            format!("[[grant]]\nvalue = \"{value}\"\nroles = {roles}\nscope.sites = [\"north\"]\n")
        };
        let problems = |grants: &str| {
            let head = "issuer = \"https://login.example.com\"\naudience = \"leafgate\"\n";
            let config: OidcConfig = toml::from_str(&format!("{head}{grants}")).unwrap();
            let mut problems = SetUpProblems::default();
            config.check(&mut problems);
            problems.finish(Some(())).is_err()
        };
        let good = grant("a", "[\"viewer\"]");
        assert!(!problems(&format!("{good}{}", grant("b", "[\"viewer\"]"))));
        assert!(problems(""));
        assert!(problems(&format!("{good}{good}")));
        assert!(problems(&grant("", "[\"viewer\"]")));
        assert!(problems(&grant("a", "[]")));
    }

    #[test]
    fn urls_of_the_provider_are_https_without_credentials() {
        for good in ["https://login.example.com", "https://127.0.0.1:8443/a?b=c"] {
            assert!(https_url(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "login.example.com",
            "http://login.example.com",
            "https://me:secret@login.example.com",
            "https://login.example.com/#x",
            "file:///etc/passwd",
        ] {
            let refused = https_url(wrong).unwrap_err();
            assert!(!refused.contains("secret"), "{wrong}");
        }
    }
}
