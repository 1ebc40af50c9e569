use std::time::Duration;

use leafgate_identity::{Fingerprint, SerialNumber, SpkiHash, UnixMs, Validity};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SigningKey,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::Zeroizing;

use crate::crl::{CrlFrame, tbs_cert_list};
use crate::der::{self, signature_algorithm_of, tlv};
use crate::encoding::{CERTIFICATE_LABEL, asn1_time, encode_pem, spki_hash_of, validity_of};
use crate::issuer::{
    IssueError, Issued, PrepareError, Prepared, RevokedEntry, SignCrlError, validity_within,
};
use crate::ocsp::{OcspResponseData, SignOcspError, signed_response};
use crate::profile::{Profile, ProfileKind};
use crate::public_key::PublicKeyInfo;
use crate::serial::{RandomSerials, SerialSource};
use crate::status_url::{StatusUrl, StatusUrls};

const AUTHORITY_INFORMATION_ACCESS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 1];
/// `OBJECT IDENTIFIER id-ad-ocsp`.
const ACCESS_BY_OCSP: [u8; 10] = [
    der::OBJECT_IDENTIFIER,
    8,
    0x2b,
    0x06,
    0x01,
    0x05,
    0x05,
    0x07,
    0x30,
    0x01,
];

/// A CA certificate with its private key: what signs everything in this crate.
pub(crate) struct Authority {
    certificate_pem: String,
    spki: SpkiHash,
    /// The subject as the certificate has it, in DER.
    name: Vec<u8>,
    key_id: Vec<u8>,
    validity: Validity,
    /// The AlgorithmIdentifier of its signatures, in DER.
    algorithm: Vec<u8>,
    signer: rcgen::Issuer<'static, CaKey>,
}

impl Authority {
    /// Joins a CA certificate with its key.
    pub(crate) fn new(
        certificate_der: &[u8],
        key: Zeroizing<KeyPair>,
    ) -> Result<Self, JoinAuthorityError> {
        let Ok(([], certificate)) = X509Certificate::from_der(certificate_der) else {
            return Err(JoinAuthorityError::Malformed);
        };
        let key_id = ca_key_id(&certificate)?;
        if key.subject_public_key_info() != certificate.public_key().raw {
            return Err(JoinAuthorityError::KeyMismatch);
        }
        let signer = rcgen::Issuer::from_ca_cert_der(&certificate_der.into(), CaKey(key))
            .map_err(|_| JoinAuthorityError::Malformed)?;
        Ok(Self {
            certificate_pem: encode_pem(CERTIFICATE_LABEL, certificate_der),
            spki: spki_hash_of(&certificate),
            name: certificate.subject().as_raw().into(),
            validity: validity_of(&certificate),
            algorithm: try_out(&signer, &key_id, &certificate)?,
            key_id,
            signer,
        })
    }

