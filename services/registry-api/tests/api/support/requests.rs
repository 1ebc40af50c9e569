//! Certificate requests, good ones and others, and what may come of them.

use leafgate_testkit::scratch_ca::ScratchCa;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::tools::openssl;

/// A request (PEM) for a new P-256 key.
pub(crate) fn csr() -> String {
    csr_of(&KeyPair::generate().unwrap())
}

/// A request (PEM) of no interest but for its key.
pub(crate) fn csr_of(key: &KeyPair) -> String {
    let params = CertificateParams::default();
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// A request (PEM) with a common name, and a DNS name if there is one.
pub(crate) fn csr_named(key: &KeyPair, common_name: &str, dns_name: Option<&str>) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = Default::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.subject_alt_names = dns_name
        .map(|name| SanType::DnsName(name.try_into().unwrap()))
        .into_iter()
        .collect();
    params.serialize_request(key).unwrap().pem().unwrap()
}

pub(crate) fn der_of(pem: &str) -> Vec<u8> {
    pem::parse(pem).unwrap().into_contents()
}

pub(crate) fn pem_of(label: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(label, der))
}

/// Requests with good keys that ask for what nobody gives: each with what that is.
pub(crate) fn greedy() -> Vec<(&'static str, String)> {
    type Wish = fn(&mut CertificateParams);
    let wishes: [(&str, Wish); 4] = [
        ("CA:TRUE", |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }),
        ("a foreign common name", |params| {
            let (name, of) = (&mut params.distinguished_name, DnType::OrganizationName);
            name.push(DnType::CommonName, "device-9999.device.synadia.local");
            name.push(of, "evil");
        }),
        ("alternative names", |params| {
            let ia5 = |text: &str| Ia5String::try_from(text).unwrap();
            params.subject_alt_names = vec![
                SanType::IpAddress("10.0.0.1".parse().unwrap()),
                SanType::URI(ia5("spiffe://evil/hub")),
                SanType::DnsName(ia5("hub.example.com")),
                SanType::Rfc822Name(ia5("root@example.com")),
            ];
        }),
        ("usages", |params| {
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::Any,
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::CodeSigning,
            ];
        }),
    ];
    let all = request(|params| wishes.iter().for_each(|(_, wish)| wish(params)));
    let each = wishes.map(|(what, wish)| (what, request(wish)));
    each.into_iter().chain([("all of it", all)]).collect()
}

/// Texts that are no request, or one without a good key: each with what it is.
pub(crate) fn worthless() -> Vec<(&'static str, String)> {
    let good = csr();
    let mut broken = der_of(&good);
    *broken.last_mut().unwrap() ^= 1;
    let authority = ScratchCa::root("some authority");
    let secp256k1 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"];
    vec![
        ("nothing", String::new()),
        ("no PEM", "hello".to_owned()),
        ("a certificate", authority.certificate_pem().to_owned()),
        (
            "a private key",
            KeyPair::generate().unwrap().serialize_pem(),
        ),
        ("a broken signature", pem_of("CERTIFICATE REQUEST", &broken)),
        ("two requests", format!("{good}{}", csr())),
        ("700 KiB of extensions", with_extensions(700 * 1024)),
        (
            "RSA of 1024 bits",
            openssl_request(&["-newkey", "rsa:1024"]),
        ),
        (
            "RSA of 4224 bits",
            openssl_request(&["-newkey", "rsa:4224"]),
        ),
        ("an odd curve", openssl_request(&secp256k1)),
    ]
}

/// A request (PEM) with a good key and extensions of this many bytes.
pub(crate) fn with_extensions(bytes: usize) -> String {
    let content = vec![0; bytes];
    request(|params| {
        let extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], content);
        params.custom_extensions = vec![extension];
    })
}

/// That there is nothing in a device's certificate (PEM) but what the profile of devices says.
#[track_caller]
pub(crate) fn assert_is_plain(certificate_pem: &str, id: &str, what: &str) {
    let der = der_of(certificate_pem);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let name = format!("device-{id}.device.synadia.local");
    let subject: Vec<_> = certificate.subject().iter_attributes().collect();
    assert_eq!(subject.len(), 1, "{what}");
    assert_eq!(subject[0].as_str().unwrap(), name, "{what}");
    assert!(!certificate.is_ca(), "{what}");
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(
        usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign(),
        "{what}"
    );
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(
        extended.client_auth && !extended.server_auth && !extended.any && !extended.code_signing,
        "{what}"
    );
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(
        names.value.general_names,
        [GeneralName::DNSName(&name)],
        "{what}"
    );
}

fn request(wish: impl FnOnce(&mut CertificateParams)) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    wish(&mut params);
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn openssl_request(key: &[&str]) -> String {
    let new = [
        "req",
        "-new",
        "-nodes",
        "-subj",
        "/CN=x",
        "-keyout",
        "/dev/null",
    ];
    String::from_utf8(openssl(&[&new, key].concat(), b"")).unwrap()
}
