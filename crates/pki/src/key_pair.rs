use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

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
        let private_key_pem =
            encode_private_key(key.to_pkcs8v1().map_err(|_| GenerateKeyError)?.as_ref());
        let public = PublicKeyInfo::from_der(spki.as_ref()).map_err(|_| GenerateKeyError)?;
        let csr = nameless_csr(&private_key_pem).map_err(|_| GenerateKeyError)?;
        Ok(Self {
            private_key_pem,
            public: public.with_csr(&csr),
        })
    }
}

/// A request that says nothing but the key.
fn nameless_csr(private_key_pem: &SecretString) -> Result<Vec<u8>, rcgen::Error> {
    let key = Zeroizing::new(KeyPair::from_pem(private_key_pem.expose_secret())?);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&*key)?.der().to_vec())
}

/// Writes a certificate request (RFC 2986) in PEM for a private key (PKCS #8 in PEM), signed with it. The subject is
/// this common name alone.
///
/// # Errors
/// The key is unreadable or of a kind that can't sign here, or the name can't be written.
pub fn write_csr(
    private_key_pem: &SecretString,
    common_name: &str,
) -> Result<String, WriteCsrError> {
    let key = KeyPair::from_pem(private_key_pem.expose_secret()).map_err(WriteCsrError::Key)?;
    let key = Zeroizing::new(key);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let request = params
        .serialize_request(&*key)
        .and_then(|request| request.pem())
        .map_err(WriteCsrError::Write)?;
    Ok(request.replace("\r\n", "\n"))
}

/// Why no certificate request was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteCsrError {
    /// The key can't be used.
    #[error(
        "the private key can't be used: it must be a PKCS #8 key in PEM, of a kind that signs certificate requests"
    )]
    Key(#[source] rcgen::Error),
    /// The request could not be made or signed.
    #[error("the certificate request could not be written")]
    Write(#[source] rcgen::Error),
}

/// No key could be made.
#[derive(Debug, thiserror::Error)]
#[error("can't make a key: the system's random number generator failed")]
pub struct GenerateKeyError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_the_key_and_the_name() {
        let key = KeyPairPem::generate().unwrap();
        let csr = write_csr(&key.private_key_pem, "0001").unwrap();
        let read = PublicKeyInfo::from_csr_pem(&csr).unwrap();
        assert_eq!(read.spki_hash(), key.public.spki_hash());
        let der = pem::parse(&csr).unwrap();
        let name = b"0001";
        assert!(der.contents().windows(name.len()).any(|part| part == name));
    }

    #[test]
    fn no_request_is_written_without_a_key() {
        let refused = write_csr(&"not a key".into(), "0001");
        assert!(matches!(refused, Err(WriteCsrError::Key(_))));
    }
}
