//! Ed25519 signing keys.

use std::fmt::{self, Debug};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rand_core::{CryptoRng, RngCore};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::key::{KeyKind, PublicKey};
use crate::seed::{self, ParseSeedError};

/// A key that signs: an account's (`SA…`), a user's (`SU…`), a server's (`SN…`) or any other
/// kind but curve keys.
pub struct SigningKey {
    public: PublicKey,
    pair: Ed25519KeyPair,
    seed: SecretString,
}

impl SigningKey {
    /// Reads a seed of any signing kind. White space around it, as files have, is ignored.
    pub fn from_seed(seed: &SecretString) -> Result<Self, ParseSeedError> {
        match seed::decode(seed)? {
            (Some(kind), raw) if kind != KeyKind::Curve => Ok(Self::from_raw(kind, &raw)),
            (found, _) => Err(ParseSeedError::Kind {
                expected: None,
                found,
            }),
        }
    }

    /// Reads a seed that must be of one kind.
    pub fn from_seed_of(kind: KeyKind, seed: &SecretString) -> Result<Self, ParseSeedError> {
        let key = Self::from_seed(seed)?;
        if key.kind() == kind {
            Ok(key)
        } else {
            Err(ParseSeedError::Kind {
                expected: Some(kind),
                found: Some(key.kind()),
            })
        }
    }

    /// A new key.
    ///
    /// # Panics
    /// If `kind` is [`KeyKind::Curve`]: those keys can't sign; see
    /// [`CurveKey::generate`](crate::CurveKey::generate).
    pub fn generate(kind: KeyKind, rng: &mut (impl RngCore + CryptoRng)) -> Self {
        assert!(kind != KeyKind::Curve, "a curve key can't sign");
        let mut raw = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut raw[..]);
        Self::from_raw(kind, &raw)
    }

    fn from_raw(kind: KeyKind, raw: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(raw)
            .expect("any 32 bytes are an Ed25519 seed (RFC 8032, 5.1.5)");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self {
            public: PublicKey::from_raw(kind, public),
            pair,
            seed: seed::encode(kind, raw),
        }
    }

    /// What the key stands for.
    pub fn kind(&self) -> KeyKind {
        self.public.kind()
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The secret half as text, for writing it to a key file.
    pub fn seed(&self) -> &SecretString {
        &self.seed
    }

    /// The Ed25519 signature of the message (deterministic).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

impl Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public)
            .field("seed", &format_args!("[redacted]"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tests::TestRng;
    use secrecy::ExposeSecret;

    #[test]
    fn a_seed_gives_back_the_same_key() {
        let key = SigningKey::generate(KeyKind::Account, &mut TestRng::new(1));
        let again = SigningKey::from_seed(key.seed()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(again.sign(b"message"), key.sign(b"message"));
        assert!(key.public().as_str().starts_with('A'));
    }

    #[test]
    fn a_seed_of_another_kind_is_refused() {
        let key = SigningKey::generate(KeyKind::User, &mut TestRng::new(1));
        let error = SigningKey::from_seed_of(KeyKind::Account, key.seed()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a seed of kind account (SA…) is needed, this is one of kind user (U…)"
        );
        let curve = crate::CurveKey::generate(&mut TestRng::new(1));
        assert!(matches!(
            SigningKey::from_seed(curve.seed()),
            Err(ParseSeedError::Kind {
                found: Some(KeyKind::Curve),
                ..
            })
        ));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::generate(KeyKind::User, &mut TestRng::new(1));
        let shown = format!("{key:?}");
        assert!(shown.contains("[redacted]"));
        assert!(!shown.contains(key.seed().expose_secret()));
    }
}
