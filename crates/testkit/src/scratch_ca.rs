//! Certificates that no honest CA would issue.
//!
//! A [`ScratchCa`] signs whatever a [`ScratchLeaf`] asks for: names with wildcards or control
//! bytes, several common names, foreign usages, past and future dates, serial numbers that are
//! taken. It is its own root, or an intermediate, or holds the key of a real one
//! ([`ScratchCa::of_files`]) to sign past the registrar.

mod der;
mod leaf;

use std::path::Path;

use leafgate_identity::{Fingerprint, SpkiHash, spki_hash_of_certificate_pem};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

pub use rcgen::ExtendedKeyUsagePurpose;

pub use self::leaf::{NameAttribute, ScratchLeaf, StringType};

/// A CA that signs anything.
#[derive(Debug)]
pub struct ScratchCa {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl ScratchCa {
    /// A root with this common name, valid for centuries.
    pub fn root(common_name: &str) -> Self {
        let key = generate_key();
        let params = ca_params(common_name);
        let certificate = params.self_signed(&key).expect("well-formed parameters");
        Self {
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A CA with this common name below this one, valid for centuries.
    #[must_use]
    pub fn intermediate(&self, common_name: &str) -> Self {
        let key = generate_key();
        let params = ca_params(common_name);
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("well-formed parameters");
        Self {
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The CA of a certificate and its unencrypted key, such as `devices.crt` and `devices.key`
    /// of a CA directory.
    ///
    /// # Errors
    /// A file can't be read or holds something else.
    pub fn of_files(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let certificate_pem = std::fs::read_to_string(certificate)?;
        let key = KeyPair::from_pem(&std::fs::read_to_string(key)?)?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(&certificate_pem, key)?,
            certificate_pem,
        })
    }

    /// Its certificate in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The hash of its key.
    pub fn spki(&self) -> SpkiHash {
        spki_hash_of_certificate_pem(&self.certificate_pem).expect("it is a certificate")
    }

    /// Signs a certificate for a new P-256 key.
    pub fn sign(&self, leaf: &ScratchLeaf) -> ScratchCertificate {
        self.sign_key(leaf, &generate_key())
    }

    /// Signs a certificate for the key of somebody else: a clone's, say.
    ///
    /// # Errors
    /// The text holds no private key.
    pub fn sign_for(
        &self,
        leaf: &ScratchLeaf,
        private_key_pem: &str,
    ) -> anyhow::Result<ScratchCertificate> {
        Ok(self.sign_key(leaf, &KeyPair::from_pem(private_key_pem)?))
    }

    fn sign_key(&self, leaf: &ScratchLeaf, key: &KeyPair) -> ScratchCertificate {
        let der = leaf.sign(key, &self.issuer);
        let certificate_pem = pem_of(&der);
        ScratchCertificate {
            chain_pem: format!("{certificate_pem}{}", self.certificate_pem),
            certificate_pem,
            private_key_pem: key.serialize_pem(),
            fingerprint: Fingerprint::of_certificate_der(&der),
        }
    }
}

/// A certificate that a [`ScratchCa`] signed, with its key.
#[derive(Clone, Debug)]
pub struct ScratchCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// The certificate and that of its issuer.
    pub chain_pem: String,
    /// Its private key, PKCS #8. A throw-away: it is neither wiped nor hidden.
    pub private_key_pem: String,
    /// SHA-256 of its DER.
    pub fingerprint: Fingerprint,
}

fn generate_key() -> KeyPair {
    KeyPair::generate().expect("the system has random numbers")
}

fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn pem_of(der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("CERTIFICATE", der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}
