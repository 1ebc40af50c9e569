use std::fmt;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use secrecy::SecretString;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::response::{OcspResponseData, SignOcspError, signed_response};
use crate::der::signature_algorithm_of;
use crate::encoding::{CERTIFICATE_LABEL, decode_private_key};

/// A key that an issuer lets sign OCSP answers in its place, by a certificate with the extended key
/// usage OCSPSigning (RFC 6960 section 4.2.2.2): for issuers whose own key signs nothing but
/// certificates and lists.
pub struct OcspResponder {
    certificate_der: Vec<u8>,
    algorithm: Vec<u8>,
    key: Zeroizing<KeyPair>,
}

impl OcspResponder {
    /// Joins a responder's certificate (PEM) with its key (PKCS #8 PEM, unencrypted).
    ///
    /// # Errors
    /// The certificate is no responder's, or one of them can't be read, or they don't belong
    /// together.
    pub fn new(
        certificate_pem: &str,
        private_key_pem: &SecretString,
    ) -> Result<Self, JoinResponderError> {
        let block = pem::parse(certificate_pem).map_err(|_| JoinResponderError::Certificate)?;
        let Ok(([], certificate)) = X509Certificate::from_der(block.contents()) else {
            return Err(JoinResponderError::Certificate);
        };
        let usage = certificate.extended_key_usage().ok().flatten();
        if block.tag() != CERTIFICATE_LABEL || !usage.is_some_and(|usage| usage.value.ocsp_signing)
        {
            return Err(JoinResponderError::NotResponder);
        }
        let key = decode_private_key(private_key_pem).ok_or(JoinResponderError::Key)?;
        if key.subject_public_key_info() != certificate.public_key().raw {
            return Err(JoinResponderError::KeyMismatch);
        }
        // Whatever is signed with the key tells how it signs.
        let signed = CertificateParams::default()
            .serialize_request(&*key)
            .map_err(|_| JoinResponderError::Key)?;
        Ok(Self {
            algorithm: signature_algorithm_of(signed.der()).ok_or(JoinResponderError::Key)?,
            key,
            certificate_der: block.into_contents(),
        })
    }

    /// Signs an answer and returns its DER.
    ///
    /// # Errors
    /// `next_update` does not come after `this_update`, or signing fails.
    pub fn sign(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError> {
        signed_response(
            data,
            &self.key,
            &self.algorithm,
            Some(&self.certificate_der),
        )
    }
}

impl fmt::Debug for OcspResponder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OcspResponder").finish_non_exhaustive()
    }
}

/// Why a certificate and a key don't make a responder.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinResponderError {
    /// The certificate can't be read.
    #[error("the OCSP responder's certificate is malformed")]
    Certificate,
    /// Its issuer did not make it a responder's.
    #[error("the certificate is no OCSP responder's: it needs the extended key usage OCSPSigning")]
    NotResponder,
    /// The key can't be read.
    #[error("the OCSP responder's key is no unencrypted PKCS #8 in PEM")]
    Key,
    /// The key belongs to another certificate.
    #[error("the OCSP responder's key does not belong to its certificate")]
    KeyMismatch,
}
