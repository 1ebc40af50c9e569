//! EST (RFC 7030): the same enrolment and renewal in another form.

use std::collections::BTreeSet;

use data_encoding::{BASE64, BASE64_MIME};
use leafgate_testkit::scratch_ca::ScratchCa;
use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::bench::{Bench, DAY, Device};
use crate::support::requests::{csr_named, csr_of, der_of};
use crate::support::tools::openssl;
use crate::support::{Answer, Api};

const EST: &str = "/.well-known/est";

/// What a certs-only message holds, read by OpenSSL.
pub(crate) fn certificates_in(answer: &Answer) -> Vec<Vec<u8>> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.header("content-type"),
        "application/pkcs7-mime; smime-type=certs-only"
    );
    assert_eq!(answer.header("content-transfer-encoding"), "base64");
    assert!(answer.text.lines().all(|line| line.len() <= 76));
    let der = BASE64_MIME.decode(answer.text.as_bytes()).unwrap();
    let pem = openssl(&["pkcs7", "-inform", "DER", "-print_certs"], &der);
    let pem = String::from_utf8(pem).unwrap();
    let blocks = pem::parse_many(pem).unwrap();
    blocks.into_iter().map(pem::Pem::into_contents).collect()
}

async fn post(api: &Api, path: &str, token: Option<&str>, csr: &str) -> Answer {
    let request = api.request(Method::POST, &format!("{EST}{path}"));
    let request = match token {
        Some(token) => request.basic_auth("whoever", Some(token)),
        None => request,
    };
    let body = BASE64_MIME.encode(&der_of(csr));
    Answer::of(
        request
            .header("content-type", "application/pkcs10")
            .body(body),
    )
    .await
}

fn key_of(der: &[u8]) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    certificate.public_key().subject_public_key.data.to_vec()
}

