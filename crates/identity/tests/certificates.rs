//! Certificate chains, from PEM to the device that they name.

mod support;

use leafgate_identity::{
    Binding, CnPattern, DeviceIdentity, Fingerprint, ParseCertificateError, ParsedChain,
    ResolveIdentityError, SerialNumber, SpkiHash, TrustDomain, TrustDomainName, TrustDomains,
    UnixMs, spki_hash_of_certificate_pem, spki_hashes_of_certificates_pem,
};
use proptest::prelude::*;
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData};
use std::error::Error;
use support::{
    chain,
    der::Node,
    issue::{Ca, NAME, device, device_with_sans, dns, key},
    samples::{self, Expected},
};

fn domain(name: &str, issuer: SpkiHash, pattern: &str) -> TrustDomain {
    TrustDomain {
        name: TrustDomainName::parse(name).expect("a name"),
        issuers: vec![issuer],
        cn_pattern: CnPattern::parse(pattern).expect("a pattern"),
        binding: Binding::Issued,
    }
}

fn spki(key: &KeyPair) -> SpkiHash {
    SpkiHash::of_spki_der(&key.subject_public_key_info())
}

/// The trust domain of the CA for devices.
fn domains() -> TrustDomains {
    let devices = domain("devices", spki(&key(2)), CnPattern::DEFAULT);
    TrustDomains::try_from(vec![devices]).expect("one domain")
}

fn texts(ders: &[&[u8]]) -> Vec<String> {
    ders.iter().map(|der| chain::pem(der)).collect()
}

/// An error with all its sources.
fn full_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text += &format!(": {source}");
        next = source.source();
    }
    text
}

#[test]
fn every_sample_meets_what_is_expected() {
    for sample in samples::all() {
        let file = sample.file;
        let parsed = ParsedChain::parse(&chain::texts(&sample.bytes));
        match (sample.expected, parsed) {
            (Expected::Device(id), Ok(chain)) => {
                let identity = DeviceIdentity::resolve(&chain, &domains());
                assert_eq!(identity.expect(file).id.as_str(), id, "{file}");
            }
            (Expected::Unresolved(message), Ok(chain)) => {
                let error = DeviceIdentity::resolve(&chain, &domains()).expect_err(file);
                assert!(
                    full_text(&error).contains(message),
                    "{file}: {}",
                    full_text(&error)
                );
            }
            (Expected::Name(message), Err(error)) => {
                assert!(
                    full_text(&error).contains(message),
                    "{file}: {}",
                    full_text(&error)
                );
                assert!(error.is_name(), "{file}: {error}");
            }
            (Expected::Form(message), Err(error)) => {
                assert!(
                    full_text(&error).contains(message),
                    "{file}: {}",
                    full_text(&error)
                );
                assert!(!error.is_name(), "{file}: {error}");
            }
            (expected, parsed) => panic!("{file}: expected {expected:?}, got {parsed:?}"),
        }
    }
}

#[test]
fn reads_everything_that_a_certificate_says() {
    let devices = Ca::devices();
    let der = devices.issue(&device_with_sans(&[dns(NAME)]));
    let chain = ParsedChain::parse(&texts(&[&der, &devices.der])).expect("valid");

    assert_eq!(chain.leaf.common_name(), NAME);
    assert_eq!(chain.leaf.dns_san(), Some(NAME));
    assert_eq!(chain.leaf.serial().to_string(), "0a0b");
    assert_eq!(
        chain.leaf.fingerprint(),
        Fingerprint::of_certificate_der(&der)
    );
    assert_eq!(chain.leaf.public_key(), spki(&key(3)));
    assert_eq!(chain.issuer, spki(&key(2)));
    let validity = chain.leaf.validity();
    assert_eq!(validity.not_before.to_string(), "2026-01-01T00:00:00.000Z");
    assert_eq!(validity.not_after.to_string(), "2036-01-01T00:00:00.000Z");
    assert!(validity.contains(validity.not_before));
    assert!(validity.contains(validity.not_after));
    assert!(!validity.contains(UnixMs::new(validity.not_before.as_i64() - 1)));
    assert!(!validity.contains(UnixMs::new(validity.not_after.as_i64() + 1)));

    let identity = DeviceIdentity::resolve(&chain, &domains()).expect("a device");
    assert_eq!(identity.domain.as_str(), "devices");
    assert_eq!(identity.id.as_str(), "0001");
    assert_eq!(
        Ok(identity.serial),
        SerialNumber::from_be_bytes(&[0x0a, 0x0b])
    );
    assert_eq!(identity.fingerprint, chain.leaf.fingerprint());
    assert_eq!(identity.issuer, chain.issuer);
    assert_eq!(identity.validity, validity);

    let without_san = devices.issue(&device(NAME));
    let chain = ParsedChain::parse(&texts(&[&without_san, &devices.der])).expect("valid");
    assert_eq!(chain.leaf.dns_san(), None);
}

