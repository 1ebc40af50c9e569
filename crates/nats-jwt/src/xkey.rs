//! xkeys: NaCl boxes (X25519, XSalsa20-Poly1305) between a server and the callout service, in the
//! form `"xkv1"` ‖ nonce ‖ tag ‖ ciphertext (nats-io/nkeys `xkeys.go`).

use std::fmt::{self, Debug};

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use crypto_secretbox::aead::AeadInPlace;
use crypto_secretbox::{Kdf, Key, KeyInit, Nonce, Tag, XSalsa20Poly1305};
use rand_core::{CryptoRng, RngCore};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::key::{CurvePublicKey, KeyKind, PublicKey};
use crate::seed::{self, ParseSeedError};
use crate::token::MAX_TOKEN_BYTES;

/// Bytes of the nonce of a box. Random ones of this size never repeat in practice.
pub const NONCE_BYTES: usize = 24;

const VERSION: &[u8; 4] = b"xkv1";
const TAG_BYTES: usize = 16;
const NONCE_END: usize = VERSION.len() + NONCE_BYTES;
const OVERHEAD_BYTES: usize = NONCE_END + TAG_BYTES;

/// An X25519 key pair (`SX…` / `X…`).
pub struct CurveKey {
    public: CurvePublicKey,
    private: PrivateKey,
    seed: SecretString,
}

impl CurveKey {
    /// Reads an `SX…` seed. White space around it, as files have, is ignored.
    pub fn from_seed(seed: &SecretString) -> Result<Self, ParseSeedError> {
        match seed::decode(seed)? {
            (Some(KeyKind::Curve), raw) => Ok(Self::from_raw(&raw)),
            (found, _) => Err(ParseSeedError::Kind {
                expected: Some(KeyKind::Curve),
                found,
            }),
        }
    }

    /// A new key.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut raw = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut raw[..]);
        Self::from_raw(&raw)
    }

    fn from_raw(raw: &[u8; 32]) -> Self {
        let private = PrivateKey::from_private_key(&X25519, raw)
            .expect("any 32 bytes are an X25519 private key (RFC 7748, 5)");
        let public = private
            .compute_public_key()
            .expect("every X25519 private key has a public key");
        let mut public_raw = [0; 32];
        public_raw.copy_from_slice(public.as_ref());
        let public = CurvePublicKey::try_from(PublicKey::from_raw(KeyKind::Curve, public_raw))
            .expect("the kind was given as curve");
        Self {
            public,
            private,
            seed: seed::encode(KeyKind::Curve, raw),
        }
    }

    /// The public half.
    pub fn public(&self) -> &CurvePublicKey {
        &self.public
    }

    /// The secret half as text, for writing it to a key file.
    pub fn seed(&self) -> &SecretString {
        &self.seed
    }

    /// Agrees on a secret with a peer. This is the expensive part of a box, and its outcome is the
    /// same for all messages to and from that peer: keep it.
    ///
    /// A peer key of low order, with which the secret would be 0 whatever this key is, is refused
    /// (RFC 7748, 6.1): anyone could open and seal such boxes.
    pub fn shared(&self, peer: &CurvePublicKey) -> Result<SharedBox, DeriveSharedBoxError> {
        let refused = DeriveSharedBoxError { peer: *peer };
        let peer_public = UnparsedPublicKey::new(&X25519, peer.raw());
        agree(&self.private, peer_public, refused, |secret| {
            // NaCl's box key: HSalsa20 of the secret and a zero nonce.
            let key = XSalsa20Poly1305::kdf(Key::from_slice(secret), &Default::default());
            let key = Zeroizing::new(key);
            Ok(SharedBox {
                peer: *peer,
                cipher: XSalsa20Poly1305::new(&key),
            })
        })
    }
}

impl Debug for CurveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurveKey")
            .field("public", &self.public)
            .field("seed", &format_args!("[redacted]"))
            .finish()
    }
}

/// A peer's curve key is of low order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the curve key {peer} is of low order: boxes made with it protect nothing")]
pub struct DeriveSharedBoxError {
    peer: CurvePublicKey,
}

/// Seals and opens boxes between one key pair and one peer.
#[derive(Clone)]
pub struct SharedBox {
    peer: CurvePublicKey,
    cipher: XSalsa20Poly1305,
}

impl SharedBox {
    /// Whose boxes these are.
    pub(crate) fn peer(&self) -> &CurvePublicKey {
        &self.peer
    }

    /// Encrypts and authenticates. The nonce must be random: never used before with this key pair.
    pub fn seal(&self, plain: &[u8], nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(OVERHEAD_BYTES + plain.len());
        sealed.extend_from_slice(VERSION);
        sealed.extend_from_slice(nonce);
        sealed.extend_from_slice(&[0; TAG_BYTES]);
        sealed.extend_from_slice(plain);
        let tag = self
            .cipher
            .encrypt_in_place_detached(Nonce::from_slice(nonce), b"", &mut sealed[OVERHEAD_BYTES..])
            .expect("sealing fails only on associated data, and there is none");
        sealed[NONCE_END..OVERHEAD_BYTES].copy_from_slice(&tag);
        sealed
    }

