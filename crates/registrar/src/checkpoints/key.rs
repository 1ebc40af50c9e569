use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE64;
use leafgate_identity::SpkiHash;
use leafgate_pki::{read_secret_file, write_new_file};
use leafgate_registry::Head;
use pem::{EncodeConfig, LineEnding, Pem};
use secrecy::{ExposeSecret, SecretString};

use super::{Checkpoint, CheckpointError, SignedCheckpoint};

const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What signs checkpoints (Ed25519).
pub struct CheckpointKey {
    pair: Ed25519KeyPair,
    public: CheckpointPublicKey,
}

/// What verifies them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPublicKey {
    spki: Vec<u8>,
    hash: SpkiHash,
}

impl CheckpointKey {
    /// Makes a key and writes it to a file that does not exist yet, for its owner alone (PKCS #8, PEM).
    ///
    /// # Errors
    /// [`CheckpointError::File`]
    pub fn create(path: &Path) -> Result<Self, CheckpointError> {
        let pair =
            Ed25519KeyPair::generate().expect("aws-lc aborts rather than give no randomness");
        let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key pair has a PKCS #8 form");
        let text = SecretString::from(to_pem(PRIVATE_LABEL, der.as_ref()));
        write_new_file(path, text.expose_secret(), 0o600)
            .map_err(|error| CheckpointError::file("write", path, std::io::Error::other(error)))?;
        Ok(Self::new(pair))
    }

    /// Reads a key that only its owner can read.
    ///
    /// # Errors
    /// [`CheckpointError`]; a key that is not there is told apart.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        if matches!(path.try_exists(), Ok(false)) {
            let path = path.to_owned();
            return Err(CheckpointError::KeyMissing { path });
        }
        let text = read_secret_file(path)?;
        let not_a_key = || CheckpointError::NotAKey {
            path: path.to_owned(),
            kind: "private",
        };
        let block = pem::parse(text.expose_secret()).map_err(|_| not_a_key())?;
        if block.tag() != PRIVATE_LABEL {
            return Err(not_a_key());
        }
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(block.contents());
        pair.map(Self::new).map_err(|_| not_a_key())
    }

    fn new(pair: Ed25519KeyPair) -> Self {
        let der: PublicKeyX509Der<'_> = pair
            .public_key()
            .as_der()
            .expect("a public key has a SubjectPublicKeyInfo");
        let public = CheckpointPublicKey::of_spki(der.as_ref().to_vec());
        Self { pair, public }
    }

    /// What verifies its checkpoints.
    pub fn public_key(&self) -> &CheckpointPublicKey {
        &self.public
    }

    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> SignedCheckpoint {
        let signature = self.pair.sign(checkpoint.signed_text().as_bytes());
        SignedCheckpoint {
            epoch: checkpoint.epoch.to_string(),
            seq: checkpoint.head.seq,
            hash: checkpoint.head.hash,
            at: checkpoint.at,
            key: self.public.hash.to_string(),
            signature: BASE64.encode(signature.as_ref()),
        }
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckpointKey")
            .field(&self.public.hash)
            .finish()
    }
}

impl CheckpointPublicKey {
    fn of_spki(spki: Vec<u8>) -> Self {
        let hash = SpkiHash::of_spki_der(&spki);
        Self { spki, hash }
    }

    /// Reads a public key (SubjectPublicKeyInfo, PEM).
    ///
    /// # Errors
    /// [`CheckpointError`]; a key that is not there is told apart.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => CheckpointError::KeyMissing {
                path: path.to_owned(),
            },
            _ => CheckpointError::file("read", path, source),
        })?;
        let block = pem::parse(text).ok();
        let spki = block
            .filter(|block| block.tag() == PUBLIC_LABEL)
            .map(Pem::into_contents)
            .filter(|der| der.len() == SPKI_PREFIX.len() + 32 && der.starts_with(&SPKI_PREFIX));
        spki.map(Self::of_spki)
            .ok_or_else(|| CheckpointError::NotAKey {
                path: path.to_owned(),
                kind: "public",
            })
    }

    /// The key in PEM, which openssl reads too.
    pub fn to_pem(&self) -> String {
        to_pem(PUBLIC_LABEL, &self.spki)
    }

    /// The checkpoint, if this key signed it. `path` is where it is from.
    pub(super) fn verify(
        &self,
        signed: &SignedCheckpoint,
        path: &Path,
    ) -> Result<Checkpoint, CheckpointError> {
        if signed.key != self.hash.to_string() {
            return Err(CheckpointError::KeyForeign {
                path: path.to_owned(),
                key: signed.key.clone(),
            });
        }
        let malformed = || CheckpointError::Malformed {
            path: path.to_owned(),
        };
        let checkpoint = Checkpoint {
            epoch: signed.epoch.parse().map_err(|_| malformed())?,
            head: Head {
                seq: signed.seq,
                hash: signed.hash,
            },
            at: signed.at,
        };
        let signature = BASE64
            .decode(signed.signature.as_bytes())
            .map_err(|_| malformed())?;
        let key = UnparsedPublicKey::new(&ED25519, &self.spki[SPKI_PREFIX.len()..]);
        let holds = key.verify(checkpoint.signed_text().as_bytes(), &signature);
        holds.map_err(|_| CheckpointError::Forged {
            path: path.to_owned(),
        })?;
        Ok(checkpoint)
    }
}

fn to_pem(label: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(label, der), config)
}