#[test]
fn reads_certificates_with_ecdsa_keys() {
    let ca = Ca::devices();
    let ca_params = CertificateParams::default();
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ] {
        let device_key = KeyPair::generate_for(algorithm).expect("a key");
        let issuer_key = KeyPair::generate_for(algorithm).expect("a key");
        let mut issuer_params = ca_params.clone();
        issuer_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let issuer_der = issuer_params
            .self_signed(&issuer_key)
            .expect("a certificate");
        let issuer = Issuer::new(issuer_params, &issuer_key);
        let leaf = device(NAME)
            .signed_by(&device_key, &issuer)
            .expect("a certificate");

        let chain =
            ParsedChain::parse(&[leaf.pem(), issuer_der.pem()].map(|pem| pem.replace('\r', "")))
                .expect("valid");
        assert_eq!(chain.issuer, spki(&issuer_key));
        assert_eq!(chain.leaf.public_key(), spki(&device_key));
        assert_ne!(
            chain.issuer,
            spki_hash_of_certificate_pem(&chain::pem(&ca.der)).expect("valid")
        );
    }
}

#[test]
fn the_issuer_decides_the_trust_domain_and_its_pattern() {
    let devices = Ca::devices();
    let names_other_domain = devices.issue(&device("device-0001.other.local"));
    let chain = ParsedChain::parse(&texts(&[&names_other_domain, &devices.der])).expect("valid");

    let here = domain("here", spki(&key(2)), "device-{id}.here.local");
    let other = domain("other", spki(&key(9)), "device-{id}.other.local");
    let both = TrustDomains::try_from(vec![here, other.clone()]).expect("two domains");
    let error = DeviceIdentity::resolve(&chain, &both).expect_err("foreign");
    assert!(matches!(
        &error,
        ResolveIdentityError::NameForeign { domain, .. } if domain.as_str() == "here"
    ));
    assert_eq!(
        error.to_string(),
        r#"common name "device-0001.other.local" does not match device-{id}.here.local, the pattern of trust domain here; issue the device a certificate with such a name"#
    );

    let stranger = TrustDomains::try_from(vec![other]).expect("one domain");
    assert_eq!(
        DeviceIdentity::resolve(&chain, &stranger),
        Err(ResolveIdentityError::IssuerUnknown {
            spki: spki(&key(2))
        })
    );
}

#[test]
fn the_key_of_a_single_certificate_can_be_asked_for() {
    let ca = chain::pem(&Ca::devices().der);
    assert_eq!(spki_hash_of_certificate_pem(&ca), Ok(spki(&key(2))));
    assert_eq!(
        spki_hash_of_certificate_pem(&ca.replace('\n', "\r\n")),
        Ok(spki(&key(2)))
    );

    let error = spki_hash_of_certificate_pem(&format!("{ca}{ca}")).expect_err("two");
    assert!(full_text(&error).starts_with("the certificate is not one PEM block: line"));
    let error = spki_hash_of_certificate_pem("").expect_err("none");
    assert!(full_text(&error).contains("does not begin with -----BEGIN CERTIFICATE-----"));
}

#[test]
fn the_keys_of_several_certificates_come_in_the_order_of_their_file() {
    let (first, second) = (chain::pem(&Ca::devices().der), chain::pem(&Ca::root().der));
    let keys = [&first, &second].map(|pem| spki_hash_of_certificate_pem(pem).expect("valid"));
    assert_eq!(
        spki_hashes_of_certificates_pem(&first),
        Ok(keys[..1].into())
    );
    for joined in [
        format!("{first}{second}"),
        format!("{first}\n\n{second}\n"),
        format!("{first}{second}").replace('\n', "\r\n"),
        format!("{first}{}", second.trim_end()),
    ] {
        assert_eq!(
            spki_hashes_of_certificates_pem(&joined),
            Ok(keys.into()),
            "{joined}"
        );
    }
    for (wrong, complaint) in [
        (
            String::new(),
            "does not begin with -----BEGIN CERTIFICATE-----",
        ),
        (
            format!("{first}junk\n{second}"),
            "certificate 2 of the file",
        ),
        (
            format!("{first}{}", &second[..100]),
            "certificate 2 of the file",
        ),
        (format!("{first}{second}junk"), "certificate 3 of the file"),
    ] {
        let error = spki_hashes_of_certificates_pem(&wrong).expect_err(complaint);
        assert!(full_text(&error).contains(complaint), "{error}");
    }
}