    /// Authenticates and decrypts.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenBoxError> {
        let Some((head, ciphertext)) = sealed.split_at_checked(OVERHEAD_BYTES) else {
            return Err(OpenBoxError::Truncated {
                len_bytes: sealed.len(),
            });
        };
        if ciphertext.len() > MAX_TOKEN_BYTES {
            return Err(OpenBoxError::TooLarge {
                len_bytes: sealed.len(),
            });
        }
        let (version, head) = head.split_at(VERSION.len());
        if version != VERSION {
            return Err(OpenBoxError::Version);
        }
        let (nonce, tag) = head.split_at(NONCE_BYTES);
        let mut plain = ciphertext.to_vec();
        self.cipher
            .decrypt_in_place_detached(
                Nonce::from_slice(nonce),
                b"",
                &mut plain,
                Tag::from_slice(tag),
            )
            .map_err(|_| OpenBoxError::NotAuthentic)?;
        Ok(plain)
    }
}

impl Debug for SharedBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBox")
            .field("peer", &self.peer)
            .field("secret", &format_args!("[redacted]"))
            .finish()
    }
}

/// Why a box did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenBoxError {
    /// Shorter than an empty box.
    #[error("a box has at least {OVERHEAD_BYTES} bytes, this one has {len_bytes}")]
    Truncated {
        /// Bytes received.
        len_bytes: usize,
    },
    /// Larger than any token may be.
    #[error("a box of {len_bytes} bytes holds more than the {MAX_TOKEN_BYTES} bytes of a token")]
    TooLarge {
        /// Bytes received.
        len_bytes: usize,
    },
    /// Plain text, or a version yet to come.
    #[error("the message does not begin with \"xkv1\": it is no box of a known version")]
    Version,
    /// Changed on the way, or made for or by another key.
    #[error("the box was changed on the way, or was not made by this peer for this curve key")]
    NotAuthentic,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tests::TestRng;
    use data_encoding::HEXLOWER;
    use secrecy::ExposeSecret;

    fn pair() -> (CurveKey, CurveKey) {
        let rng = &mut TestRng::new(1);
        (CurveKey::generate(rng), CurveKey::generate(rng))
    }

    #[test]
    fn a_box_opens_for_its_peer_alone() {
        let (server, service) = pair();
        let other = CurveKey::generate(&mut TestRng::new(2));
        let sealed = server
            .shared(service.public())
            .unwrap()
            .seal(b"token", &[5; NONCE_BYTES]);
        assert!(sealed.starts_with(b"xkv1\x05\x05"));
        let shared = service.shared(server.public()).unwrap();
        assert_eq!(shared.peer(), server.public());
        assert_eq!(shared.open(&sealed).unwrap(), b"token");
        for shared in [
            other.shared(server.public()).unwrap(),
            service.shared(other.public()).unwrap(),
        ] {
            assert_eq!(shared.open(&sealed), Err(OpenBoxError::NotAuthentic));
        }
    }

    #[test]
    fn damaged_boxes_have_their_own_errors() {
        let (server, service) = pair();
        let shared = service.shared(server.public()).unwrap();
        let sealed = server
            .shared(service.public())
            .unwrap()
            .seal(b"token", &[5; NONCE_BYTES]);
        for end in 0..OVERHEAD_BYTES {
            let error = shared.open(&sealed[..end]).unwrap_err();
            assert_eq!(error, OpenBoxError::Truncated { len_bytes: end });
        }
        for end in OVERHEAD_BYTES..sealed.len() {
            assert_eq!(shared.open(&sealed[..end]), Err(OpenBoxError::NotAuthentic));
        }
        for position in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[position] ^= 1;
            let expected = if position < VERSION.len() {
                OpenBoxError::Version
            } else {
                OpenBoxError::NotAuthentic
            };
            assert_eq!(shared.open(&bent), Err(expected), "{position}");
        }
        let mut large = sealed;
        large.resize(OVERHEAD_BYTES + MAX_TOKEN_BYTES + 1, 0);
        let len_bytes = large.len();
        assert_eq!(
            shared.open(&large),
            Err(OpenBoxError::TooLarge { len_bytes })
        );
    }

    /// All points of order 1, 2, 4 and 8 of curve and twist, canonical and not, with either value
    /// of the ignored top bit.
    #[test]
    fn keys_of_low_order_are_refused() {
        let (service, _) = pair();
        let points = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        for point in points {
            let raw = <[u8; 32]>::try_from(HEXLOWER.decode(point.as_bytes()).unwrap()).unwrap();
            for top_bit in [0, 0x80] {
                let mut raw = raw;
                raw[31] |= top_bit;
                let peer = PublicKey::from_raw(KeyKind::Curve, raw);
                let peer = CurvePublicKey::try_from(peer).unwrap();
                assert!(service.shared(&peer).is_err(), "{point}");
            }
        }
    }

    #[test]
    fn seeds_of_other_kinds_are_refused() {
        let user = seed::encode(KeyKind::User, &[1; 32]);
        assert_eq!(
            CurveKey::from_seed(&user).unwrap_err().to_string(),
            "a seed of kind curve (SX…) is needed, this is one of kind user (U…)"
        );
        let (key, _) = pair();
        assert_eq!(
            CurveKey::from_seed(key.seed()).unwrap().public(),
            key.public()
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let (key, peer) = pair();
        let shared = key.shared(peer.public()).unwrap();
        for shown in [format!("{key:?}"), format!("{shared:?}")] {
            assert!(shown.contains("[redacted]"));
            assert!(!shown.contains(key.seed().expose_secret()));
        }
    }
}