    pub(crate) fn spki(&self) -> SpkiHash {
        self.spki
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key as PKCS #8.
    pub(crate) fn key_pkcs8(&self) -> &[u8] {
        self.signer.key().0.serialized_der()
    }

    pub(crate) fn prepare(
        &self,
        profile: Profile,
        key: PublicKeyInfo,
        now: UnixMs,
        serials: &dyn SerialSource,
    ) -> Result<Prepared, PrepareError> {
        let validity = validity_within(self.validity, now, profile.lifetime())?;
        Ok(Prepared::new(
            self.spki,
            profile,
            key,
            Some(serials.draw()?),
            validity,
        ))
    }

    pub(crate) fn issue(
        &self,
        prepared: &Prepared,
        status: Option<&StatusUrls>,
    ) -> Result<Issued, IssueError> {
        if prepared.issuer() != self.spki {
            return Err(IssueError::Foreign {
                prepared_by: prepared.issuer(),
            });
        }
        let serial = prepared
            .serial()
            .ok_or_else(|| IssueError::Sign("it was prepared without a serial number".into()))?;
        let mut params =
            leaf_params(prepared, serial).map_err(|source| IssueError::Sign(source.into()))?;
        if let Some(status) = status {
            params.crl_distribution_points = vec![distribution_point(status.crl.as_str())];
            params.custom_extensions = vec![ocsp_access(&status.ocsp)];
        }
        let certificate = params
            .signed_by(prepared.public_key().as_rcgen(), &self.signer)
            .map_err(|source| IssueError::Sign(source.into()))?;
        let certificate_pem = encode_pem(CERTIFICATE_LABEL, certificate.der());
        Ok(Issued {
            chain_pem: format!("{certificate_pem}{}", self.certificate_pem),
            certificate_pem,
            serial,
            fingerprint: Fingerprint::of_certificate_der(certificate.der()),
            issuer: self.spki,
            validity: prepared.validity(),
        })
    }

    /// A CA certificate for `key` below this one, which can have no CA below it.
    pub(crate) fn issue_intermediate(
        &self,
        common_name: &str,
        key: &KeyPair,
        crl: Option<&str>,
        now: UnixMs,
        lifetime: Duration,
    ) -> Result<rcgen::Certificate, PrepareError> {
        let validity = validity_within(self.validity, now, lifetime)?;
        let serial = RandomSerials.draw()?;
        let mut params = ca_params(common_name, 0, serial, validity);
        // Without this it could not sign OCSP answers (RFC 5280 section 4.2.1.3).
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        params.crl_distribution_points = crl.map(distribution_point).into_iter().collect();
        params
            .signed_by(key, &self.signer)
            .map_err(|source| PrepareError::Refused(source.into()))
    }

    pub(crate) fn sign_crl(
        &self,
        entries: &[RevokedEntry],
        number: u64,
        now: UnixMs,
        next_update: UnixMs,
    ) -> Result<Vec<u8>, SignCrlError> {
        if next_update.as_secs() <= now.as_secs() {
            return Err(SignCrlError::NextUpdateNotAfterNow { now, next_update });
        }
        let tbs = tbs_cert_list(
            &CrlFrame {
                issuer: &self.name,
                algorithm: &self.algorithm,
                key_id: &self.key_id,
                number,
                this_update: now,
                next_update,
            },
            entries,
        );
        let signature = self
            .signer
            .key()
            .sign(&tbs)
            .map_err(|source| SignCrlError::Sign(source.into()))?;
        let no_unused_bits = [0];
        let signature = tlv(der::BIT_STRING, &[&no_unused_bits, &signature]);
        Ok(tlv(der::SEQUENCE, &[&tbs, &self.algorithm, &signature]))
    }

    pub(crate) fn sign_ocsp(&self, data: &OcspResponseData) -> Result<Vec<u8>, SignOcspError> {
        signed_response(data, &self.signer.key().0, &self.algorithm, None)
    }
}

/// Certificates and lists must name their issuer byte for byte as its certificate does, or no
/// chain holds. The signing library rebuilds the name from its parts, which fails for names with a
/// repeated attribute: sign something and look. What was signed also tells the algorithm.
fn try_out(
    signer: &rcgen::Issuer<'_, CaKey>,
    key_id: &[u8],
    certificate: &X509Certificate<'_>,
) -> Result<Vec<u8>, JoinAuthorityError> {
    let from = validity_of(certificate).not_before;
    let list = CertificateRevocationListParams {
        this_update: asn1_time(from),
        next_update: asn1_time(from.saturating_add(Duration::from_secs(1))),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::PreSpecified(key_id.into()),
    }
    .signed_by(signer)
    .map_err(|_| JoinAuthorityError::Malformed)?;
    match CertificateRevocationList::from_der(list.der()) {
        Ok((_, list)) if list.issuer().as_raw() == certificate.subject().as_raw() => {}
        _ => return Err(JoinAuthorityError::Name),
    }
    signature_algorithm_of(list.der()).ok_or(JoinAuthorityError::Malformed)
}

/// A CA key. Its serialised form is wiped when it is dropped; it is never printed.
struct CaKey(Zeroizing<KeyPair>);

impl PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

fn leaf_params(
    prepared: &Prepared,
    serial: SerialNumber,
) -> Result<CertificateParams, rcgen::Error> {
    let profile = prepared.profile();
    let mut params = params(profile.common_name(), serial, prepared.validity());
    for name in profile.dns_names() {
        params
            .subject_alt_names
            .push(SanType::DnsName(name.try_into()?));
    }
    for address in profile.ip_addresses() {
        params.subject_alt_names.push(SanType::IpAddress(*address));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    // TLS 1.3 and ECDHE suites only ever sign with the certified key, RSA keys too.
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match profile.kind() {
        ProfileKind::Device | ProfileKind::NatsClient => {
            vec![ExtendedKeyUsagePurpose::ClientAuth]
        }
        ProfileKind::NatsServer => vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
    };
    Ok(params)
}

pub(crate) fn ca_params(
    common_name: &str,
    path_len: u8,
    serial: SerialNumber,
    validity: Validity,
) -> CertificateParams {
    let mut params = params(common_name, serial, validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(common_name: &str, serial: SerialNumber, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.serial_number = Some(serial_number(serial));
    params.not_before = asn1_time(validity.not_before);
    params.not_after = asn1_time(validity.not_after);
    params.use_authority_key_identifier_extension = true;
    params
}

fn serial_number(serial: SerialNumber) -> rcgen::SerialNumber {
    rcgen::SerialNumber::from_slice(serial.as_be_bytes())
}

/// The subject key identifier of a certificate that may sign certificates and lists.
fn ca_key_id(certificate: &X509Certificate<'_>) -> Result<Vec<u8>, JoinAuthorityError> {
    use x509_parser::extensions::ParsedExtension;

    let usage = certificate.key_usage().ok().flatten();
    let signs = usage.is_some_and(|usage| usage.value.key_cert_sign() && usage.value.crl_sign());
    if !certificate.is_ca() || !signs {
        return Err(JoinAuthorityError::NotCa);
    }
    certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
        .ok_or(JoinAuthorityError::NotCa)
}

fn distribution_point(crl: &str) -> CrlDistributionPoint {
    CrlDistributionPoint {
        uris: vec![crl.to_owned()],
    }
}

/// Authority information access (RFC 5280 section 4.2.2.1) by OCSP.
fn ocsp_access(ocsp: &StatusUrl) -> CustomExtension {
    let uniform_resource_identifier = tlv(der::context(6), &[ocsp.as_str().as_bytes()]);
    let description = tlv(
        der::SEQUENCE,
        &[&ACCESS_BY_OCSP, &uniform_resource_identifier],
    );
    CustomExtension::from_oid_content(
        &AUTHORITY_INFORMATION_ACCESS,
        tlv(der::SEQUENCE, &[&description]),
    )
}

/// Why a certificate and a key don't make a CA.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinAuthorityError {
    /// The certificate can't be read.
    #[error("the certificate is malformed")]
    Malformed,
    /// It is not a CA's.
    #[error(
        "the certificate is no CA's: it needs CA:TRUE, the key usages keyCertSign and cRLSign, and a subject key identifier"
    )]
    NotCa,
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The subject has a form that can't be reproduced as an issuer name.
    #[error(
        "the certificate's subject has repeated or multi-valued attributes, which is not supported"
    )]
    Name,
}
