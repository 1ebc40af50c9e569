//! Scratch certificates are as hostile as they are meant to be, and otherwise in order.

use std::process::Command;
use std::time::Duration;

use leafgate_identity::{ParsedChain, SerialNumber, UnixMs};
use leafgate_pki::{Intermediate, RootKey, init};
use leafgate_testkit::scratch_ca::{
    ExtendedKeyUsagePurpose, NameAttribute, ScratchCa, ScratchCertificate, ScratchLeaf, StringType,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// 2026-03-01T12:00:00.250Z
const NOW: UnixMs = UnixMs::new(1_772_366_400_250);
const CN: &str = "device-0001.device.synadia.local";

fn parse(certificate: &ScratchCertificate) -> Result<ParsedChain, String> {
    let chain: Vec<String> = pem::parse_many(&certificate.chain_pem)
        .expect("PEM")
        .iter()
        .map(pem::encode)
        .collect();
    ParsedChain::parse(&chain).map_err(|error| error.to_string())
}

fn text(certificate: &ScratchCertificate) -> String {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &certificate.certificate_pem).expect("written");
    let shown = Command::new("openssl")
        .args([
            "x509",
            "-noout",
            "-text",
            "-nameopt",
            "multiline,show_type",
            "-in",
        ])
        .arg(file.path())
        .output()
        .expect("these tests need openssl on PATH");
    assert!(
        shown.status.success(),
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    String::from_utf8_lossy(&shown.stdout).into_owned()
}

fn is_signed_by(certificate: &ScratchCertificate, ca: &ScratchCa) -> bool {
    let leaf = pem::parse(&certificate.certificate_pem).expect("PEM");
    let issuer = pem::parse(ca.certificate_pem()).expect("PEM");
    let (_, leaf) = X509Certificate::from_der(leaf.contents()).expect("a certificate");
    let (_, issuer) = X509Certificate::from_der(issuer.contents()).expect("a certificate");
    leaf.verify_signature(Some(issuer.public_key())).is_ok()
}

#[test]
fn a_plain_device_is_like_a_real_one() {
    let ca = ScratchCa::root("foreign root").intermediate("foreign devices");
    let signed = ca.sign(&ScratchLeaf::device(CN, NOW));
    let chain = parse(&signed).expect("well-formed");
    assert_eq!(chain.leaf.common_name(), CN);
    assert_eq!(chain.leaf.fingerprint(), signed.fingerprint);
    assert_eq!(chain.issuer, ca.spki());
    assert!(chain.leaf.validity().contains(NOW));
    assert!(is_signed_by(&signed, &ca));
}

#[test]
fn names_are_written_as_given() {
    let ca = ScratchCa::root("foreign root");
    let leaf = ScratchLeaf::device("", NOW).with_subject([
        NameAttribute::organization("Evil"),
        NameAttribute::common_name("first"),
        NameAttribute::raw_common_name(StringType::Bmp, &[0, b'*']),
        NameAttribute::raw_common_name(StringType::Printable, b"device.>\0"),
    ]);
    let signed = ca.sign(&leaf);
    let shown = text(&signed);
    for part in [
        "UTF8STRING:Evil",
        "UTF8STRING:first",
        "BMPSTRING:*",
        "PRINTABLESTRING:device.>",
    ] {
        assert!(shown.contains(part), "{part} missing in\n{shown}");
    }
    let (_, subject) = shown.split_once("Subject:").expect("a subject");
    assert_eq!(subject.matches("commonName").count(), 3, "{shown}");
    assert!(is_signed_by(&signed, &ca));
    assert!(parse(&signed).is_err());
}

#[test]
fn extensions_dates_and_flags_are_written_as_given() {
    let ca = ScratchCa::root("foreign root");
    let day = Duration::from_secs(24 * 3600);
    let leaf = ScratchLeaf::device(CN, NOW)
        .with_dns_name("*.device.synadia.local")
        .with_ip_address("10.0.0.1".parse().expect("an address"))
        .with_email("a@example.org")
        .with_uri("spiffe://example.org/a")
        .with_extended_usages(&[ExtendedKeyUsagePurpose::CodeSigning])
        .with_validity(NOW.saturating_sub(2 * day), NOW.saturating_sub(day))
        .with_ca_flag();
    let shown = text(&ca.sign(&leaf));
    for part in [
        "DNS:*.device.synadia.local, IP Address:10.0.0.1, email:a@example.org, URI:spiffe://example.org/a",
        "Code Signing",
        "Not After : Feb 28 12:00:00 2026 GMT",
        "CA:TRUE",
    ] {
        assert!(shown.contains(part), "{part} missing in\n{shown}");
    }
    assert!(!shown.contains("Client Authentication"));
    let bare = text(&ca.sign(&ScratchLeaf::device(CN, NOW).with_extended_usages(&[])));
    assert!(!bare.contains("Extended Key Usage"));
}

#[test]
fn serial_numbers_are_written_as_given() {
    let ca = ScratchCa::root("foreign root");
    for octets in [&[0x01][..], &[0x80; 16], &[0x7f; 20], &[0xff; 20]] {
        let serial = SerialNumber::from_be_bytes(octets).expect("positive");
        let signed = ca.sign(&ScratchLeaf::device(CN, NOW).with_serial(serial));
        assert_eq!(parse(&signed).expect("well-formed").leaf.serial(), serial);
    }
    for octets in [&[0][..], &[0xff], &[1; 21]] {
        let signed = ca.sign(&ScratchLeaf::device(CN, NOW).with_raw_serial(octets));
        assert!(parse(&signed).is_err(), "{octets:?}");
    }
}

#[test]
fn a_real_intermediates_key_signs_past_the_registrar() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let real = init(&dir.path().join("ca"), RootKey::DevPlain, NOW).expect("a new CA");
    let devices = Intermediate::Devices;
    let ca = ScratchCa::of_files(&real.certificate(devices), &real.key(devices)).expect("loaded");
    let pair = ScratchCa::root("any").sign(&ScratchLeaf::device(CN, NOW));
    let signed = ca
        .sign_for(&ScratchLeaf::device(CN, NOW), &pair.private_key_pem)
        .expect("a key");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &signed.certificate_pem).expect("written");
    let verified = Command::new("openssl")
        .args(["verify", "-purpose", "sslclient", "-attime"])
        .arg(NOW.as_secs().to_string())
        .arg("-CAfile")
        .arg(real.root_certificate())
        .arg("-untrusted")
        .arg(real.certificate(devices))
        .arg(file.path())
        .output()
        .expect("these tests need openssl on PATH");
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    let of = |certificate| parse(certificate).expect("well-formed").leaf.public_key();
    assert_eq!(of(&signed), of(&pair), "the key that was asked for");
}