fn read_der(bench: &Bench, file: &str) -> Vec<u8> {
    let path = bench.world.folder.path().join(file);
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_enrolls_and_reenrolls() {
    let bench = Bench::start().await;
    let anonymous = bench.world.admin.anonymous();
    let (_, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let mut device = Device::new("0001");
    let enrolled = post(
        &anonymous,
        "/simpleenroll",
        Some(bearer.key()),
        &device.csr(),
    )
    .await;
    let certificates = certificates_in(&enrolled);
    assert_eq!(certificates.len(), 1);
    assert_eq!(
        key_of(&certificates[0]),
        rcgen::PublicKeyData::der_bytes(&device.key)
    );
    let again = post(
        &anonymous,
        "/simpleenroll",
        Some(bearer.key()),
        &device.csr(),
    )
    .await;
    assert_eq!(certificates_in(&again), certificates);
    // Over REST it is the same.
    let over_rest = device.enrol(&bearer).await.expect(200);
    assert_eq!(
        der_of(over_rest["certificate"].as_str().unwrap()),
        certificates[0]
    );
    device.hold(&over_rest);

    let next = KeyPair::generate().unwrap();
    let name = device.common_name();
    let csr = csr_named(&next, &name, Some(&name));
    let renewed = post(&device.api(&bench), "/simplereenroll", None, &csr).await;
    let renewed = certificates_in(&renewed);
    assert_eq!(key_of(&renewed[0]), rcgen::PublicKeyData::der_bytes(&next));
    // After its end, too, for as long as over REST.
    bench.clock.advance(8 * DAY);
    let another = csr_named(&KeyPair::generate().unwrap(), &name, Some(&name));
    let late = post(&device.api(&bench), "/simplereenroll", None, &another).await;
    certificates_in(&late);
    bench.clock.advance(90 * DAY);
    let another = csr_named(&KeyPair::generate().unwrap(), &name, Some(&name));
    let too_late = post(&device.api(&bench), "/simplereenroll", None, &another).await;
    too_late.problem("renewal-refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificates_to_trust_are_for_everybody() {
    let other = ScratchCa::root("other devices");
    let sections = "[[trust_domain]]\nname = \"other\"\nissuers = [\"other.crt\"]\ncn_pattern = \"other-{id}\"";
    let bench = Bench::start_with_files(sections, &[("other.crt", other.certificate_pem())]).await;
    let anonymous = bench.world.admin.anonymous();
    let (root, devices) = (
        read_der(&bench, "ca/root.crt"),
        read_der(&bench, "ca/devices.crt"),
    );
    let foreign = der_of(other.certificate_pem());
    for (path, expected) in [
        (
            "/cacerts",
            [&root, &devices, &foreign].map(Vec::clone).into(),
        ),
        ("/default/cacerts", BTreeSet::from([root.clone(), devices])),
        ("/other/cacerts", BTreeSet::from([root, foreign])),
    ] {
        let answer = anonymous.get(&format!("{EST}{path}")).await;
        let found: BTreeSet<_> = certificates_in(&answer).into_iter().collect();
        assert_eq!(found, expected, "{path}");
    }
    for path in ["/csrattrs", "/default/csrattrs"] {
        let answer = anonymous.get(&format!("{EST}{path}")).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    }
    for path in [
        "/Default/cacerts",
        "/none/cacerts",
        "/serverkeygen",
        "",
        "/default",
        "/none/csrattrs",
    ] {
        let answer = anonymous.get(&format!("{EST}{path}")).await;
        answer.problem("route-unknown");
    }
    anonymous
        .get(&format!("{EST}/simpleenroll"))
        .await
        .problem("method-not-allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_the_trust_domain_of_the_token_or_certificate() {
    let other = ScratchCa::root("other devices");
    let sections = "[[trust_domain]]\nname = \"other\"\nissuers = [\"other.crt\"]\ncn_pattern = \"other-{id}\"";
    let bench = Bench::start_with_files(sections, &[("other.crt", other.certificate_pem())]).await;
    let anonymous = bench.world.admin.anonymous();
    let body = json!({ "name": "t", "admits": { "ids": ["0001"] }, "device_type": "pump", "trust_domain": "default" });
    let made = bench
        .world
        .admin
        .post("/v1/enrolment-tokens", body)
        .await
        .expect(201);
    let token = made["token"].as_str();
    let mut device = Device::new("0001");
    let refused = post(&anonymous, "/other/simpleenroll", token, &device.csr()).await;
    let detail = refused.problem("enrolment-refused");
    assert!(detail.contains("/.well-known/est/default"), "{detail}");
    let enrolled = post(&anonymous, "/default/simpleenroll", token, &device.csr()).await;
    certificates_in(&enrolled);
    let bearer = bench.world.admin.bearing(token.unwrap());
    device.hold(&device.enrol(&bearer).await.expect(200));
    let api = device.api(&bench);
    let refused = post(&api, "/other/simplereenroll", None, &device.csr()).await;
    refused.problem("renewal-refused");
    let renewed = post(&api, "/default/simplereenroll", None, &device.csr()).await;
    certificates_in(&renewed);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_is_asked_for_a_password() {
    let bench = Bench::start().await;
    let anonymous = bench.world.admin.anonymous();
    let device = Device::new("0001");
    let (token, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let enrolled = bench.enrolled("0002").await;
    let secret = bearer.key().rsplit('_').next().unwrap();
    let swapped = format!("lge_aaaaaaaaaaaaa_{secret}");
    for wrong in [None, Some(""), Some("guess"), Some(swapped.as_str())] {
        let answer = post(&anonymous, "/simpleenroll", wrong, &device.csr()).await;
        answer.problem("enrolment-token-invalid");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, "Basic realm=\"leafgate\", charset=\"UTF-8\"");
    }
    // Neither a token as bearer, nor an API key, nor a certificate takes the password's place.
    for api in [&bearer, &bench.world.admin, &enrolled.api(&bench)] {
        let answer = post(api, "/simpleenroll", None, &device.csr()).await;
        answer.problem("enrolment-token-invalid");
    }
    let key = Some(bench.world.admin.key());
    post(&anonymous, "/simpleenroll", key, &device.csr())
        .await
        .problem("enrolment-token-invalid");
    // And the token does not take the certificate's.
    let refused = post(
        &anonymous,
        "/simplereenroll",
        Some(bearer.key()),
        &device.csr(),
    )
    .await;
    refused.problem("certificate-required");
    let colons = format!("{}:{}", "a:b", bearer.key());
    let request = anonymous.request(Method::POST, &format!("{EST}/simpleenroll"));
    let request = request.header(
        "authorization",
        format!("Basic {}", BASE64.encode(colons.as_bytes())),
    );
    Answer::of(request).await.problem("enrolment-token-invalid");
    let path = format!("/v1/enrolment-tokens/{token}");
    assert_eq!(bench.world.admin.get(&path).await.expect(200)["uses"], 0);
    let enrolled = post(
        &anonymous,
        "/simpleenroll",
        Some(bearer.key()),
        &device.csr(),
    )
    .await;
    certificates_in(&enrolled);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_common_name_says_which_device_enrolls() {
    let bench = Bench::start().await;
    let anonymous = bench.world.admin.anonymous();
    let (_, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let key = KeyPair::generate().unwrap();
    let nameless = {
        let mut params = CertificateParams::default();
        params.distinguished_name = Default::default();
        params.serialize_request(&key).unwrap().pem().unwrap()
    };
    for (csr, problem) in [
        (
            csr_named(&key, "device-0002.device.synadia.local", None),
            "enrolment-refused",
        ),
        (csr_named(&key, "0001", None), "enrolment-refused"),
        (
            csr_named(&key, "device-*.device.synadia.local", None),
            "enrolment-refused",
        ),
        (nameless, "certificate-request-refused"),
    ] {
        let refused = post(&anonymous, "/simpleenroll", Some(bearer.key()), &csr).await;
        refused.problem(problem);
    }
    // What else the request asks for has no say.
    let csr = csr_named(
        &key,
        "device-0001.device.synadia.local",
        Some("hub.example.com"),
    );
    let enrolled = post(&anonymous, "/simpleenroll", Some(bearer.key()), &csr).await;
    let certificates = certificates_in(&enrolled);
    let (_, certificate) = X509Certificate::from_der(&certificates[0]).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
    assert!(!format!("{:?}", names.value).contains("hub.example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reenrollment_is_for_the_names_of_the_certificate() {
    let bench = Bench::start().await;
    let (device, other) = (bench.enrolled("0001").await, bench.enrolled("0002").await);
    let (api, name) = (device.api(&bench), device.common_name());
    let key = KeyPair::generate().unwrap();
    let before = bench.world.newest_event().await;
    for (what, csr) in [
        (
            "another subject",
            csr_named(&key, &other.common_name(), Some(&name)),
        ),
        (
            "another alternative name",
            csr_named(&key, &name, Some(&other.common_name())),
        ),
        ("no alternative name", csr_named(&key, &name, None)),
        ("no names", csr_of(&key)),
    ] {
        let refused = post(&api, "/simplereenroll", None, &csr).await;
        let detail = refused.problem("certificate-request-refused");
        assert!(detail.contains("must be the"), "{what}: {detail}");
    }
    assert_eq!(bench.world.newest_event().await, before);
    let csr = csr_named(&key, &name, Some(&name));
    certificates_in(&post(&api, "/simplereenroll", None, &csr).await);
    // Some write the same name with another type of string.
    let mut params = CertificateParams::default();
    let printable = DnValue::PrintableString(name.as_str().try_into().unwrap());
    params.distinguished_name = Default::default();
    params
        .distinguished_name
        .push(DnType::CommonName, printable);
    params.subject_alt_names = vec![SanType::DnsName(name.as_str().try_into().unwrap())];
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    certificates_in(&post(&api, "/simplereenroll", None, &csr).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_requests_in_base64() {
    let bench = Bench::start().await;
    let (_, bearer) = bench.token(json!({ "ids": ["0001"] })).await;
    let device = Device::new("0001");
    let der = der_of(&device.csr());
    let send = async |media_type: Option<&str>, body: Vec<u8>| {
        let request = bench.world.admin.anonymous();
        let request = request.request(Method::POST, &format!("{EST}/simpleenroll"));
        let request = request.basic_auth("", Some(bearer.key())).body(body);
        Answer::of(match media_type {
            Some(media_type) => request.header("content-type", media_type),
            None => request,
        })
        .await
    };
    let good = BASE64.encode(&der).into_bytes();
    for media_type in [None, Some("application/json"), Some("application/pkcs10x")] {
        send(media_type, good.clone())
            .await
            .problem("media-type-unsupported");
    }
    let pkcs10 = Some("application/pkcs10");
    let truncated = BASE64.encode(&der[..der.len() - 1]).into_bytes();
    let mut followed = der.clone();
    followed.push(0);
    let mut broken = der.clone();
    *broken.last_mut().unwrap() ^= 1;
    for body in [
        Vec::new(),
        der.clone(),
        device.csr().into_bytes(),
        truncated,
        BASE64.encode(&followed).into_bytes(),
        BASE64.encode(&broken).into_bytes(),
        BASE64
            .encode(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff])
            .into_bytes(),
    ] {
        send(pkcs10, body)
            .await
            .problem("certificate-request-refused");
    }
    send(pkcs10, vec![b'A'; 1024 * 1024 + 4])
        .await
        .problem("body-too-large");
    // With blanks wherever they fall, and parameters of the type.
    let spaced = good.chunks(7).collect::<Vec<_>>().join(&b" \r\n"[..]);
    let enrolled = send(Some("Application/PKCS10; charset=us-ascii"), spaced).await;
    certificates_in(&enrolled);
}
