use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use secrecy::SecretString;

use crate::encoding::encode_private_key;
use crate::public_key::PublicKeyInfo;

/// A key made here for someone who sent no certificate request.
#[derive(Debug)]
pub struct KeyPairPem {
    /// PKCS #8 in PEM, unencrypted.
    pub private_key_pem: SecretString,
    /// Its public half.
    pub public: PublicKeyInfo,
}

impl KeyPairPem {
    /// Makes a P-256 key from the system's random numbers.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, GenerateKeyError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| GenerateKeyError)?;
        let spki = key.public_key().as_der().map_err(|_| GenerateKeyError)?;
        Ok(Self {
            private_key_pem: encode_private_key(
                key.to_pkcs8v1().map_err(|_| GenerateKeyError)?.as_ref(),
            ),
            public: PublicKeyInfo::from_der(spki.as_ref()).map_err(|_| GenerateKeyError)?,
        })
    }
}

/// No key could be made.
#[derive(Debug, thiserror::Error)]
#[error("can't make a key: the system's random number generator failed")]
pub struct GenerateKeyError;
