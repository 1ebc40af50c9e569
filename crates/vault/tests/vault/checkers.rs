//! What pkilint and zlint say of what Vault signs, set up as docs/vault.md says.

use std::process::Command;
use std::time::Duration;

use leafgate_identity::CnPattern;
use leafgate_pki::{
    CertStatus, CrlReason, Issuer, OcspRequest, OcspResponseData, Profile, RevokedEntry,
    SingleResponse, crl_pem,
};
use leafgate_testkit::checkers::{assert_certificate_is_clean, pkilint, zlint};

use crate::issuer::{Documented, device, issue, now};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_every_profile() {
    let documented = Documented::new().await;
    for authority in ["root.pem", "devices.pem"] {
        assert_certificate_is_clean(authority, &documented.path(authority));
    }
    let devices = documented.issuer("device-mtls").await;
    let servers = documented.issuer("nats-cluster").await;
    let patterns = [CnPattern::default()];
    let addresses = ["127.0.0.1", "::1"].map(|text| text.parse().unwrap());
    let names = ["leaf-1.leaf.example.org", "leaf.example.org"];
    for (issuer, profile) in [
        (&devices, device("0001")),
        // No DNS name, so that there is no SAN.
        (&devices, device("pump_7")),
        (
            &devices,
            Profile::nats_client("callout-0", &patterns).unwrap(),
        ),
        (
            &servers,
            Profile::nats_server(&names, &addresses, &patterns).unwrap(),
        ),
    ] {
        let what = format!("{} {}", profile.kind(), profile.common_name());
        let issued = issue(issuer, profile).await.unwrap();
        let path = documented.path("leaf.crt");
        std::fs::write(&path, issued.certificate_pem).unwrap();
        assert_certificate_is_clean(&what, &path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_lists_and_ocsp_answers() {
    let documented = Documented::new().await;
    let issuer = documented.issuer("device-mtls").await;
    let issued = issue(&issuer, device("0001")).await.unwrap();
    let (now, end) = (now(), now().saturating_add(HOUR));
    let revoked = RevokedEntry {
        serial: issued.serial,
        revoked_at: now,
        reason: CrlReason::KeyCompromise,
    };
    for entries in [&[][..], &[revoked]] {
        let list = issuer.sign_crl(entries, 7, now, end).await.unwrap();
        let path = documented.path("list.crl");
        std::fs::write(&path, crl_pem(&list)).unwrap();
        let as_list = ["--type", "CRL", "--profile", "PKIX"];
        assert_eq!(pkilint("lint_crl", &as_list, &path), "");
        assert_eq!(zlint(&path), "");
    }

    let asked = asked(&documented, &issued.certificate_pem);
    let responses = asked.cert_ids.into_iter().map(|cert_id| SingleResponse {
        cert_id,
        status: CertStatus::Good,
    });
    let answer = issuer
        .sign_ocsp(&OcspResponseData {
            responses: responses.collect(),
            nonce: None,
            produced_at: now,
            this_update: now,
            next_update: end,
        })
        .await;
    let path = documented.path("answer.der");
    std::fs::write(&path, answer.unwrap()).unwrap();
    assert_eq!(pkilint("lint_ocsp_response", &[], &path), "");
}

/// What openssl asks about a certificate.
fn asked(documented: &Documented, certificate_pem: &str) -> OcspRequest {
    let (certificate, request) = (documented.path("asked.crt"), documented.path("request.der"));
    std::fs::write(&certificate, certificate_pem).unwrap();
    let status = Command::new("openssl")
        .args(["ocsp", "-no_nonce", "-issuer"])
        .arg(documented.path("devices.pem"))
        .arg("-cert")
        .arg(certificate)
        .arg("-reqout")
        .arg(&request)
        .status();
    assert!(status.unwrap().success());
    OcspRequest::parse(&std::fs::read(request).unwrap()).unwrap()
}
