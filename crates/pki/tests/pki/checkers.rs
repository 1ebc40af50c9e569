//! What pkilint and zlint say of everything that is signed here. scripts/install-pki-checkers.sh
//! installs them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use leafgate_identity::CnPattern;
use leafgate_pki::{
    CertStatus, CrlReason, Intermediate, Issuer, KeyPairPem, OcspRequest, Profile, PublicKeyInfo,
    RandomSerials, RevokedEntry, SerialSource,
};

use crate::ocsp::{asked, response_to};
use crate::support::{ACCEPTED_KEYS, NOW, TestCa, device, issue, openssl, openssl_csr};

const HOUR: Duration = Duration::from_secs(3600);
/// All of zlint's sources but the RFCs: the rules of the public web. (Naming the RFCs instead is
/// not possible, zlint 3.6.1 knows only some of them by name.)
const NO_RFC: &str = "Apple,CABF_BR,CABF_EV,CABF_SMIME_BR,Community,ETSI_ESI,Mozilla";

fn tool(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../.tools")
        .join(path);
    assert!(
        path.is_file(),
        "{} is missing: run scripts/install-pki-checkers.sh",
        path.display()
    );
    path
}

/// What pkilint finds in a file, warnings included; nothing if all is well.
fn pkilint(program: &str, args: &[&str], file: &Path) -> String {
    let output = Command::new(tool(&format!("pkilint/bin/{program}")))
        .args(["lint", "--severity", "WARNING"])
        .args(args)
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.is_empty(), "{complaint}");
    // It counts its findings in its exit status.
    assert_eq!(output.status.success(), said.trim().is_empty(), "{said}");
    said.trim().to_owned()
}

/// What zlint finds in a certificate or list in PEM, by the RFCs; nothing if all is well.
fn zlint(file: &Path) -> String {
    let output = Command::new(tool("zlint/3.6.1/zlint"))
        .args(["-excludeSources", NO_RFC, "-pretty"])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(r#""result": "pass""#),
        "nothing was checked: {said}"
    );
    let findings = ["warn", "error", "fatal"].map(|level| format!(r#""result": "{level}""#));
    let mut name = "";
    let mut found = Vec::new();
    for line in said.lines() {
        if line.ends_with(": {") {
            name = line.trim();
        }
        // It applies its filters to certificates only; this prefix marks the rules of the public
        // web for lists.
        let counts = !name.starts_with(r#""e_cab_"#);
        if counts && findings.iter().any(|finding| line.contains(finding)) {
            found.push(name);
        }
    }
    found.join("\n")
}

fn assert_certificate_is_clean(what: &str, certificate: &Path) {
    assert_eq!(pkilint("lint_pkix_cert", &[], certificate), "", "{what}");
    assert_eq!(zlint(certificate), "", "{what}");
}

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
