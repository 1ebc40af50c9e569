//! What OpenSSL says of certificates.

use std::path::Path;
use std::time::Duration;

use crate::support::{
    ACCEPTED_KEYS, NOW, TestCa, device, issue, openssl, openssl_csr, text, try_openssl, verify,
    verify_at,
};
use leafgate_identity::CnPattern;
use leafgate_pki::{Intermediate, Issuer, KeyPairPem, Profile, PublicKeyInfo};
use secrecy::ExposeSecret;

pub(crate) fn profiles() -> [(Profile, &'static [&'static str]); 3] {
    let patterns = [CnPattern::default()];
    let addresses = ["127.0.0.1", "::1"].map(|text| text.parse().unwrap());
    [
        (device("0001"), &["sslclient"]),
        (
            Profile::nats_server(&["leaf-1", "*.leaf.example.org"], &addresses, &patterns).unwrap(),
            &["sslserver", "sslclient"],
        ),
        (
            Profile::nats_client("callout-0", &patterns).unwrap(),
            &["sslclient"],
        ),
    ]
}

pub(crate) fn extension(certificate: &Path, names: &str) -> String {
    openssl(&[
        "x509",
        "-in",
        certificate.to_str().unwrap(),
        "-noout",
        "-ext",
        names,
    ])
}

#[tokio::test]
async fn every_profile_and_kind_of_key_passes_strict_verification() {
    let test = TestCa::create();
    let mut keys: Vec<(String, PublicKeyInfo)> = ACCEPTED_KEYS
        .iter()
        .map(|(name, args)| {
            let csr = openssl_csr(&test.path("key"), args);
            (name.to_string(), PublicKeyInfo::from_csr_pem(&csr).unwrap())
        })
        .collect();
    keys.push(("made here".into(), KeyPairPem::generate().unwrap().public));

    for (profile, purposes) in profiles() {
        let intermediate = profile.kind().intermediate();
        let issuer = test.ca.load(intermediate).unwrap();
        for (name, key) in &keys {
            let issued = issue(&issuer, profile.clone(), key.clone()).await;
            let leaf = test.write("leaf.crt", &issued.certificate_pem);
            for purpose in purposes {
                assert!(
                    verify(&test, &leaf, intermediate, &["-purpose", purpose]),
                    "{} with a {name} key as {purpose}",
                    profile.kind()
                );
            }
            for purpose in ["smimesign", "timestampsign"] {
                assert!(!verify(&test, &leaf, intermediate, &["-purpose", purpose]));
            }
            if !purposes.contains(&"sslserver") {
                assert!(!verify(
                    &test,
                    &leaf,
                    intermediate,
                    &["-purpose", "sslserver"]
                ));
            }
            assert_eq!(
                extension(&leaf, "keyUsage"),
                "X509v3 Key Usage: critical\n    Digital Signature\n"
            );
        }
    }
}

#[tokio::test]
async fn a_device_certificate_says_what_its_profile_says() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let key = KeyPairPem::generate().unwrap().public;

    let issued = issue(&ca, device("0001"), key.clone()).await;
    let leaf = test.write("leaf.crt", &issued.certificate_pem);
    let shown = text(&leaf);
    for part in [
        "Version: 3 (0x2)",
        "Subject: CN = device-0001.device.synadia.local\n",
        "Not Before: Mar  1 11:55:00 2026 GMT",
        "Not After : Mar  8 12:00:00 2026 GMT",
        "DNS:device-0001.device.synadia.local\n",
        "X509v3 Basic Constraints: critical\n                CA:FALSE\n",
        "TLS Web Client Authentication\n",
        "X509v3 Authority Key Identifier",
    ] {
        assert!(shown.contains(part), "{part:?} missing in\n{shown}");
    }
    assert!(!shown.contains("TLS Web Server Authentication"));
    let serial = openssl(&["x509", "-in", leaf.to_str().unwrap(), "-noout", "-serial"]);
    let digits = serial
        .trim()
        .trim_start_matches("serial=")
        .to_ascii_lowercase();
    assert_eq!(digits, issued.serial.to_string());
    let fingerprint = openssl(&[
        "x509",
        "-in",
        leaf.to_str().unwrap(),
        "-noout",
        "-fingerprint",
        "-sha256",
    ]);
    assert_eq!(
        fingerprint
            .trim()
            .rsplit('=')
            .next()
            .unwrap()
            .replace(':', "")
            .to_ascii_lowercase(),
        issued.fingerprint.to_string()
    );
    assert_eq!(
        issued.chain_pem,
        format!("{}{}", issued.certificate_pem, ca.certificate_pem())
    );

    let issued = issue(&ca, device("pump_7"), key).await;
    let leaf = test.write("leaf.crt", &issued.certificate_pem);
    assert!(!text(&leaf).contains("Subject Alternative Name"));
    assert!(verify(
        &test,
        &leaf,
        Intermediate::Devices,
        &["-purpose", "sslclient"]
    ));
}

