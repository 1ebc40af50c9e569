//! What OpenSSL asks, and what it says of the answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leafgate_identity::SerialNumber;
use leafgate_pki::{
    CertStatus, CrlReason, EmbeddedCa, Intermediate, Issuer, IssuerHashes, JoinResponderError,
    KeyPairPem, OcspError, OcspRequest, OcspResponder, OcspResponseData, SignOcspError,
    SingleResponse,
};
use secrecy::SecretString;

use crate::support::{CA_KEYS, NOW, TestCa, device, foreign_ca, issue, openssl, try_openssl};

const HOUR: Duration = Duration::from_secs(3600);

/// What `openssl ocsp` asks of these serial numbers.
pub(crate) fn asked(
    test: &TestCa,
    issuer: &Path,
    serials: &[SerialNumber],
    more: &[&str],
) -> Vec<u8> {
    let out = test.path("request.der");
    let serials: Vec<String> = serials.iter().map(|serial| format!("0x{serial}")).collect();
    let mut args = vec!["ocsp", "-reqout", out.to_str().unwrap()];
    args.extend(more);
    args.extend(["-issuer", issuer.to_str().unwrap()]);
    args.extend(serials.iter().flat_map(|serial| ["-serial", serial]));
    openssl(&args);
    std::fs::read(out).unwrap()
}

pub(crate) fn response_to(request: OcspRequest, statuses: &[CertStatus]) -> OcspResponseData {
    let cert_ids = request.cert_ids.into_iter().zip(statuses);
    OcspResponseData {
        responses: cert_ids
            .map(|(cert_id, status)| SingleResponse {
                cert_id,
                status: *status,
            })
            .collect(),
        nonce: request.nonce,
        produced_at: NOW,
        this_update: NOW,
        next_update: NOW.saturating_add(HOUR),
    }
}

/// What `openssl ocsp` says of an answer to the request that [`asked`] left.
fn checked(test: &TestCa, issuer: &Path, anchor: &Path, response: &[u8]) -> (bool, String) {
    let response = test.write("response.der", response);
    let output = try_openssl(&[
        "ocsp",
        "-reqin",
        test.path("request.der").to_str().unwrap(),
        "-respin",
        response.to_str().unwrap(),
        "-issuer",
        issuer.to_str().unwrap(),
        "-CAfile",
        anchor.to_str().unwrap(),
        "-verify_other",
        issuer.to_str().unwrap(),
        "-partial_chain",
        "-attime",
        &NOW.as_secs().to_string(),
        // The dates of the answer are compared with the machine's clock, with this leeway.
        "-validity_period",
        "2000000000",
        "-resp_text",
    ]);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (said.contains("Response verify OK"), said)
}

async fn signed(ca: &EmbeddedCa, data: &OcspResponseData) -> Vec<u8> {
    ca.sign_ocsp(data).await.unwrap()
}

fn status_line(serial: SerialNumber, status: &str) -> String {
    let serial = serial.to_string().to_uppercase();
    format!("Serial Number: {serial}\n    Cert Status: {status}\n")
}

fn serial(bytes: &[u8]) -> SerialNumber {
    SerialNumber::from_be_bytes(bytes).unwrap()
}

/// The SHA-1 of a certificate's key, in upper-case hex.
fn key_hash(certificate: &Path) -> String {
    let shown = openssl(&[
        "x509",
        "-in",
        certificate.to_str().unwrap(),
        "-noout",
        "-ocspid",
    ]);
    let (_, hash) = shown.split_once("Public key OCSP hash: ").unwrap();
    hash.trim().to_owned()
}

#[tokio::test]
async fn answers_name_the_state_of_each_certificate_by_either_hash() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let (issuer, root) = (
        test.ca.certificate(Intermediate::Devices),
        test.ca.root_certificate(),
    );
    let hashes = IssuerHashes::of_certificate_pem(ca.certificate_pem()).unwrap();
    let serials = [serial(&[0x7f; 16]), serial(&[0xff; 20]), serial(&[1])];
    let statuses = [
        CertStatus::Good,
        CertStatus::Revoked {
            at: NOW.saturating_sub(HOUR),
            reason: CrlReason::KeyCompromise,
        },
        CertStatus::Unknown,
    ];
    for digest in ["-sha1", "-sha256"] {
        let request = OcspRequest::parse(&asked(&test, &issuer, &serials, &[digest])).unwrap();
        assert!(request.cert_ids.iter().all(|id| hashes.named_by(id)));
        let read: Vec<_> = request.cert_ids.iter().map(|id| id.serial()).collect();
        assert_eq!(read, serials.map(Some));
        let response = signed(&ca, &response_to(request, &statuses)).await;
        let (verified, said) = checked(&test, &issuer, &root, &response);
        assert!(verified, "{said}");
        assert!(!said.contains("WARNING"), "{said}");
        for part in [
            &status_line(serials[0], "good")[..],
            &status_line(serials[1], "revoked"),
            &status_line(serials[2], "unknown"),
            "Revocation Reason: keyCompromise (0x1)\n",
            "Revocation Time: Mar  1 11:00:00 2026 GMT",
            "This Update: Mar  1 12:00:00 2026 GMT",
            "Next Update: Mar  1 13:00:00 2026 GMT",
            "Produced At: Mar  1 12:00:00 2026 GMT",
            &format!("Responder Id: {}\n", key_hash(&issuer)),
        ] {
            assert!(said.contains(part), "{digest}: {part:?} missing in\n{said}");
        }
    }
}

