use jsonwebtoken::Algorithm;
use serde::{Deserialize, Deserializer};

/// A signature algorithm with a private and a public key (RFC 7518 section 3.1, RFC 8037). Those with one secret key for
/// both sides (HS256, …) and `none` can't be configured: whoever checks such a token could have made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// The kind of public key that an algorithm needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl SigningAlgorithm {
    /// Every algorithm.
    pub const ALL: &'static [Self] = &[
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name in `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        let found = Self::ALL
            .iter()
            .find(|algorithm| algorithm.as_str() == name);
        found.copied()
    }

    pub(super) const fn key_kind(self) -> KeyKind {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                KeyKind::Rsa
            }
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::EdDsa => KeyKind::Ed25519,
        }
    }
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Rs256 => Self::RS256,
            SigningAlgorithm::Rs384 => Self::RS384,
            SigningAlgorithm::Rs512 => Self::RS512,
            SigningAlgorithm::Ps256 => Self::PS256,
            SigningAlgorithm::Ps384 => Self::PS384,
            SigningAlgorithm::Ps512 => Self::PS512,
            SigningAlgorithm::Es256 => Self::ES256,
            SigningAlgorithm::Es384 => Self::ES384,
            SigningAlgorithm::EdDsa => Self::EdDSA,
        }
    }
}

impl<'de> Deserialize<'de> for SigningAlgorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| {
            let why = match name.as_str() {
                "HS256" | "HS384" | "HS512" => {
                    "signs with a secret that this side would have to know, and could then sign with"
                }
                "none" => "signs nothing",
                _ => "is not known",
            };
            let known: Vec<_> = Self::ALL.iter().map(|known| known.as_str()).collect();
            let known = known.join(", ");
            serde::de::Error::custom(format!("{name:?} {why}; choose from: {known}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_algorithms_with_a_public_key_can_be_configured() {
        for algorithm in SigningAlgorithm::ALL {
            let read: SigningAlgorithm = serde_json::from_value(algorithm.as_str().into()).unwrap();
            assert_eq!(read, *algorithm);
            let jwt: Algorithm = (*algorithm).into();
            assert_eq!(format!("{jwt:?}"), algorithm.as_str());
        }
        for (wrong, told) in [
            ("HS256", "a secret"),
            ("HS384", "a secret"),
            ("HS512", "a secret"),
            ("none", "signs nothing"),
            ("None", "is not known"),
            ("rs256", "is not known"),
            ("ES512", "is not known"),
        ] {
            let read = serde_json::from_value::<SigningAlgorithm>(wrong.into());
            let refused = read.unwrap_err().to_string();
            assert!(
                refused.contains(told) && refused.contains("RS256, "),
                "{refused}"
            );
        }
    }
}