#[tokio::test]
async fn a_server_certificate_bears_its_names_and_addresses() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Servers).unwrap();
    let [_, (profile, _), _] = profiles();
    let issued = issue(&ca, profile, KeyPairPem::generate().unwrap().public).await;
    let leaf = test.write("leaf.crt", &issued.certificate_pem);
    assert_eq!(
        extension(&leaf, "subjectAltName"),
        "X509v3 Subject Alternative Name: \n    DNS:leaf-1, DNS:*.leaf.example.org, \
         IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1\n"
    );
    assert_eq!(
        extension(&leaf, "extendedKeyUsage"),
        "X509v3 Extended Key Usage: \n    TLS Web Server Authentication, \
         TLS Web Client Authentication\n"
    );
    for (option, name, fits) in [
        ("-verify_hostname", "leaf-1", true),
        ("-verify_hostname", "a.leaf.example.org", true),
        ("-verify_hostname", "leaf.example.org", false),
        ("-verify_ip", "127.0.0.1", true),
        ("-verify_ip", "127.0.0.2", false),
    ] {
        assert_eq!(
            verify(&test, &leaf, Intermediate::Servers, &[option, name]),
            fits,
            "{name}"
        );
    }
}

/// rcgen's own way to sign a request copies the CA flag, names and usages it asks for.
#[tokio::test]
async fn a_request_gets_nothing_of_what_it_asks_for() {
    let test = TestCa::create();
    let csr = openssl_csr(
        &test.path("key"),
        &[
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-addext",
            "basicConstraints=critical,CA:TRUE,pathlen:3",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign,keyEncipherment",
            "-addext",
            "extendedKeyUsage=serverAuth,codeSigning,anyExtendedKeyUsage",
            "-addext",
            "subjectAltName=DNS:hub.example.org,DNS:*,IP:10.0.0.1,email:a@example.org,URI:spiffe://x/y",
            "-addext",
            "subjectKeyIdentifier=DEADBEEF",
            "-addext",
            "nameConstraints=permitted;DNS:example.org",
            "-addext",
            "certificatePolicies=1.2.3.4",
            "-addext",
            "1.2.3.4.5=ASN1:UTF8String:anything",
        ],
    );
    assert!(csr.contains("CERTIFICATE REQUEST"));
    let key = PublicKeyInfo::from_csr_pem(&csr).unwrap();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let issued = issue(&ca, device("0001"), key.clone()).await;
    let leaf = test.write("leaf.crt", &issued.certificate_pem);
    assert!(verify(
        &test,
        &leaf,
        Intermediate::Devices,
        &["-purpose", "sslclient"]
    ));

    // The same but for the key, the serial number and what follows from them.
    let plain = issue(&ca, device("0001"), KeyPairPem::generate().unwrap().public).await;
    let headings = |path: &Path| -> Vec<String> {
        text(path)
            .lines()
            .filter(|line| {
                let hex = |b: char| b.is_ascii_hexdigit() || matches!(b, ':' | ' ');
                !line.chars().all(hex)
            })
            .map(str::to_owned)
            .collect()
    };
    let expected = headings(&test.write("plain.crt", &plain.certificate_pem));
    assert_eq!(headings(&leaf), expected);
    let shown = text(&leaf);
    for asked in [
        "CA:TRUE",
        "hub.example",
        "10.0.0.1",
        "DE:AD:BE:EF",
        "Certificate Sign",
        "1.2.3.4",
    ] {
        assert!(!shown.contains(asked), "{asked} in\n{shown}");
    }
}