/// Where DER allows one element more: the parameters of the three algorithms.
const ALGORITHMS: [&[usize]; 3] = [&[0, 2], &[0, 6, 0], &[1]];

#[test]
fn no_element_of_a_certificate_is_passed_over() {
    let devices = Ca::devices();
    let tree = Node::parse(&devices.issue(&device_with_sans(&[dns(NAME)])));
    for path in tree.constructed_paths() {
        for position in 0.. {
            let mut longer = tree.clone();
            let children = longer.at(&path).children();
            if position > children.len() {
                break;
            }
            let is_parameter = ALGORITHMS.contains(&&path[..]) && position == children.len();
            children.insert(position, Node::Primitive(0x05, Vec::new()));
            let parsed = ParsedChain::parse(&texts(&[&longer.encode(), &devices.der]));
            match parsed {
                Ok(_) => assert!(is_parameter, "{path:?} at {position}"),
                Err(error) => assert!(!is_parameter, "{path:?} at {position}: {error}"),
            }
        }
    }
}

#[test]
fn errors_show_text_of_the_certificate_escaped_and_cut() {
    let devices = Ca::devices();
    let hostile = format!("\u{1b}[2J\r\n{}", "x".repeat(5000));
    let der = devices.issue(&device(hostile.as_str()));
    let error = ParsedChain::parse(&texts(&[&der, &devices.der])).expect_err("hostile");
    let ParseCertificateError::CommonNameCharacter { at: 0, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        error.to_string(),
        format!(
            r#"common name "\u{{1b}}[2J\r\n{}…" has "\u{{1b}}" at byte 0; the names of devices have only A-Z a-z 0-9 . - _ : @ /, no wildcards, blanks or control characters"#,
            "x".repeat(58)
        )
    );
}

fn valid_chain() -> (Vec<u8>, Vec<u8>) {
    let devices = Ca::devices();
    (devices.issue(&device_with_sans(&[dns(NAME)])), devices.der)
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(bytes: Vec<u8>, text: String) {
        chain::check(&bytes);
        chain::check(text.as_bytes());
        let block = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        chain::check(format!("{block}\x0c{block}").as_bytes());
    }

    #[test]
    fn no_bytes_in_a_block_make_the_parser_panic(first: Vec<u8>, second: Vec<u8>) {
        let text = format!("{}\x0c{}", chain::pem(&first), chain::pem(&second));
        chain::check(text.as_bytes());
    }

    #[test]
    fn no_change_of_a_chain_makes_the_parser_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let (leaf, issuer) = valid_chain();
        let mut bytes = [leaf, issuer].concat();
        for (index, value, kind) in changes {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes.insert(at, value),
                _ => {
                    bytes.remove(at);
                }
            }
        }
        chain::check(&bytes);
    }

    #[test]
    fn a_common_name_yields_exactly_the_id_that_it_was_made_from(
        hole in "[A-Za-z0-9_.*>@ -]{0,6}|[A-Za-z0-9_-]{1,36}|\\PC{0,4}|[\\x00-\\x7f]{0,4}",
        tag in prop::sample::select(vec![0x0c, 0x0c, 0x0c, 0x13, 0x14, 0x16, 0x1e]),
    ) {
        let pattern = CnPattern::default();
        let name = CnPattern::DEFAULT.replace("{id}", &hole);
        let der = samples::common_names::with_common_name(tag, name.as_bytes());
        let parsed = ParsedChain::parse(&texts(&[&der, &Ca::devices().der]));
        let id = parsed.ok().and_then(|chain| DeviceIdentity::resolve(&chain, &domains()).ok());
        match id {
            Some(identity) => {
                prop_assert!(tag == 0x0c || tag == 0x13);
                prop_assert_eq!(identity.id.as_str(), &hole);
                prop_assert_eq!(pattern.render(&identity.id), Ok(name));
            }
            None => prop_assert!(tag != 0x0c || pattern.matches(&name).is_err()),
        }
    }
}