#[tokio::test]
async fn an_unspecified_reason_is_left_out() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let issuer = test.ca.certificate(Intermediate::Devices);
    let request = OcspRequest::parse(&asked(&test, &issuer, &[serial(&[1])], &[])).unwrap();
    let revoked = CertStatus::Revoked {
        at: NOW,
        reason: CrlReason::Unspecified,
    };
    let response = signed(&ca, &response_to(request, &[revoked])).await;
    let (verified, said) = checked(&test, &issuer, &test.ca.root_certificate(), &response);
    assert!(verified && said.contains("Revocation Time"), "{said}");
    assert!(!said.contains("Reason"), "{said}");
}

#[tokio::test]
async fn a_nonce_binds_the_answer_to_its_request() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let issuer = test.ca.certificate(Intermediate::Devices);
    let root = test.ca.root_certificate();
    let ask = |more: &[&str]| asked(&test, &issuer, &[serial(&[1])], more);

    let without = OcspRequest::parse(&ask(&["-no_nonce"])).unwrap();
    assert_eq!(without.nonce, None);
    let earlier = OcspRequest::parse(&ask(&[])).unwrap();
    let request = OcspRequest::parse(&ask(&[])).unwrap();
    assert_ne!(request.nonce, earlier.nonce);
    for (request, complaint) in [
        (request, None),
        (earlier, Some("Nonce Verify error")),
        (without, Some("WARNING: no nonce in response")),
    ] {
        let response = signed(&ca, &response_to(request, &[CertStatus::Good])).await;
        let (_, said) = checked(&test, &issuer, &root, &response);
        match complaint {
            None => assert!(
                said.contains("Cert Status: good\n") && !said.contains("WARNING"),
                "{said}"
            ),
            Some(complaint) => assert!(said.contains(complaint), "{said}"),
        }
    }
}

#[tokio::test]
async fn requests_about_other_issuers_are_told_apart() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let hashes = IssuerHashes::of_certificate_pem(ca.certificate_pem()).unwrap();
    let others = [
        test.ca.certificate(Intermediate::Servers),
        test.ca.root_certificate(),
        TestCa::create().ca.certificate(Intermediate::Devices),
    ];
    let own = test.ca.certificate(Intermediate::Devices);
    for (digest, known) in [("-sha1", true), ("-sha256", true), ("-sha384", false)] {
        let ask = |issuer: &Path| {
            let der = asked(&test, issuer, &[serial(&[1])], &[digest]);
            OcspRequest::parse(&der).unwrap()
        };
        assert_eq!(hashes.named_by(&ask(&own).cert_ids[0]), known, "{digest}");
        for other in others.iter().filter(|other| other.exists()) {
            assert!(!hashes.named_by(&ask(other).cert_ids[0]), "{digest}");
        }
    }
}

#[tokio::test]
async fn answers_of_every_kind_of_key_verify() {
    let test = TestCa::create();
    for (name, new_key) in CA_KEYS {
        let (certificate, ca) = foreign_ca(&test, new_key);
        let request = asked(&test, &certificate, &[serial(&[1])], &[]);
        let request = OcspRequest::parse(&request).unwrap();
        let mut response = signed(&ca, &response_to(request, &[CertStatus::Good])).await;
        let (verified, said) = checked(&test, &certificate, &certificate, &response);
        assert!(verified, "{name}: {said}");
        // The last octet belongs to the signature.
        *response.last_mut().unwrap() ^= 1;
        let (verified, said) = checked(&test, &certificate, &certificate, &response);
        assert!(!verified, "{name}: {said}");
    }
}