#[tokio::test]
async fn nothing_can_be_issued_below_a_device() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let pair = KeyPairPem::generate().unwrap();
    let issued = issue(&ca, device("0001"), pair.public).await;
    let leaf = test.write("leaf.crt", &issued.certificate_pem);
    let key = test.write("leaf.key", pair.private_key_pem.expose_secret());
    let csr = test.write(
        "below.csr",
        openssl_csr(&test.path("below.key"), ACCEPTED_KEYS[0].1),
    );
    let below = test.path("below.crt");
    openssl(&[
        "x509",
        "-req",
        "-in",
        csr.to_str().unwrap(),
        "-CA",
        leaf.to_str().unwrap(),
        "-CAkey",
        key.to_str().unwrap(),
        "-out",
        below.to_str().unwrap(),
        "-days",
        "36500",
    ]);
    let chain = test.write("chain.pem", &issued.chain_pem);
    let output = try_openssl(&[
        "verify",
        "-attime",
        &NOW.as_secs().to_string(),
        "-CAfile",
        test.ca.root_certificate().to_str().unwrap(),
        "-untrusted",
        chain.to_str().unwrap(),
        below.to_str().unwrap(),
    ]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("invalid CA certificate"));
}

#[test]
fn authorities_are_what_they_may_be_and_no_more() {
    let test = TestCa::create();
    let root = test.ca.root_certificate();
    let shown = text(&root);
    for part in ["CA:TRUE, pathlen:1", "Not After : Feb 24 12:00:00 2046 GMT"] {
        assert!(shown.contains(part), "{part:?} missing in\n{shown}");
    }
    for intermediate in [Intermediate::Devices, Intermediate::Servers] {
        let path = test.ca.certificate(intermediate);
        let shown = text(&path);
        assert!(
            shown.contains(&format!("Subject: CN = leafgate {intermediate} ")),
            "{shown}"
        );
        assert!(shown.contains("CA:TRUE, pathlen:0"), "{shown}");
        assert!(verify(&test, &path, intermediate, &[]));
    }
    for (path, signs_ocsp) in [
        (root, ""),
        (
            test.ca.certificate(Intermediate::Devices),
            "Digital Signature, ",
        ),
        (
            test.ca.certificate(Intermediate::Servers),
            "Digital Signature, ",
        ),
    ] {
        assert_eq!(
            extension(&path, "keyUsage"),
            format!("X509v3 Key Usage: critical\n    {signs_ocsp}Certificate Sign, CRL Sign\n")
        );
        assert!(extension(&path, "basicConstraints").contains("critical"));
        let identifiers = extension(&path, "subjectKeyIdentifier,authorityKeyIdentifier");
        assert!(
            identifiers.contains("Subject Key Identifier"),
            "{identifiers}"
        );
        assert!(
            identifiers.contains("Authority Key Identifier"),
            "{identifiers}"
        );
        assert!(!text(&path).contains("Extended Key Usage"));
    }
}

#[tokio::test]
async fn one_intermediate_does_not_vouch_for_the_others_certificates() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let issued = issue(&ca, device("0001"), KeyPairPem::generate().unwrap().public).await;
    let leaf = test.write("leaf.crt", &issued.certificate_pem);
    for (trusted, fits) in [
        (Intermediate::Devices, true),
        (Intermediate::Servers, false),
    ] {
        let output = try_openssl(&[
            "verify",
            "-partial_chain",
            "-attime",
            &NOW.as_secs().to_string(),
            "-trusted",
            test.ca.certificate(trusted).to_str().unwrap(),
            leaf.to_str().unwrap(),
        ]);
        assert_eq!(output.status.success(), fits, "{trusted}");
    }
}

#[tokio::test]
async fn certificates_are_valid_exactly_as_long_as_they_say() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let issued = issue(&ca, device("0001"), KeyPairPem::generate().unwrap().public).await;
    let leaf = test.write("leaf.crt", &issued.certificate_pem);
    let second = Duration::from_secs(1);
    let (first, last) = (issued.validity.not_before, issued.validity.not_after);
    for (at, fits) in [
        (first.saturating_sub(second), false),
        (first, true),
        // OpenSSL takes notAfter as the first invalid second, RFC 5280 as the last valid one.
        (last.saturating_sub(second), true),
        (last.saturating_add(second), false),
    ] {
        assert_eq!(
            verify_at(at, &test, &leaf, Intermediate::Devices, &[]),
            fits,
            "{at}"
        );
    }
}
