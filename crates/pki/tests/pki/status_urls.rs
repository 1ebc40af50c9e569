//! Where certificates say that their status is to be had.

use leafgate_pki::{Intermediate, Issuer, KeyPairPem, RootAuthority, StatusUrl};

use crate::openssl::{extension, profiles};
use crate::support::{NOW, PASSPHRASE, TestCa, issue, openssl};

const STATUS: &str = "crlDistributionPoints,authorityInfoAccess";

#[tokio::test]
async fn every_profile_points_to_its_issuers_list_and_responder() {
    let test = TestCa::with_status("http://pki.example.org:8080/");
    for (profile, _) in profiles() {
        let ca = test.load(profile.kind().intermediate());
        let issued = issue(&ca, profile, KeyPairPem::generate().unwrap().public).await;
        let leaf = test.write("leaf.crt", &issued.certificate_pem);
        let list = format!("http://pki.example.org:8080/crl/{}.crl", ca.spki());
        assert_eq!(
            extension(&leaf, "crlDistributionPoints"),
            format!("X509v3 CRL Distribution Points: \n    Full Name:\n      URI:{list}\n")
        );
        assert_eq!(
            extension(&leaf, "authorityInfoAccess"),
            "Authority Information Access: \n    OCSP - URI:http://pki.example.org:8080/ocsp\n"
        );
        let leaf = leaf.to_str().unwrap();
        let uri = openssl(&["x509", "-in", leaf, "-noout", "-ocsp_uri"]);
        assert_eq!(uri, "http://pki.example.org:8080/ocsp\n");
    }
}

#[tokio::test]
async fn without_urls_there_is_no_extension() {
    let test = TestCa::create();
    for (profile, _) in profiles() {
        let ca = test.load(profile.kind().intermediate());
        let issued = issue(&ca, profile, KeyPairPem::generate().unwrap().public).await;
        let leaf = test.write("leaf.crt", &issued.certificate_pem);
        assert_eq!(extension(&leaf, STATUS), "");
    }
    for intermediate in [Intermediate::Devices, Intermediate::Servers] {
        assert_eq!(extension(&test.ca.certificate(intermediate), STATUS), "");
    }
}

#[test]
fn intermediates_point_to_the_roots_list_and_the_root_to_none() {
    let test = TestCa::with_status("http://pki.example.org:8080");
    let list = "http://pki.example.org:8080/crl/root.crl";
    let expected = format!("X509v3 CRL Distribution Points: \n    Full Name:\n      URI:{list}\n");
    for intermediate in [Intermediate::Devices, Intermediate::Servers] {
        assert_eq!(
            extension(&test.ca.certificate(intermediate), STATUS),
            expected
        );
    }
    assert_eq!(extension(&test.ca.root_certificate(), STATUS), "");

    let root = RootAuthority::read_encrypted(
        &test.ca.root_certificate(),
        &test.root_key(),
        &PASSPHRASE.into(),
    )
    .unwrap();
    let list = StatusUrl::parse(list).unwrap();
    let made = root
        .issue_intermediate("leafgate devices", Some(&list), NOW)
        .unwrap();
    let path = test.write("new.crt", made.certificate_pem);
    assert_eq!(extension(&path, STATUS), expected);
}
