//! What is taken from a certificate request, and which requests are refused.

use crate::support::{ACCEPTED_KEYS, openssl, openssl_csr};
use leafgate_pki::{MAX_CSR_BYTES, ParseCsrError, ParsePublicKeyError, PublicKeyInfo};

fn fixture(name: &str) -> String {
    let path = format!(
        "{}/tests/fixtures/{name}.csr.pem",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(path).unwrap()
}

fn refusal(csr: &str) -> ParseCsrError {
    PublicKeyInfo::from_csr_pem(csr).expect_err("must be refused")
}

#[test]
fn supported_keys_are_taken_whatever_the_digest() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    for (name, args) in ACCEPTED_KEYS {
        for digest in ["-sha256", "-sha384", "-sha512"] {
            let csr = openssl_csr(&key, &[args, &[digest]].concat());
            let info = PublicKeyInfo::from_csr_pem(&csr).unwrap();
            assert_eq!(info.algorithm().to_string(), name);
            if name.starts_with("RSA") {
                break;
            }
        }
    }
}

#[test]
fn the_key_hash_is_that_of_the_public_key_in_the_request() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    for (name, args) in ACCEPTED_KEYS {
        let info = PublicKeyInfo::from_csr_pem(&openssl_csr(&key, args)).unwrap();
        let public = dir.path().join("public");
        openssl(&[
            "pkey",
            "-in",
            key.to_str().unwrap(),
            "-pubout",
            "-outform",
            "DER",
            "-out",
            public.to_str().unwrap(),
        ]);
        let digest = openssl(&["dgst", "-sha256", "-r", public.to_str().unwrap()]);
        assert!(digest.starts_with(&info.spki_hash().to_string()), "{name}");
    }
}

#[test]
fn weak_and_unsupported_keys_are_refused_by_name() {
    let unsupported = |algorithm: &str| ParsePublicKeyError::Unsupported {
        algorithm: algorithm.into(),
    };
    for (name, expected) in [
        ("rsa-1024", ParsePublicKeyError::RsaSize { bits: 1024 }),
        ("rsa-8192", ParsePublicKeyError::RsaSize { bits: 8192 }),
        ("rsa-exponent-3", ParsePublicKeyError::RsaExponent),
        ("rsa-exponent-33-bits", ParsePublicKeyError::RsaExponent),
        ("rsa-pss-key", unsupported("RSASSA-PSS")),
        ("p-521", unsupported("P-521")),
        ("secp256k1", unsupported("secp256k1")),
        (
            "p-256-explicit-curve",
            unsupported("EC without a named curve"),
        ),
        ("p-256-compressed-point", ParsePublicKeyError::Malformed),
        ("dsa", unsupported("DSA")),
        ("ed448", unsupported("Ed448")),
    ] {
        assert_eq!(
            refusal(&fixture(name)),
            ParseCsrError::Key(expected),
            "{name}"
        );
    }
}

#[test]
fn weak_and_unsupported_signatures_are_refused() {
    assert_eq!(refusal(&fixture("rsa-sha1")), ParseCsrError::Sha1);
    assert_eq!(
        refusal(&fixture("rsa-pss-signature")),
        ParseCsrError::UnsupportedSignature
    );
}

#[test]
fn no_altered_bit_goes_unnoticed() {
    let dir = tempfile::tempdir().unwrap();
    for (name, args) in &ACCEPTED_KEYS[..4] {
        let csr = openssl_csr(&dir.path().join("key"), args);
        let der = pem::parse(csr).unwrap().into_contents();
        assert!(PublicKeyInfo::from_csr_der(&der).is_ok());
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut altered = der.clone();
                altered[at] ^= 1 << bit;
                assert!(
                    PublicKeyInfo::from_csr_der(&altered).is_err(),
                    "{name}: bit {bit} of byte {at} altered"
                );
            }
        }
    }
}

#[test]
fn truncated_and_extended_requests_are_malformed() {
    let dir = tempfile::tempdir().unwrap();
    let csr = openssl_csr(&dir.path().join("key"), ACCEPTED_KEYS[0].1);
    let der = pem::parse(csr).unwrap().into_contents();
    for end in 0..der.len() {
        assert!(
            PublicKeyInfo::from_csr_der(&der[..end]).is_err(),
            "{end} bytes"
        );
    }
    let extended = [&der[..], &[0]].concat();
    assert_eq!(
        PublicKeyInfo::from_csr_der(&extended),
        Err(ParseCsrError::Malformed)
    );
}

#[test]
fn the_signature_of_another_request_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str| {
        let csr = openssl_csr(&dir.path().join(name), ACCEPTED_KEYS[2].1);
        pem::parse(csr).unwrap().into_contents()
    };
    let (mut mine, other) = (of("mine"), of("other"));
    let signature = mine.len() - 64;
    mine[signature..].copy_from_slice(&other[other.len() - 64..]);
    assert_eq!(
        PublicKeyInfo::from_csr_der(&mine),
        Err(ParseCsrError::BadSignature)
    );
}

#[test]
fn text_that_is_no_request_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let csr = openssl_csr(&key, ACCEPTED_KEYS[0].1);
    let relabelled = csr.replace("CERTIFICATE REQUEST", "CERTIFICATE");

    for junk in [
        "",
        "hello",
        "-----BEGIN CERTIFICATE REQUEST-----",
        &csr[..csr.len() - 40],
    ] {
        assert_eq!(refusal(junk), ParseCsrError::NotPem, "{junk:?}");
    }
    assert_eq!(
        refusal(
            "-----BEGIN CERTIFICATE REQUEST-----\naGVsbG8=\n-----END CERTIFICATE REQUEST-----\n"
        ),
        ParseCsrError::Malformed
    );
    assert_eq!(
        refusal(&format!("{csr}{csr}")),
        ParseCsrError::SeveralBlocks { count: 2 }
    );
    assert!(matches!(
        refusal(&relabelled),
        ParseCsrError::WrongLabel { .. }
    ));

    let private_key = std::fs::read_to_string(&key).unwrap();
    let refused = refusal(&private_key);
    assert_eq!(refused, ParseCsrError::PrivateKey);
    assert!(!format!("{refused} {refused:?}").contains(&private_key[40..60]));
}

#[test]
fn old_labels_text_around_and_crlf_are_fine() {
    let dir = tempfile::tempdir().unwrap();
    let csr = openssl_csr(&dir.path().join("key"), ACCEPTED_KEYS[0].1);
    let key = PublicKeyInfo::from_csr_pem(&csr).unwrap();
    for variant in [
        csr.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        csr.replace('\n', "\r\n"),
        format!("Certificate Request:\n    Data:\n{csr}\n"),
    ] {
        assert_eq!(PublicKeyInfo::from_csr_pem(&variant).unwrap(), key);
    }
}

#[test]
fn a_huge_request_is_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let csr = openssl_csr(&dir.path().join("key"), ACCEPTED_KEYS[0].1);
    let fits = format!("{}{csr}", "\n".repeat(MAX_CSR_BYTES - csr.len()));
    assert!(PublicKeyInfo::from_csr_pem(&fits).is_ok());
    let bytes = MAX_CSR_BYTES + 1;
    assert_eq!(
        refusal(&format!("\n{fits}")),
        ParseCsrError::TooLong { bytes }
    );
    assert_eq!(
        PublicKeyInfo::from_csr_der(&vec![0x30; bytes]),
        Err(ParseCsrError::TooLong { bytes })
    );
}
