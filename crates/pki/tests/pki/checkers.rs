//! What pkilint and zlint say of everything that is signed here.

use std::time::Duration;

use leafgate_identity::CnPattern;
use leafgate_pki::{
    CertStatus, CrlReason, Intermediate, Issuer, KeyPairPem, OcspRequest, Profile, PublicKeyInfo,
    RandomSerials, RevokedEntry, SerialSource,
};
use leafgate_testkit::checkers::{assert_certificate_is_clean, pkilint, zlint};

use crate::ocsp::{asked, response_to};
use crate::support::{ACCEPTED_KEYS, NOW, TestCa, device, issue, openssl, openssl_csr};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn authorities() {
    for test in [
        TestCa::create(),
        TestCa::with_status("http://pki.example.org:8080"),
    ] {
        assert_certificate_is_clean("root", &test.ca.root_certificate());
        for intermediate in [Intermediate::Devices, Intermediate::Servers] {
            let path = test.ca.certificate(intermediate);
            assert_certificate_is_clean(intermediate.as_str(), &path);
        }
    }
}

/// A server's names are fully qualified here. pkilint finds fault with names of one label and with
/// wildcards, which RFC 5280 section 4.2.1.6 leaves to others, and which servers may ask for.
#[tokio::test]
async fn certificates_of_every_profile() {
    let patterns = [CnPattern::default()];
    let addresses = ["127.0.0.1", "::1"].map(|text| text.parse().unwrap());
    let names = ["leaf-1.example.org", "leaf.example.org"];
    for test in [
        TestCa::create(),
        TestCa::with_status("http://pki.example.org:8080"),
    ] {
        for profile in [
            device("0001"),
            // No DNS name, so that there is no SAN.
            device("pump_7"),
            Profile::nats_server(&names, &addresses, &patterns).unwrap(),
            Profile::nats_client("callout-0", &patterns).unwrap(),
        ] {
            let ca = test.load(profile.kind().intermediate());
            let what = format!("{} {}", profile.kind(), profile.common_name());
            let issued = issue(&ca, profile, KeyPairPem::generate().unwrap().public).await;
            let path = test.write("leaf.crt", &issued.certificate_pem);
            assert_certificate_is_clean(&what, &path);
        }
    }
}

#[tokio::test]
async fn certificates_of_every_kind_of_key() {
    let test = TestCa::with_status("http://pki.example.org:8080");
    let ca = test.load(Intermediate::Devices);
    for (name, args) in ACCEPTED_KEYS {
        let csr = openssl_csr(&test.path("key"), args);
        let key = PublicKeyInfo::from_csr_pem(&csr).unwrap();
        let issued = issue(&ca, device("0001"), key).await;
        assert_certificate_is_clean(name, &test.write("leaf.crt", &issued.certificate_pem));
    }
}

#[tokio::test]
async fn revocation_lists() {
    let test = TestCa::with_status("http://pki.example.org:8080");
    let root = test.ca.root_crl();
    let as_root = ["--type", "ARL", "--profile", "PKIX"];
    assert_eq!(pkilint("lint_crl", &as_root, &root), "");
    assert_eq!(zlint(&root), "");

    let ca = test.load(Intermediate::Devices);
    let reasons = [
        CrlReason::Unspecified,
        CrlReason::KeyCompromise,
        CrlReason::CaCompromise,
        CrlReason::AffiliationChanged,
        CrlReason::Superseded,
        CrlReason::CessationOfOperation,
        CrlReason::PrivilegeWithdrawn,
    ];
    let full = reasons.map(|reason| RevokedEntry {
        serial: RandomSerials.draw().unwrap(),
        revoked_at: NOW,
        reason,
    });
    for entries in [&[][..], &full] {
        let end = NOW.saturating_add(HOUR);
        let der = ca.sign_crl(entries, 7, NOW, end).await.unwrap();
        let list = test.write("list.crl", leafgate_pki::crl_pem(&der));
        let as_list = ["--type", "CRL", "--profile", "PKIX"];
        assert_eq!(pkilint("lint_crl", &as_list, &list), "");
        assert_eq!(zlint(&list), "");
    }
}

#[tokio::test]
async fn ocsp_answers() {
    let test = TestCa::with_status("http://pki.example.org:8080");
    let ca = test.load(Intermediate::Devices);
    let issuer = test.ca.certificate(Intermediate::Devices);
    let serials = [(); 4].map(|()| RandomSerials.draw().unwrap());
    let revoked = |reason| CertStatus::Revoked { at: NOW, reason };
    let statuses = [
        CertStatus::Good,
        revoked(CrlReason::PrivilegeWithdrawn),
        revoked(CrlReason::Unspecified),
        CertStatus::Unknown,
    ];
    for more in [&["-sha1"][..], &["-sha256", "-no_nonce"]] {
        let request = OcspRequest::parse(&asked(&test, &issuer, &serials, more)).unwrap();
        let data = response_to(request, &statuses);
        let response = test.write("response.der", ca.sign_ocsp(&data).await.unwrap());
        let found = pkilint("lint_ocsp_response", &[], &response);
        assert_eq!(found, "", "{more:?}");
    }
}

#[test]
fn both_find_fault_where_there_is_some() {
    let test = TestCa::create();
    let (key, certificate) = (test.path("key"), test.path("certificate"));
    openssl(&[
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-subj",
        "/CN=careless",
        "-addext",
        "basicConstraints=CA:TRUE",
        "-keyout",
        key.to_str().unwrap(),
        "-out",
        certificate.to_str().unwrap(),
    ]);
    let found = pkilint("lint_pkix_cert", &[], &certificate);
    assert!(found.contains("ERROR"), "{found}");
    assert!(zlint(&certificate).contains("basic_constraints_not_critical"));
}
