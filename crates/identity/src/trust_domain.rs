use crate::{
    CnPattern, Excerpt, SpkiHash,
    serde_text::serde_as_text,
    token::{self, TokenProblem},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// The name of a trust domain, by the same rule as a device id. Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomainName(Arc<str>);

impl TrustDomainName {
    /// Parses a name: 1 to 64 of `A-Z a-z 0-9 _ -`, the first and the last a letter or digit.
    ///
    /// # Errors
    /// Says what about the text is not allowed.
    pub fn parse(text: &str) -> Result<Self, ParseTrustDomainNameError> {
        match token::check(text) {
            Ok(()) => Ok(Self(text.into())),
            Err(problem) => Err(ParseTrustDomainNameError {
                name: Excerpt::of(text),
                problem,
            }),
        }
    }

    /// The name as it is spelt.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomainName {
    type Err = ParseTrustDomainNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for TrustDomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TrustDomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

serde_as_text!(TrustDomainName, "the name of a trust domain");

/// A text is not the name of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("trust domain name {name} {problem}")]
pub struct ParseTrustDomainNameError {
    /// The text.
    pub name: Excerpt,
    /// What is wrong with it.
    pub problem: TokenProblem,
}

/// How a certificate must be bound to its device beyond its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// Only certificates whose fingerprint the registry recorded when it issued them.
    Issued,
    /// Any certificate of a named issuer that is not revoked, and not from before the id was registered again.
    Chain,
}

impl Binding {
    /// The name used in configuration and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Chain => "chain",
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Devices whose certificates come from the same issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomain {
    /// Its name.
    pub name: TrustDomainName,
    /// Keys of the certificates that issue its devices' certificates.
    pub issuers: Vec<SpkiHash>,
    /// How its devices are called.
    pub cn_pattern: CnPattern,
    /// How its certificates are bound to devices.
    pub binding: Binding,
}

/// The trust domains of an installation: at least one, each issuer and each name in one only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomains(Vec<TrustDomain>);

impl TrustDomains {
    /// The domain that an issuer belongs to.
    pub fn by_issuer(&self, issuer: &SpkiHash) -> Option<&TrustDomain> {
        self.iter().find(|domain| domain.issuers.contains(issuer))
    }

    /// The domain of a name, by exact spelling.
    pub fn by_name(&self, name: &TrustDomainName) -> Option<&TrustDomain> {
        self.iter().find(|domain| domain.name == *name)
    }

    /// All domains in the order of the configuration.
    pub fn iter(&self) -> std::slice::Iter<'_, TrustDomain> {
        self.0.iter()
    }
}

impl TryFrom<Vec<TrustDomain>> for TrustDomains {
    type Error = BuildTrustDomainsError;

    fn try_from(domains: Vec<TrustDomain>) -> Result<Self, Self::Error> {
        if domains.is_empty() {
            return Err(BuildTrustDomainsError::None);
        }
        for (index, domain) in domains.iter().enumerate() {
            let before = &domains[..index];
            if let Some(first) = before.iter().find(|other| {
                other
                    .name
                    .as_str()
                    .eq_ignore_ascii_case(domain.name.as_str())
            }) {
                return Err(BuildTrustDomainsError::NameRepeated {
                    name: domain.name.clone(),
                    first: first.name.clone(),
                });
            }
            if domain.issuers.is_empty() {
                return Err(BuildTrustDomainsError::IssuersMissing {
                    name: domain.name.clone(),
                });
            }
            for (position, issuer) in domain.issuers.iter().enumerate() {
                let first = if domain.issuers[..position].contains(issuer) {
                    Some(domain)
                } else {
                    before.iter().find(|other| other.issuers.contains(issuer))
                };
                if let Some(first) = first {
                    return Err(BuildTrustDomainsError::IssuerRepeated {
                        issuer: *issuer,
                        first: first.name.clone(),
                        second: domain.name.clone(),
                    });
                }
            }
        }
        Ok(Self(domains))
    }
}

impl<'a> IntoIterator for &'a TrustDomains {
    type Item = &'a TrustDomain;
    type IntoIter = std::slice::Iter<'a, TrustDomain>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Trust domains contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildTrustDomainsError {
    /// There is none.
    #[error("there is no trust domain; add a [[trust_domain]] with a name and its issuers")]
    None,
    /// Two domains have the same name, ignoring case.
    #[error("trust domain {name} has the name of {first}, ignoring case; rename one of them")]
    NameRepeated {
        /// The later name.
        name: TrustDomainName,
        /// The earlier name.
        first: TrustDomainName,
    },
    /// A domain has no issuer, so that no certificate could belong to it.
    #[error(
        "trust domain {name} has no issuers; list the SPKI SHA-256 of its issuing certificates"
    )]
    IssuersMissing {
        /// The domain.
        name: TrustDomainName,
    },
    /// An issuer is listed twice, so that its certificates would belong to two domains.
    #[error(
        "issuer {issuer} of trust domain {second} is already listed by {first}; keep it in one place"
    )]
    IssuerRepeated {
        /// The issuer.
        issuer: SpkiHash,
        /// The domain that lists it first.
        first: TrustDomainName,
        /// The domain that lists it again.
        second: TrustDomainName,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str, issuers: &[u8]) -> TrustDomain {
        TrustDomain {
            name: TrustDomainName::parse(name).expect("a name"),
            issuers: issuers
                .iter()
                .map(|n| SpkiHash::from_bytes([*n; 32]))
                .collect(),
            cn_pattern: CnPattern::default(),
            binding: Binding::Issued,
        }
    }

    #[test]
    fn finds_domains_by_issuer_and_by_name() {
        let domains = TrustDomains::try_from(vec![domain("a", &[1, 2]), domain("b", &[3])])
            .expect("consistent");
        for (issuer, name) in [(1, Some("a")), (2, Some("a")), (3, Some("b")), (4, None)] {
            let found = domains.by_issuer(&SpkiHash::from_bytes([issuer; 32]));
            assert_eq!(found.map(|domain| domain.name.as_str()), name);
        }
        let b = TrustDomainName::parse("b").expect("a name");
        assert_eq!(domains.by_name(&b), domains.iter().nth(1));
        assert_eq!(
            domains.by_name(&TrustDomainName::parse("B").expect("a name")),
            None
        );
        assert_eq!(domains.into_iter().count(), 2);
    }

    #[test]
    fn refuses_contradictions() {
        for (domains, message) in [
            (vec![], "there is no trust domain"),
            (vec![domain("a", &[])], "trust domain a has no issuers"),
            (
                vec![domain("a", &[1, 1])],
                "of trust domain a is already listed by a",
            ),
            (
                vec![domain("a", &[1]), domain("b", &[2, 1])],
                "of trust domain b is already listed by a",
            ),
            (
                vec![domain("a", &[1]), domain("A", &[2])],
                "trust domain A has the name of a",
            ),
        ] {
            let error = TrustDomains::try_from(domains)
                .expect_err(message)
                .to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn names_are_tokens_and_bindings_have_names() {
        let error = TrustDomainName::parse("a b")
            .expect_err("a blank")
            .to_string();
        assert!(
            error.starts_with(r#"trust domain name "a b" has " " at byte 1"#),
            "{error}"
        );
        assert_eq!(
            serde_json::from_str::<TrustDomainName>(r#""a""#)
                .expect("a name")
                .as_str(),
            "a"
        );
        for binding in [Binding::Issued, Binding::Chain] {
            let json = format!("\"{binding}\"");
            assert_eq!(serde_json::to_string(&binding).expect("JSON"), json);
            assert_eq!(
                serde_json::from_str::<Binding>(&json).expect("a binding"),
                binding
            );
        }
    }
}
