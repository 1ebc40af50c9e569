//! Issues certificates with rcgen. Keys, serial numbers and times are fixed and Ed25519 signs
//! without randomness, so the same parameters give the same bytes.

use super::der::Node;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
    date_time_ymd,
};

/// The common name of most samples.
pub(crate) const NAME: &str = "device-0001.device.synadia.local";

/// PKCS#8 for Ed25519 (RFC 8410, section 7) up to the seed.
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The key pair of a number. Only for tests: anyone can make it.
pub(crate) fn key(number: u8) -> KeyPair {
    let pkcs8 = [&ED25519_PKCS8[..], &[number; 32]].concat();
    KeyPair::try_from(pkcs8).expect("an Ed25519 key")
}

/// A CA: its certificate, and what it takes to issue others.
pub(crate) struct Ca {
    pub(crate) der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn root() -> Self {
        let params = ca_params("Leafgate Test Root", 1);
        let certificate = params.self_signed(&key(1)).expect("a certificate");
        Self {
            der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key(1)),
        }
    }

    /// The CA that issues the devices' certificates, below the root.
    pub(crate) fn devices() -> Self {
        let params = ca_params("Leafgate Test Devices", 2);
        let certificate = params
            .signed_by(&key(2), &Self::root().issuer)
            .expect("a certificate");
        Self {
            der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key(2)),
        }
    }

    pub(crate) fn issue(&self, params: &CertificateParams) -> Vec<u8> {
        let certificate = params.signed_by(&key(3), &self.issuer);
        certificate.expect("a certificate").der().to_vec()
    }

    /// Issues a certificate and bends it afterwards; its signature no longer fits.
    pub(crate) fn issue_bent(&self, bend: impl FnOnce(&mut Node)) -> Vec<u8> {
        let mut tree = Node::parse(&self.issue(&device_with_sans(&[dns(NAME)])));
        bend(&mut tree);
        tree.encode()
    }
}

/// The least that a device's certificate has: one common name and clientAuth.
pub(crate) fn device(common_name: impl Into<DnValue>) -> CertificateParams {
    let mut params = params(common_name, 0x0a0b);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub(crate) fn device_with_sans(sans: &[SanType]) -> CertificateParams {
    let mut params = device(NAME);
    params.subject_alt_names = sans.to_vec();
    params
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("ASCII"))
}

fn ca_params(common_name: &str, serial: u64) -> CertificateParams {
    let mut params = params(common_name, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(common_name: impl Into<DnValue>, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2036, 1, 1);
    params
}