#[tokio::test]
async fn an_answer_must_end_after_it_begins() {
    let test = TestCa::create();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let issuer = test.ca.certificate(Intermediate::Devices);
    let request = OcspRequest::parse(&asked(&test, &issuer, &[serial(&[1])], &[])).unwrap();
    let mut data = response_to(request, &[CertStatus::Good]);
    data.next_update = data.this_update;
    assert!(matches!(
        ca.sign_ocsp(&data).await,
        Err(SignOcspError::NextUpdateNotAfterThisUpdate { .. })
    ));
}

#[test]
fn openssl_reads_what_is_answered_instead() {
    let test = TestCa::create();
    let issuer = test.ca.certificate(Intermediate::Devices);
    asked(&test, &issuer, &[serial(&[1])], &[]);
    for (error, name) in [
        (OcspError::MalformedRequest, "malformedrequest (1)"),
        (OcspError::InternalError, "internalerror (2)"),
        (OcspError::TryLater, "trylater (3)"),
        (OcspError::Unauthorized, "unauthorized (6)"),
    ] {
        let root = test.ca.root_certificate();
        let (_, said) = checked(&test, &issuer, &root, &error.to_der());
        let line = format!("Responder Error: {name}");
        assert!(said.contains(&line), "{line:?} missing in\n{said}");
    }
}

/// A key and a certificate for it that the devices' intermediate signed with these extensions.
fn responder(test: &TestCa, extensions: &str) -> (String, SecretString) {
    let (key, csr, out) = (
        test.path("responder.key"),
        test.path("responder.csr"),
        test.path("responder.crt"),
    );
    let extensions = test.write("extensions", extensions);
    let [key_text, csr_text, out_text] = [&key, &csr, &out].map(|path| path.to_str().unwrap());
    openssl(&[
        "req",
        "-new",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-subj",
        "/CN=responder",
        "-keyout",
        key_text,
        "-out",
        csr_text,
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        csr_text,
        "-CA",
        test.ca.certificate(Intermediate::Devices).to_str().unwrap(),
        "-CAkey",
        test.ca.key(Intermediate::Devices).to_str().unwrap(),
        "-extfile",
        extensions.to_str().unwrap(),
        "-days",
        "3650",
        "-out",
        out_text,
    ]);
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    (read(&out), read(&key).into())
}

#[tokio::test]
async fn a_responder_signs_in_its_issuers_place() {
    let test = TestCa::create();
    let (certificate, key) = responder(
        &test,
        "extendedKeyUsage=OCSPSigning\nnoCheck=ignored\nkeyUsage=critical,digitalSignature\n",
    );
    let responder = OcspResponder::new(&certificate, &key).unwrap();
    let issuer = test.ca.certificate(Intermediate::Devices);
    let root = test.ca.root_certificate();
    let request = OcspRequest::parse(&asked(&test, &issuer, &[serial(&[1])], &[])).unwrap();
    let data = response_to(request, &[CertStatus::Good]);
    let response = test.write("response.der", responder.sign(&data).unwrap());
    // Its certificate is of the day on which this test runs.
    let said = try_openssl(&[
        "ocsp",
        "-reqin",
        test.path("request.der").to_str().unwrap(),
        "-respin",
        response.to_str().unwrap(),
        "-issuer",
        issuer.to_str().unwrap(),
        "-CAfile",
        root.to_str().unwrap(),
        "-verify_other",
        issuer.to_str().unwrap(),
        "-validity_period",
        "2000000000",
        "-resp_text",
    ]);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(said.contains("Response verify OK"), "{said}");
    let id = format!("Responder Id: {}\n", key_hash(&test.path("responder.crt")));
    assert!(said.contains(&id), "{said}");
}

#[tokio::test]
async fn a_responder_needs_its_issuers_word_and_its_key() {
    let test = TestCa::create();
    let (certificate, key) = responder(&test, "extendedKeyUsage=OCSPSigning\n");
    let other = KeyPairPem::generate().unwrap();
    let ca = test.ca.load(Intermediate::Devices).unwrap();
    let device = issue(&ca, device("0001"), other.public).await;
    let other = other.private_key_pem;
    for (certificate, key, expected) in [
        (&certificate[..], &other, JoinResponderError::KeyMismatch),
        (&certificate, &"junk".into(), JoinResponderError::Key),
        ("junk", &key, JoinResponderError::Certificate),
        (
            &device.certificate_pem,
            &other,
            JoinResponderError::NotResponder,
        ),
        (ca.certificate_pem(), &key, JoinResponderError::NotResponder),
    ] {
        assert_eq!(OcspResponder::new(certificate, key).unwrap_err(), expected);
    }
}
